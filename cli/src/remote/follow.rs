//! What is told while a log is copied as it grows: how far it is, and what is in the way.

use super::InStore;
use crate::{
    exit::{Failure, Outcome},
    output, stream,
};
use cairnlog_object_store::{Replicator, Status};
use std::{path::Path, thread, time::Duration};

/// Tells how it goes until it ends: each trouble once, and when it is over.
pub fn until_it_ends(dir: &Path, url: &str, replicator: &Replicator) -> Outcome {
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
            return Err(error).in_store(dir);
        }
        let said = troubles(&status);
        if said != trouble {
            match said.as_str() {
                "" => stream::note!("cairn: it goes on"),
                said => stream::note!("cairn: {said}"),
            }
            trouble = said;
        }
        if is_first && status.commit_count > 0 {
            let end = status.end_seq;
            stream::note!("cairn: copied up to seq {end} to {url}; it goes on");
            is_first = false;
        }
        progress.set_message(line(&status));
        check_there(dir)?;
    }
}

/// What keeps it from copying, and from letting go of more; empty if nothing does.
fn troubles(status: &Status) -> String {
    let copying = status.last_error.iter();
    let copying = copying.map(|error| format!("{error}; it is tried again"));
    let tiering = status.tier_error.iter();
    let tiering = tiering.map(|error| format!("{error}; nothing is lost, and the segment stays"));
    copying.chain(tiering).collect::<Vec<_>>().join("; ")
}

fn line(status: &Status) -> String {
    let (lag, bytes) = (status.lag_records, output::bytes(status.lag_bytes));
    let far = match status.released_count {
        0 => String::new(),
        count => format!(", {} let go of", output::counted(count, "segment")),
    };
    format!(
        "seq {}, {lag} records and {bytes} behind{far}",
        status.end_seq
    )
}

/// The log may be removed under it: then there is nothing to go on with.
fn check_there(dir: &Path) -> Outcome {
    match dir.is_dir() {
        true => Ok(()),
        false => Err(Failure::Said(format!("{}: the log is gone", dir.display()))),
    }
}
