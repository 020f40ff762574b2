//! Works through the tables: rounds of all rows in turn, each measurement in a fresh process, and in a
//! fresh directory unless it reads what was filled before.
//!
//! INVARIANTS: rows of a table alternate (A B C A B C), and each round begins one row further on, so
//! that a slow minute of the machine meets everyone.
//!
//! Called by `main`.

use crate::{
    child::{self, Sample, Spec},
    meter::Others,
    plan::{Case, Table},
    results::Row,
    system,
};
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub struct Runner {
    dir: PathBuf,
    date: String,
    quick: bool,
    done: usize,
    all: usize,
    start: Instant,
}

impl Runner {
    pub fn new(dir: PathBuf, date: String, quick: bool, tables: &[Table]) -> Self {
        let all = tables
            .iter()
            .map(|table| table.cases.len() * table.rounds)
            .sum();
        Self {
            dir,
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
        for (case, failed) in table.cases.iter().zip(&mut failed) {
            *failed = told(self.prepare(case)).is_none();
        }
        let mut group = 1;
        for round in 0..table.rounds {
            for turn in 0..rows.len() {
                let number = (turn + round) % rows.len();
                self.done += 1;
                if failed[number] {
                    continue;
                }
                let Some(sample) = told(self.once(&table.cases[number], group)) else {
                    failed[number] = true;
                    continue;
                };
                if let ("cairn", Some(mean)) = (&*rows[number].engine, sample.values.get("group")) {
                    group = (mean.round() as usize).max(1);
                }
                rows[number].add(sample);
                self.progress(table);
            }
        }
        for case in table.cases.iter().filter(|case| case.before.is_some()) {
            self.clean(&self.place(case))?;
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

    /// Where a row is measured: a directory that is used again, or a fresh one each time.
    fn place(&self, case: &Case) -> PathBuf {
        match &case.before {
            Some(before) => self.dir.join(format!("kept-{}", before.engine)),
            None => self.dir.join("measured"),
        }
    }

    /// Fills what all rounds of a row read.
    fn prepare(&self, case: &Case) -> Result<()> {
        if let Some(before) = &case.before {
            let dir = self.place(case);
            self.clean(&dir)?;
            fs::create_dir_all(&dir)?;
            child::measure(
                &Spec {
                    dir,
                    ..before.clone()
                },
                &[],
            )?;
        }
        Ok(())
    }

    fn once(&self, case: &Case, group: usize) -> Result<Sample> {
        let mut spec = Spec {
            dir: self.place(case),
            ..case.spec.clone()
        };
        if case.group_of_cairn {
            spec.group = group;
        }
        fs::create_dir_all(&spec.dir)?;
        let before = Others::now()?;
        let mut sample = child::measure(&spec, &[]);
        if let Ok(sample) = &mut sample {
            let share = Others::now()?.share_since(&before);
            sample.values.insert("others".into(), share);
        }
        if case.before.is_none() {
            self.clean(&spec.dir)?;
        }
        sample
    }

    /// What one leaves behind is not to be paid by the next.
    fn clean(&self, path: &Path) -> Result<()> {
        if path.exists() {
            fs::remove_dir_all(path).with_context(|| path.display().to_string())?;
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

/// What went wrong is told, and the rest goes on.
fn told<T>(outcome: Result<T>) -> Option<T> {
    outcome.map_err(|error| eprintln!("\r\x1b[K{error:#}")).ok()
}
