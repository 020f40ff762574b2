//! `cairn repair` in place, and `cairn salvage` into a new log: past damage, by explicit choice.

use crate::{
    exit::{self, Failure, In, Outcome},
    open::{self, ThreadsArgs, WaitArgs},
    output, stream,
    verify::{damage_code, finding_json, tell_finding},
};
use cairnlog::{ErrorKind, FindingKind, RepairOptions, RepairReport};
use clap::Args;
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    path::PathBuf,
};

pub const REPAIR_EXAMPLES: &str = "\
Without --apply nothing is changed, and the exit code is that of `cairn verify`. What is taken out of
the log is kept in its quarantine directory. Every record that verifies is kept, with its seq.

Examples:
  cairn repair orders.log
  cairn repair orders.log --apply
  cairn repair orders.log --apply --accept-loss";

pub const SALVAGE_EXAMPLES: &str = "\
The old log is left as it is; it may even have lost its manifest. Records keep their seqs and times.
Ends with 3 if anything did not verify, although the new log was written. What is sealed needs its key:
with --key-file the new log is sealed as well.

Examples:
  cairn salvage orders.log rescued.log
  cairn salvage orders.log rescued-again.log --json";

#[derive(Args, Debug)]
pub struct RepairArgs {
    /// The directory of the log
    dir: PathBuf,
    /// Do it; without this, tell what would be done
    #[arg(long)]
    apply: bool,
    /// Give up the records that do not verify any more
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

pub fn repair(args: &RepairArgs) -> Outcome {
    let how = RepairOptions::new()
        .apply(args.apply)
        .accept_loss(args.accept_loss);
    let progress = output::turning("repair");
    let options = open::options()?.lock_timeout(args.wait.wait);
    let report = options.repair(&args.dir, how);
    progress.finish_and_clear();
    let report = report.in_log(&args.dir)?;
    if report.applied {
        let as_json = args.json.then(|| repair_json(&report));
        return stream::report(as_json, |out| tell(out, args, &report));
    }
    if args.json {
        stream::json(&repair_json(&report))?;
    } else {
        let mut out = stream::pretty();
        tell(&mut out, args, &report)?;
        out.flush()?;
    }
    match report.findings.iter().map(|finding| finding.kind).max() {
        None | Some(FindingKind::Stray | FindingKind::Derived) => Ok(()),
        Some(FindingKind::Torn) => Err(Failure::Code(exit::TORN)),
        Some(_) => Err(Failure::Code(damage_code(&report.findings))),
    }
}

fn repair_json(report: &RepairReport) -> Value {
    let lost = |range: &std::ops::Range<u64>| json!([range.start, range.end]);
    let kept = |piece: &cairnlog::CutBytes| {
        json!({
            "segment": piece.segment.0,
            "offset": piece.offset,
            "bytes": piece.bytes,
            "kept_in": piece.kept_in.as_ref().map(|path| path.display().to_string()),
        })
    };
    json!({
        "applied": report.applied,
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "lost": report.lost.iter().map(lost).collect::<Vec<_>>(),
        "kept": report.kept.iter().map(kept).collect::<Vec<_>>(),
        "untimed": report.untimed.iter().map(|id| id.0).collect::<Vec<_>>(),
        "rewritten": report.rewritten.iter().map(|id| id.0).collect::<Vec<_>>(),
    })
}

fn tell(
    out: &mut (impl Write + ?Sized),
    args: &RepairArgs,
    report: &RepairReport,
) -> io::Result<()> {
    for finding in &report.findings {
        tell_finding(out, finding)?;
    }
    let (would, are) = if report.applied {
        ("", "are")
    } else {
        ("would be ", "would be")
    };
    for id in &report.rewritten {
        writeln!(out, "segment {id}: {would}written anew from what verifies")?;
    }
    for id in &report.untimed {
        writeln!(
            out,
            "segment {id}: with its header the times are lost; a record without one of its own gets time 0"
        )?;
    }
    for range in &report.lost {
        let records = output::counted(range.end - range.start, "record");
        writeln!(
            out,
            "{}: seq {}..{} {are} lost, {records}",
            "lost".red(),
            range.start,
            range.end
        )?;
    }
    for piece in &report.kept {
        let kept_in = piece
            .kept_in
            .as_ref()
            .map(|path| path.display().to_string());
        writeln!(
            out,
            "kept: {} bytes of segment {} from offset {} in {}",
            piece.bytes,
            piece.segment,
            piece.offset,
            kept_in.unwrap_or_else(|| "quarantine".to_owned())
        )?;
    }
    let damage = report
        .findings
        .iter()
        .any(|finding| finding.kind == FindingKind::Damage);
    let dir = args.dir.display();
    if report.applied {
        writeln!(out, "{}", "repaired".green())
    } else if damage {
        writeln!(
            out,
            "nothing was changed: `cairn repair {dir} --apply --accept-loss` does it"
        )
    } else if report
        .findings
        .iter()
        .any(|finding| finding.kind == FindingKind::Torn)
    {
        writeln!(
            out,
            "nothing was changed: `cairn repair {dir} --apply` or opening it does it"
        )
    } else {
        writeln!(out, "nothing to repair")
    }
}

#[derive(Args, Debug)]
pub struct SalvageArgs {
    /// The directory of the log
    dir: PathBuf,
    /// The directory of the new log; created, or empty
    out: PathBuf,
    #[command(flatten)]
    threads: ThreadsArgs,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

pub fn salvage(args: &SalvageArgs) -> Outcome {
    // A directory without a log has nothing to be salvaged, and no new log to show for it.
    if let Err(error) = open::options()?.plan(&args.dir)
        && error.kind() == ErrorKind::NotFound
    {
        return Err(error).in_log(&args.dir);
    }
    let progress = output::turning("salvage");
    let report = args
        .threads
        .of(open::options()?)
        .salvage(&args.dir, &args.out);
    progress.finish_and_clear();
    let report = report.in_log(&args.dir)?;
    let as_json = args.json.then(|| {
        json!({
            "record_count": report.record_count,
            "next_seq": report.next_seq,
            "gaps": report.gaps.iter().map(finding_json).collect::<Vec<_>>(),
        })
    });
    stream::report(as_json, |out| {
        for gap in &report.gaps {
            tell_finding(out, gap)?;
        }
        let records = output::counted(report.record_count, "record");
        let gaps = output::counted(report.gaps.len() as u64, "gap");
        let to = args.out.display();
        writeln!(
            out,
            "salvaged {records} into {to}, {gaps}, next seq {}",
            report.next_seq
        )
    })?;
    if report.gaps.is_empty() {
        Ok(())
    } else {
        Err(Failure::Code(damage_code(&report.gaps)))
    }
}
