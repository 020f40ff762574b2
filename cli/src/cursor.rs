//! `cairn cursor`: how far each consumer has come.

use crate::{
    exit::{self, Failure, In, Outcome},
    open::{self, WriterArgs},
    output, stream,
};
use cairnlog::{CursorInfo, Defect, Log, Seq};
use clap::{Args, Subcommand};
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    path::PathBuf,
};

pub const EXAMPLES: &str = "\
A cursor is the durable read position of a consumer: the next seq that it has not acknowledged. Its
lag is how many seqs lie between that and the durable end.

Listing takes no lock; moving and deleting do. A cursor that does not verify is listed and deleted
under the name of its file.

Examples:
  cairn consume orders.log mailer --max 10
  cairn cursor list orders.log
  cairn cursor set orders.log mailer 5
  cairn cursor delete orders.log mailer";

#[derive(Args, Debug)]
pub struct CursorArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the cursors and how far they have come
    List(ListArgs),
    /// Move a cursor, back or forth
    Set(SetArgs),
    /// Delete a cursor, so that its consumer begins anew
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    /// The directory of the log
    dir: PathBuf,
    /// Print each cursor as a JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct SetArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// The name of the cursor
    name: String,
    /// The next seq to consume
    seq: Seq,
}

#[derive(Args, Debug)]
struct DeleteArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// The name of the cursor
    name: String,
}

pub fn run(args: &CursorArgs) -> Outcome {
    match &args.verb {
        Verb::List(args) => list(args),
        Verb::Set(args) => {
            let set = |log: &Log| log.set_cursor(&args.name, args.seq);
            let done = format!("cursor {}: goes on at seq {}", args.name, args.seq);
            change(&args.writer, set, &done)
        }
        Verb::Delete(args) => {
            let delete = |log: &Log| log.delete_cursor(&args.name);
            change(
                &args.writer,
                delete,
                &format!("cursor {}: deleted", args.name),
            )
        }
    }
}

fn change(
    writer: &WriterArgs,
    change: impl FnOnce(&Log) -> cairnlog::Result<()>,
    done: &str,
) -> Outcome {
    let log = writer.open(open::existing()?)?;
    change(&log).in_log(&writer.dir)?;
    log.close().in_log(&writer.dir)?;
    stream::report(None, |out| writeln!(out, "{done}"))
}

fn list(args: &ListArgs) -> Outcome {
    let cursors = open::cursors(&args.dir)?;
    let mut out = stream::pretty();
    if args.json {
        for cursor in &cursors {
            writeln!(out, "{}", cursor_json(cursor))?;
        }
    } else if cursors.is_empty() {
        writeln!(out, "no cursors")?;
    } else {
        table(&mut out, &cursors)?;
    }
    out.flush()?;
    let mut defects = cursors.iter().filter_map(|cursor| cursor.defect);
    match defects.clone().any(Defect::is_unsupported) {
        true => Err(Failure::Newer),
        false if defects.next().is_some() => Err(Failure::Code(exit::DAMAGED)),
        false => Ok(()),
    }
}

/// A cursor for scripts.
pub fn cursor_json(cursor: &CursorInfo) -> Value {
    json!({
        "name": cursor.name,
        "seq": cursor.seq,
        "lag": cursor.lag,
        "holds": cursor.holds,
        "pending_count": cursor.pending_count,
        "updated_ms": cursor.updated_ms,
        "defect": cursor.defect.map(|defect| defect.to_string()),
    })
}

/// The cursors for people, one a line.
pub fn table(out: &mut impl Write, cursors: &[CursorInfo]) -> io::Result<()> {
    let width = cursors.iter().map(|cursor| cursor.name.chars().count());
    let width = width.max().unwrap_or(0).max("cursor".len());
    let head = format!(
        "{:<width$}  {:>12}  {:>11}  {:>8}  {:<5}  stored",
        "cursor", "seq", "lag", "pending", "holds"
    );
    writeln!(out, "{}", head.dimmed())?;
    for cursor in cursors {
        if let Some(defect) = cursor.defect {
            let state = match defect.is_unsupported() {
                true => "unsupported".yellow().to_string(),
                false => "damaged".red().to_string(),
            };
            writeln!(out, "{:<width$}  {state}: {defect}", cursor.name)?;
            continue;
        }
        writeln!(
            out,
            "{:<width$}  {:>12}  {:>11}  {:>8}  {:<5}  {} ago",
            cursor.name,
            cursor.seq,
            output::count(cursor.lag),
            output::count(cursor.pending_count as u64),
            if cursor.holds { "yes" } else { "no" },
            output::age(cursor.updated_ms)
        )?;
    }
    Ok(())
}
