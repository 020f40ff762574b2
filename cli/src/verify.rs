//! `cairn verify` reads everything; `cairn plan` tells what opening would do. Neither writes.

use crate::{
    exit::{self, Failure, In, Outcome},
    open::{self, ThreadsArgs},
    output, stream,
};
use cairnlog::{Defect, Finding, FindingKind, Health, VerifyReport};
use clap::Args;
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    path::PathBuf,
};

pub const VERIFY_EXAMPLES: &str = "\
Reads every byte and writes none. While a writer is at work its last write may look unfinished. Records
that are sealed verify without their key too, as bytes; with --key-file they are opened as well.

Exit codes:
  0  everything verifies
  1  it could not be looked at
  2  the end is an unfinished write, which opening would cut
  3  damage: bytes that were durable do not verify
  4  a newer version of cairn wrote a part of it, which this one cannot judge
  6  records were changed since they were sealed; only with their keys that can be told

Examples:
  cairn verify orders.log
  cairn verify orders.log --json";

pub const PLAN_EXAMPLES: &str = "\
Looks only at what opening looks at, the manifest and the end of the log, and writes nothing. Exit
codes are those of `cairn verify`.

Examples:
  cairn plan orders.log
  cairn plan orders.log --json";

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The directory of the log
    dir: PathBuf,
    #[command(flatten)]
    threads: ThreadsArgs,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &VerifyArgs) -> Outcome {
    let progress = output::progress("verify", Some(0));
    let options = args.threads.of(open::options()?);
    let report = options.verify_with(&args.dir, |step| {
        progress.set_length(step.total_bytes);
        progress.set_position(step.done_bytes);
    });
    progress.finish_and_clear();
    let report = report.in_log(&args.dir)?;
    end_with(&report, args.json)
}

/// Shows a report, and ends with the code that it calls for.
pub fn end_with(report: &VerifyReport, as_json: bool) -> Outcome {
    if as_json {
        stream::json(&verify_json(report))?;
    } else {
        let mut out = stream::pretty();
        tell(&mut out, report)?;
        out.flush()?;
    }
    ending(report.health(), &report.findings)
}

/// The code that tells a log's state.
fn ending(health: Health, findings: &[Finding]) -> Outcome {
    match health {
        Health::Clean => Ok(()),
        Health::Torn => Err(Failure::Code(exit::TORN)),
        Health::Unsupported => Err(Failure::Newer),
        _ => Err(Failure::Code(damage_code(findings))),
    }
}

/// The code that tells what is wrong with bytes that were durable: the worst of it.
pub fn damage_code(findings: &[Finding]) -> u8 {
    let tampered = findings.iter().any(|it| it.defect == Defect::Tampered);
    if tampered {
        exit::TAMPERED
    } else {
        exit::DAMAGED
    }
}

fn verify_json(report: &VerifyReport) -> Value {
    json!({
        "health": word(report.health()),
        "segment_count": report.segment_count,
        "far_count": report.far_count,
        "record_count": report.record_count,
        "byte_count": report.byte_count,
        "head_seq": report.head_seq,
        "next_seq": report.next_seq,
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn tell(out: &mut impl Write, report: &VerifyReport) -> io::Result<()> {
    for finding in &report.findings {
        tell_finding(out, finding)?;
    }
    let health = match report.health() {
        Health::Clean => "clean".green().to_string(),
        Health::Torn => "torn".yellow().to_string(),
        Health::Unsupported => "unsupported".yellow().to_string(),
        _ => "damaged".red().to_string(),
    };
    writeln!(
        out,
        "{health}: seq {}..{}, {} and {} verified in {}",
        report.head_seq,
        report.next_seq,
        output::counted(report.record_count, "record"),
        output::bytes(report.byte_count),
        output::counted(report.segment_count, "segment")
    )?;
    if report.far_count > 0 {
        let far = output::counted(report.far_count, "segment");
        writeln!(out, "{far} not looked at: elsewhere")?;
    }
    Ok(())
}

/// A finding as a line.
pub fn tell_finding(out: &mut (impl Write + ?Sized), finding: &Finding) -> io::Result<()> {
    let text = finding.to_string();
    let (kind, rest) = text.split_once(':').unwrap_or(("", &text));
    let kind = match finding.kind {
        FindingKind::Damage => kind.red().to_string(),
        FindingKind::Torn | FindingKind::Unsupported => kind.yellow().to_string(),
        _ => kind.cyan().to_string(),
    };
    write!(out, "{kind}:{rest}")?;
    match (finding.place.offset, finding.end_offset) {
        (Some(start), Some(end)) if end > start => writeln!(out, ", {} bytes", end - start),
        _ => writeln!(out),
    }
}

/// A finding for scripts.
pub fn finding_json(finding: &Finding) -> Value {
    let kind = match finding.kind {
        FindingKind::Stray => "stray",
        FindingKind::Derived => "derived",
        FindingKind::Unsupported => "unsupported",
        FindingKind::Torn => "torn",
        _ => "damage",
    };
    json!({
        "kind": kind,
        "path": finding.place.path.as_ref().map(|path| path.display().to_string()),
        "segment": finding.place.segment.map(|id| id.0),
        "offset": finding.place.offset,
        "end_offset": finding.end_offset,
        "first_seq": finding.seqs.start,
        "next_seq": finding.seqs.end,
        "defect": finding.defect.to_string(),
    })
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Clean => "clean",
        Health::Torn => "torn",
        Health::Unsupported => "unsupported",
        _ => "damaged",
    }
}

pub fn plan(args: &VerifyArgs) -> Outcome {
    let plan = open::options()?.plan(&args.dir).in_log(&args.dir)?;
    let has = |kind| plan.findings.iter().any(|finding| finding.kind == kind);
    let health = match plan.refuses {
        true if has(FindingKind::Unsupported) => Health::Unsupported,
        true => Health::Damaged,
        false if has(FindingKind::Torn) => Health::Torn,
        false => Health::Clean,
    };
    if args.json {
        let cut = |piece: &cairnlog::CutBytes| json!({ "segment": piece.segment.0, "offset": piece.offset, "bytes": piece.bytes });
        stream::json(&json!({
            "refuses": plan.refuses,
            "health": word(health),
            "verdict": plan.verdict.to_string(),
            "next_seq": plan.next_seq,
            "proven_seq": plan.proven_seq,
            "findings": plan.findings.iter().map(finding_json).collect::<Vec<_>>(),
            "cut": plan.cut.iter().map(cut).collect::<Vec<_>>(),
            "orphans": plan.orphans.iter().map(|id| id.0).collect::<Vec<_>>(),
        }))?;
    } else {
        let mut out = stream::pretty();
        writeln!(out, "{plan}")?;
        out.flush()?;
    }
    ending(health, &plan.findings)
}
