//! `cairn replicate`: a log is copied into object storage as it grows.

use super::{InStore, far, follow, store};
use crate::{
    exit::{Failure, In, Outcome},
    open::{self, WriterArgs, duration, size},
    output, stream,
};
use cairnlog::{ErrorKind, Log, ReleaseReport};
use cairnlog_object_store::{
    Copier, CopyOptions, Moment, Replicator, ReplicatorOptions, Store, StoreSegments, Tier,
};
use clap::Args;
use serde_json::json;
use std::{path::Path, time::Duration};

pub const EXAMPLES: &str = "\
Copies what is durable, beside whoever writes the log, without its lock and without a key, and goes on
until it is ended: by a signal, or by another replicator that takes the store over. While the store is
away it tries again, ever more rarely. Whenever it is started anew it goes on where the store is.

A log that was restored from the store has gone on by itself: to go on copying into the same store say
--take-over. What the log that was copied before had on top stays in the history.

With --tier-after or --tier-above the log lets go of old segments once they are in the store, read back and
compared: they live there alone from then on, and the commands that read the log reach them by --store URL.
Only who has the lock can let go of them: so it opens the log for writing, and nobody else can until it
ends. A program that writes all the time does it itself (`ReplicatorOptions::tier`).

URL is a directory (a path, or file:///...), or, if the tool was built with them, s3://bucket/prefix,
gs://... or az://...; credentials come from the environment, such as AWS_ACCESS_KEY_ID.

Examples:
  cairn replicate orders.log /mnt/elsewhere/orders
  cairn replicate orders.log s3://backups/orders --interval 2s --keep 7d
  cairn replicate orders.log /mnt/elsewhere/orders --once
  cairn replicate orders.log s3://backups/orders --once --tier-after 30d
  cairn cat orders.log --store s3://backups/orders";

#[derive(Args, Debug)]
pub struct ReplicateArgs {
    #[command(flatten)]
    writer: WriterArgs,
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
    /// Have the log let go of sealed segments whose records are all older
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    tier_after: Option<Duration>,
    /// Have the log let go of the oldest sealed segments, until the others have no more bytes than this
    #[arg(long, value_name = "SIZE", value_parser = size)]
    tier_above: Option<u64>,
    /// Copy what is durable by now, and end
    #[arg(long)]
    once: bool,
    /// With --once, print what was done as JSON
    #[arg(long, requires = "once")]
    json: bool,
}

impl ReplicateArgs {
    fn dir(&self) -> &Path {
        &self.writer.dir
    }

    fn copy(&self) -> CopyOptions {
        CopyOptions::new().keep(self.keep).take_over(self.take_over)
    }

    /// What the log is to let go of, if anything.
    fn tier(&self) -> Option<Tier> {
        let none = Tier::new();
        let by_age = self.tier_after.map(|age| none.clone().after_age(age));
        let Some(bytes) = self.tier_above else {
            return by_age;
        };
        Some(by_age.unwrap_or(none).after_bytes(bytes))
    }
}

pub fn run(args: &ReplicateArgs) -> Outcome {
    match args.tier() {
        None => beside(args),
        Some(tier) => tiering(args, tier),
    }
}

/// Copies beside whoever writes.
fn beside(args: &ReplicateArgs) -> Outcome {
    let dir = args.dir();
    let log = open::existing()?.open_stored(dir).in_log(dir)?;
    let store = store(&args.url)?;
    if args.once {
        let mut copier = Copier::start(log, &store, args.copy()).in_store(dir)?;
        return once(args, &mut copier, None);
    }
    let options = ReplicatorOptions::new().copy(args.copy());
    let options = options.interval(args.interval);
    let replicator = Replicator::follow(log, &store, options).in_store(dir)?;
    follow::until_it_ends(args.dir(), &args.url, &replicator)
}

/// Copies as the one who writes, and has the log let go of what is old.
fn tiering(args: &ReplicateArgs, tier: Tier) -> Outcome {
    let dir = args.dir();
    open::read_only(dir)?; // No store is made for a log that is not there.
    if far::is_given() {
        let text = "--store says where segments are that the log has let go of: with --tier-after and \
                    --tier-above that is URL";
        return Err(Failure::Usage(text.into()));
    }
    let store = store(&args.url)?;
    let log = writer(args, &store)?;
    if args.once {
        let stored = log.stored().in_log(dir)?;
        let mut copier = Copier::start(stored, &store, args.copy()).in_store(dir)?;
        once(args, &mut copier, Some((&log, &tier)))?;
        return log.close().in_log(dir);
    }
    let options = ReplicatorOptions::new().copy(args.copy());
    let options = options.interval(args.interval).tier(tier);
    let replicator = Replicator::start(&log, &store, options).in_store(dir)?;
    follow::until_it_ends(args.dir(), &args.url, &replicator)
}

/// Opens the log for writing: nobody else can say that a segment lives elsewhere.
fn writer(args: &ReplicateArgs, store: &Store) -> Outcome<Log> {
    let options = open::existing()?.far_segments(StoreSegments::new(store));
    args.writer.open(options).map_err(|failure| match failure {
        Failure::Engine(error, dir) if error.kind() == ErrorKind::Locked => {
            let hint = "its holder alone can let go of segments, as a program does with `ReplicatorOptions::tier`; \
                        --wait waits for it, and without --tier-after and --tier-above it is copied beside it";
            Failure::Hinted(Failure::Engine(error, dir).into(), hint.into())
        }
        failure => failure,
    })
}

fn once(args: &ReplicateArgs, copier: &mut Copier, tier: Option<(&Log, &Tier)>) -> Outcome {
    let progress = output::turning("replicate");
    let stepped = step(copier, tier);
    progress.finish_and_clear();
    let released = stepped.in_store(args.dir())?;
    let Some(moment) = copier.moment() else {
        return Ok(());
    };
    let released_count = released.segments.len() as u64;
    let as_json = args.json.then(|| {
        let mut json = moment_json(&moment);
        json["released_count"] = released_count.into();
        json["released_bytes"] = released.frame_bytes.into();
        json
    });
    stream::report(as_json, |out| {
        let Moment {
            head_seq,
            end_seq,
            number,
            ..
        } = moment;
        writeln!(
            out,
            "copied seq {head_seq}..{end_seq} to {}: moment {number}{}",
            args.url,
            match released_count {
                0 => String::new(),
                count => format!(
                    "; {}, {}, only there from now on",
                    output::counted(count, "segment"),
                    output::bytes(released.frame_bytes)
                ),
            }
        )
    })
}

fn step(
    copier: &mut Copier,
    tier: Option<(&Log, &Tier)>,
) -> cairnlog_object_store::Result<ReleaseReport> {
    let released = match tier {
        None => copier.step().map(|_| ReleaseReport::default())?,
        // It copies what is new first.
        Some((log, tier)) => copier.tier(log, tier)?,
    };
    while copier.collect()? {}
    Ok(released)
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
