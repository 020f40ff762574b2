//! `cairn backup`: a copy of the log that is a log itself.

use crate::{
    exit::{In, Outcome},
    open::{self, ThreadsArgs, WriterArgs},
    output, stream,
};
use cairnlog::BackupOptions;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

pub const EXAMPLES: &str = "\
The backup is a log with the same id, seqs and cursors, and was read and verified in full before
this ends. Sealed segments are shared by hard links where the file system allows it.

Where an earlier backup of the log is, it is brought up to date: what is there is not copied again,
and at every moment it is the former or the next. One that was opened for writing is refused.

Where another process has the log open, the backup is made beside it, of one moment, and holds what
was durable at that. Else it opens the log for writing, which settles how the last writer ended.

Examples:
  cairn backup orders.log backup.log    # again and again
  cairn backup orders.log elsewhere.log --copy";

#[derive(Args, Debug)]
pub struct BackupArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// The directory for the backup: new, empty, or with an earlier one
    to: PathBuf,
    /// Copy every byte, so that damage to a file of the one is none of the other
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    threads: ThreadsArgs,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &BackupArgs) -> Outcome {
    let dir = &args.writer.dir;
    let options = args.threads.of(open::existing()?);
    let log = args.writer.open_unless_held(options.clone())?;
    let progress = output::turning("backup");
    let how = BackupOptions::new().copy(args.copy);
    let report = match &log {
        Some(log) => log.backup_with(&args.to, &how),
        None => options.backup(dir, &args.to, &how),
    };
    progress.finish_and_clear();
    let report = report.in_log(dir)?;
    log.map_or(Ok(()), |log| log.close()).in_log(dir)?;
    let as_json = args.json.then(|| {
        json!({
            "head_seq": report.head_seq,
            "next_seq": report.next_seq,
            "linked_count": report.linked_count,
            "copied_count": report.copied_count,
            "kept_count": report.kept_count,
            "frame_bytes": report.frame_bytes,
        })
    });
    stream::report(as_json, |out| {
        writeln!(
            out,
            "backed up seq {}..{}, {}, verified: {} shared, {} copied{}",
            report.head_seq,
            report.next_seq,
            output::bytes(report.frame_bytes),
            output::counted(report.linked_count, "segment"),
            output::count(report.copied_count),
            match report.kept_count {
                0 => String::new(),
                kept => format!(", {} kept", output::count(kept)),
            }
        )
    })
}
