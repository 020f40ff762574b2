//! Works through the tables: rounds of all rows in turn, each measurement in a fresh directory and a
//! fresh process.
//!
//! INVARIANTS: rows of a table alternate (A B C A B C), and each round begins one row further on, so
//! that a slow minute of the machine meets everyone.
//!
//! Called by `main`.

use crate::{
    child::{self, Sample},
    plan::{Case, Effort, Table},
    results::Row,
    system,
};
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    path::PathBuf,
    time::{Duration, Instant},
};

pub struct Runner {
    pub dir: PathBuf,
    pub effort: Effort,
    pub date: String,
    pub quick: bool,
    done: usize,
    all: usize,
    start: Instant,
}

impl Runner {
    pub fn new(dir: PathBuf, effort: Effort, date: String, quick: bool, tables: &[Table]) -> Self {
        let all = tables
            .iter()
            .map(|table| table.cases.len() * effort.rounds)
            .sum();
        Self {
            dir,
            effort,
            date,
            quick,
            done: 0,
            all,
            start: Instant::now(),
        }
    }

    /// All rounds of one table. A row that fails is told and left out.
    pub fn run(&mut self, table: &Table) -> Result<Vec<Row>> {
        let mut rows: Vec<Row> = table
            .cases
            .iter()
            .map(|case| self.empty(table, case))
            .collect();
        let mut failed = vec![false; rows.len()];
        let mut group = 1;
        for round in 0..self.effort.rounds {
            for turn in 0..rows.len() {
                let number = (turn + round) % rows.len();
                self.done += 1;
                if failed[number] {
                    continue;
                }
                match self.once(&table.cases[number], group) {
                    Ok(sample) => {
                        if let ("cairn", Some(mean)) =
                            (&*rows[number].engine, sample.values.get("group"))
                        {
                            group = (mean.round() as usize).max(1);
                        }
                        rows[number].add(sample);
                    }
                    Err(error) => {
                        eprintln!("\r{error:#}");
                        failed[number] = true;
                    }
                }
                self.progress(table);
            }
        }
        eprint!("\r\x1b[K");
        rows.retain(|row| !row.rounds.is_empty());
        Ok(rows)
    }

    fn empty(&self, table: &Table, case: &Case) -> Row {
        Row {
            work: table.work.clone(),
            engine: case.spec.engine.clone(),
            date: self.date.clone(),
            quick: self.quick,
            rounds: Vec::new(),
            latencies: Vec::new(),
        }
    }

    /// One measurement in a fresh directory.
    fn once(&self, case: &Case, group: usize) -> Result<Sample> {
        let mut spec = case.spec.clone();
        if case.group_of_cairn {
            spec.group = group;
        }
        spec.dir = self.dir.join("measured");
        fs::create_dir_all(&spec.dir)?;
        let sample = child::measure(&spec, &[]);
        self.clean()?;
        sample
    }

    /// What one leaves behind is not to be paid by the next.
    fn clean(&self) -> Result<()> {
        let path = self.dir.join("measured");
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        system::sync_file_system(&File::open(&self.dir)?)
    }

    fn progress(&self, table: &Table) {
        let spent = self.start.elapsed();
        let left = spent.mul_f64((self.all - self.done) as f64 / self.done.max(1) as f64);
        let minutes = |it: Duration| format!("{}:{:02}", it.as_secs() / 60, it.as_secs() % 60);
        let work = &table.work;
        eprint!(
            "\r\x1b[K{} {} B, {} threads: {}/{}, {} spent, about {} left",
            work.workload,
            work.payload_bytes,
            work.threads,
            self.done,
            self.all,
            minutes(spent),
            minutes(left)
        );
    }
}
