//! Cairn beside the logs that people know: the same work, in the same run, beside the raw limits.
//!
//! `cargo run --release -p cairn-peers -- --help`

mod args;
mod child;
mod engine;
mod engines;
mod jobs;
mod meter;
mod plan;
mod raw;
mod results;
mod runner;
mod system;
mod text;

use anyhow::Result;
use args::Args;
use results::Results;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let args = args::parse()?;
    if let Some(spec) = &args.child {
        return child::run(spec);
    }
    if let Some((path, count)) = &args.follow {
        return jobs::follow(path, *count);
    }
    if args.help {
        print!("{}", args::HELP);
        return Ok(());
    }
    if args.list {
        for it in engine::all() {
            println!("{:<15} {:?}: {}", it.name, it.kind, it.settings);
        }
        return Ok(());
    }
    measure(&args)
}

/// The repository, wherever it was built.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

fn measure(args: &Args) -> Result<()> {
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| root().join("target/peers-data"));
    std::fs::create_dir_all(&dir)?;
    let dir: PathBuf = dir.canonicalize()?;
    meter::check_disk(&dir)?;
    let tables = plan::tables(args)?;
    let date = String::new();
    let mut runner = runner::Runner::new(dir, date, args.quick, &tables);
    let mut results = Results::default();
    for table in &tables {
        let rows = runner.run(table)?;
        text::print(table, &rows);
        for row in rows {
            results.replace(row);
        }
    }
    if let Some(out) = &args.out {
        results.store(out)?;
    }
    Ok(())
}
