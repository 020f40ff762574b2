//! Cairn beside the logs that people know: the same work, in the same run, beside the raw limits.
//!
//! `cargo run --release -p cairn-peers -- --help`

mod args;
mod book;
mod chart;
mod child;
mod corpus;
mod engine;
mod engines;
mod jobs;
mod machine;
mod meter;
mod pictures;
mod plan;
mod queues;
mod raw;
mod raw_group;
mod report;
mod results;
mod runner;
#[cfg(feature = "openraft")]
mod stores;
mod strace;
mod summary;
mod system;
mod targets;
mod text;

use anyhow::Result;
use args::Args;
use results::Results;
use std::{
    fs,
    path::{Path, PathBuf},
};

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
    let places = Places::new(&args);
    if !args.render {
        measure(&args, &places)?;
    }
    if !args.strace {
        let results = Results::load(&places.results)?;
        report::store(&results, root(), &places.page, &places.charts)?;
        if args.out.is_none() {
            summary::store(&results, &root().join("README.md"))?;
        }
        eprintln!("{}", places.page.display());
    }
    Ok(())
}

/// The repository, wherever it was built.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// What is written where.
struct Places {
    page: PathBuf,
    results: PathBuf,
    charts: PathBuf,
}

impl Places {
    fn new(args: &Args) -> Self {
        match &args.out {
            None => Self {
                page: root().join("BENCHMARKS.md"),
                results: root().join("benches/results.json"),
                charts: root().join("benches/charts"),
            },
            Some(page) => {
                let beside = page.parent().unwrap_or(Path::new(""));
                Self {
                    page: page.clone(),
                    results: beside.join("results.json"),
                    charts: beside.join("charts"),
                }
            }
        }
    }
}

fn measure(args: &Args, places: &Places) -> Result<()> {
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| root().join("target/peers-data"));
    fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    meter::check_disk(&dir)?;
    let tables = plan::tables(args)?;
    if args.strace {
        return strace::count(&dir, &tables);
    }
    let date = machine::today()?;
    let mut results = Results::load(&places.results)?;
    let machine = machine::describe(&dir)?;
    if let Some(name) = &args.disk {
        results.disks.insert(name.clone(), machine);
    } else {
        results.machines.insert(date.clone(), machine);
        results.date.clone_from(&date);
        results.command = machine::command();
    }
    let mut runner = runner::Runner::new(dir, date, args.quick, &tables);
    for table in &tables {
        let rows = runner.run(table)?;
        text::print(table, &rows);
        rows.into_iter().for_each(|row| results.replace(row));
        // What is measured is kept, whatever comes after.
        results.store(&places.results)?;
    }
    Ok(())
}
