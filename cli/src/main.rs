//! `cairn`: looks after append-only logs from the command line. A file for each command; `exit` has
//! all exit codes, `output` what commands share when they show something.

mod append;
mod backup;
mod bench;
mod cat;
mod compact;
mod consume;
mod cursor;
mod demo;
mod exit;
mod export;
mod get;
mod import;
mod input;
mod inspect;
mod json;
mod keygen;
mod keys;
mod manual;
mod open;
mod output;
mod pack;
mod pipeline;
mod process;
#[cfg(feature = "remote")]
mod remote;
mod repair;
mod replay;
mod reseal;
mod retain;
mod show;
mod stat;
mod stream;
mod tail;
mod time;
mod top;
mod trim;
mod verify;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::{Failure, Outcome};
use std::{path::PathBuf, process::ExitCode};

/// Append-only logs: append, read, consume, verify, repair and keep in shape.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, after_long_help = exit::HELP, max_term_width = 100)]
struct Cli {
    /// When output for people has colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = stream::Color::Auto)]
    color: stream::Color,
    /// Say errors only: no notes, no progress, no line about what was done
    #[arg(short, long, global = true)]
    quiet: bool,
    /// The keys of sealed logs: a file that `cairn keygen` makes; without it the one that CAIRN_KEY_FILE names
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Where the segments are that a log has let go of: the store that `cairn replicate` copied it to
    #[cfg(feature = "remote")]
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Append lines, or length-prefixed records, from files or standard input
    #[command(after_long_help = append::EXAMPLES)]
    Append(append::AppendArgs),
    /// Print the records of a range
    #[command(after_long_help = cat::EXAMPLES)]
    Cat(cat::CatArgs),
    /// Print single records
    #[command(after_long_help = get::EXAMPLES)]
    Get(get::GetArgs),
    /// Print the last records, and follow
    #[command(after_long_help = tail::EXAMPLES)]
    Tail(tail::TailArgs),
    /// Draw a picture of the log: its segments, their sizes, seqs and ages
    #[command(after_long_help = stat::EXAMPLES)]
    Stat(stat::StatArgs),
    /// Show a log at work: appends, syncs, latencies, cursors, space
    #[command(after_long_help = top::EXAMPLES)]
    Top(top::TopArgs),
    /// Print a segment frame by frame
    #[command(after_long_help = inspect::EXAMPLES)]
    Inspect(inspect::InspectArgs),
    /// Read everything and list what does not verify
    #[command(after_long_help = verify::VERIFY_EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Tell what opening the log would do, without doing it
    #[command(after_long_help = verify::PLAN_EXAMPLES)]
    Plan(verify::VerifyArgs),
    /// Make a damaged log whole again, in place; a dry run unless --apply
    #[command(after_long_help = repair::REPAIR_EXAMPLES)]
    Repair(repair::RepairArgs),
    /// Write what is readable into a new log
    #[command(after_long_help = repair::SALVAGE_EXAMPLES)]
    Salvage(repair::SalvageArgs),
    /// Drop the records below a seq
    #[command(after_long_help = trim::TRIM_EXAMPLES)]
    Trim(trim::TrimArgs),
    /// Drop the records at and above a seq
    #[command(after_long_help = trim::REWIND_EXAMPLES)]
    Rewind(trim::TrimArgs),
    /// Drop records for which a newer one of the same key exists
    #[command(after_long_help = compact::EXAMPLES)]
    Compact(compact::CompactArgs),
    /// Pack sealed segments: the same records in fewer bytes
    #[command(after_long_help = pack::EXAMPLES)]
    Pack(pack::PackArgs),
    /// Make a key file for sealed logs, or add a key to it
    #[command(after_long_help = keygen::EXAMPLES)]
    Keygen(keygen::KeygenArgs),
    /// Seal everything under the current key of the key file
    #[command(after_long_help = reseal::EXAMPLES)]
    Reseal(reseal::ResealArgs),
    /// Drop whole segments that pass a limit of size, age or seq
    #[command(after_long_help = retain::EXAMPLES)]
    Retain(retain::RetainArgs),
    /// Make a copy that is a log itself, and verify it
    #[command(after_long_help = backup::EXAMPLES)]
    Backup(backup::BackupArgs),
    /// Copy a log into object storage, and go on as it grows
    #[cfg(feature = "remote")]
    #[command(after_long_help = remote::replicate::EXAMPLES)]
    Replicate(remote::replicate::ReplicateArgs),
    /// Make a log of a moment that object storage has
    #[cfg(feature = "remote")]
    #[command(after_long_help = remote::restore::EXAMPLES)]
    Restore(remote::restore::RestoreArgs),
    /// Look at a log in object storage: its moments, its state, its records
    #[cfg(feature = "remote")]
    #[command(after_long_help = remote::look::EXAMPLES)]
    Remote(remote::look::RemoteArgs),
    /// List, move or delete cursors: how far each consumer has come
    #[command(after_long_help = cursor::EXAMPLES)]
    Cursor(cursor::CursorArgs),
    /// Print the records from a cursor on, and acknowledge them
    #[command(after_long_help = consume::EXAMPLES)]
    Consume(consume::ConsumeArgs),
    /// Print records with all that they have, as JSON lines
    #[command(after_long_help = export::EXAMPLES)]
    Export(export::ExportArgs),
    /// Append what was exported
    #[command(after_long_help = import::EXAMPLES)]
    Import(import::ImportArgs),
    /// Run a history of operations from a text file
    #[command(after_long_help = format!("{}\n\n{}", replay::GRAMMAR, replay::EXAMPLES))]
    Replay(replay::ReplayArgs),
    /// Append a real file, be killed in the middle, recover, and prove that all is there
    #[command(after_long_help = demo::EXAMPLES)]
    Demo(demo::DemoArgs),
    /// Measure what a durable append costs on a disk, and judge its syncs
    #[command(after_long_help = bench::EXAMPLES)]
    Bench(bench::BenchArgs),
    /// Print what a shell needs to complete commands
    #[command(after_long_help = manual::COMPLETIONS_EXAMPLES)]
    Completions(manual::CompletionsArgs),
    /// Print a manual page, or write all of them
    #[command(after_long_help = manual::MAN_EXAMPLES)]
    Man(manual::ManArgs),
    /// The process that the demo kills
    #[command(hide = true)]
    DemoWriter(demo::WriterArgs),
}

fn main() -> ExitCode {
    let parsed = command().try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            let printed = error.print();
            return exit::report(match usage {
                // Nothing is left to be told if even this could not be printed.
                true => Err(Failure::Code(exit::USAGE)),
                false => stream::check_output().and(printed.map_err(Failure::from)),
            });
        }
    };
    stream::settle(cli.color, cli.quiet);
    keys::settle(cli.key_file);
    #[cfg(feature = "remote")]
    if let Err(failure) = remote::far::settle(cli.store.as_deref()) {
        return exit::report(Err(failure));
    }
    exit::report(run(cli.command))
}

/// The command line, each command with its exit codes.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        let help = command.get_after_long_help().map(ToString::to_string);
        match help.unwrap_or_default() {
            help if help.contains("Exit codes:") => command,
            help => command.after_long_help(format!("{help}\n\n{}", exit::HELP_OF_ONE)),
        }
    })
}

fn run(verb: Command) -> Outcome {
    if !stream::is_quiet() {
        stream::check_output()?;
    }
    match verb {
        Command::Append(args) => append::run(&args),
        Command::Cat(args) => cat::run(&args),
        Command::Get(args) => get::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Plan(args) => verify::plan(&args),
        Command::Repair(args) => repair::repair(&args),
        Command::Salvage(args) => repair::salvage(&args),
        Command::Trim(args) => trim::trim(&args),
        Command::Rewind(args) => trim::rewind(&args),
        Command::Compact(args) => compact::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Reseal(args) => reseal::run(&args),
        Command::Retain(args) => retain::run(&args),
        Command::Backup(args) => backup::run(&args),
        #[cfg(feature = "remote")]
        Command::Replicate(args) => remote::replicate::run(&args),
        #[cfg(feature = "remote")]
        Command::Restore(args) => remote::restore::run(&args),
        #[cfg(feature = "remote")]
        Command::Remote(args) => remote::look::run(&args),
        Command::Cursor(args) => cursor::run(&args),
        Command::Consume(args) => consume::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions(args) => manual::completions(&args, command()),
        Command::Man(args) => manual::man(&args, command()),
        Command::DemoWriter(args) => demo::run_writer(&args),
    }
}
