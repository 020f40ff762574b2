//! `cairn replicate`: a log is copied into object storage as it grows.

use super::{InStore, store};
use crate::{
    exit::{Failure, In, Outcome},
    open::{self, duration},
    output, stream,
};
use cairnlog_object_store::{Copier, CopyOptions, Moment, Replicator, ReplicatorOptions, Status};
use clap::Args;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

pub const EXAMPLES: &str = "\
Copies what is durable, beside whoever writes the log, without its lock and without a key, and goes on
until it is ended: by a signal, or by another replicator that takes the store over. While the store is
away it tries again, ever more rarely. Whenever it is started anew it goes on where the store is.

A log that was restored from the store has gone on by itself: to go on copying into the same store say
--take-over. What the log that was copied before had on top stays in the history.

URL is a directory (a path, or file:///...), or, if the tool was built with them, s3://bucket/prefix,
gs://... or az://...; credentials come from the environment, such as AWS_ACCESS_KEY_ID.

Examples:
  cairn replicate orders.log /mnt/elsewhere/orders
  cairn replicate orders.log s3://backups/orders --interval 2s --keep 7d
  cairn replicate orders.log /mnt/elsewhere/orders --once";

#[derive(Args, Debug)]
pub struct ReplicateArgs {
    /// The directory of the log
    dir: PathBuf,
    /// Where to copy it
    url: String,
    /// How long little waits to be put: what a lost disk costs
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    interval: Duration,
    /// How long a moment can be restored after a newer one was taken
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    keep: Duration,
    /// Go on in the store of a log that this one was restored from
    #[arg(long)]
    take_over: bool,
    /// Copy what is durable by now, and end
    #[arg(long)]
    once: bool,
    /// With --once, print what was done as JSON
    #[arg(long, requires = "once")]
    json: bool,
}

pub fn run(args: &ReplicateArgs) -> Outcome {
    let log = open::existing()?.open_stored(&args.dir).in_log(&args.dir)?;
    let store = store(&args.url)?;
    let how = CopyOptions::new().keep(args.keep).take_over(args.take_over);
    if args.once {
        let copier = Copier::start(log, &store, how).in_store(&args.dir)?;
        return once(args, copier);
    }
    let options = ReplicatorOptions::new().copy(how).interval(args.interval);
    let replicator = Replicator::follow(log, &store, options).in_store(&args.dir)?;
    follow(args, &replicator)
}

fn once(args: &ReplicateArgs, mut copier: Copier) -> Outcome {
    let progress = output::turning("replicate");
    let stepped = copier.step().and_then(|_| while_more(&mut copier));
    progress.finish_and_clear();
    stepped.in_store(&args.dir)?;
    let Some(moment) = copier.moment() else {
        return Ok(());
    };
    let as_json = args.json.then(|| moment_json(&moment));
    stream::report(as_json, |out| {
        let Moment {
            head_seq,
            end_seq,
            number,
            ..
        } = moment;
        writeln!(
            out,
            "copied seq {head_seq}..{end_seq} to {}: moment {number}",
            args.url
        )
    })
}

fn while_more(copier: &mut Copier) -> cairnlog_object_store::Result<()> {
    while copier.collect()? {}
    Ok(())
}

/// A moment as an object.
pub fn moment_json(moment: &Moment) -> serde_json::Value {
    json!({
        "moment": moment.number,
        "epoch": moment.epoch,
        "taken_ms": moment.taken_ms,
        "log_id": moment.log_id.to_string(),
        "head_seq": moment.head_seq,
        "end_seq": moment.end_seq,
    })
}

/// Tells how it goes until it ends: each trouble once, and when it is over.
fn follow(args: &ReplicateArgs, replicator: &Replicator) -> Outcome {
    let progress = output::turning("replicate");
    let (mut trouble, mut is_first) = (String::new(), true);
    loop {
        thread::sleep(Duration::from_millis(200));
        let status = replicator.status();
        if status.has_ended {
            progress.finish_and_clear();
            let error = status
                .last_error
                .unwrap_or(cairnlog_object_store::Error::Stopped);
            return Err(error).in_store(&args.dir);
        }
        let said = status
            .last_error
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        if said != trouble {
            match said.as_str() {
                "" => stream::note!("cairn: it goes on"),
                said => stream::note!("cairn: {said}; it is tried again"),
            }
            trouble = said;
        }
        if is_first && status.commit_count > 0 {
            let end = status.end_seq;
            stream::note!("cairn: copied up to seq {end} to {}; it goes on", args.url);
            is_first = false;
        }
        progress.set_message(line(&status));
        check_there(&args.dir)?;
    }
}

fn line(status: &Status) -> String {
    let (lag, bytes) = (status.lag_records, output::bytes(status.lag_bytes));
    format!("seq {}, {lag} records and {bytes} behind", status.end_seq)
}

/// The log may be removed under it: then there is nothing to go on with.
fn check_there(dir: &Path) -> Outcome {
    match dir.is_dir() {
        true => Ok(()),
        false => Err(Failure::Said(format!("{}: the log is gone", dir.display()))),
    }
}
