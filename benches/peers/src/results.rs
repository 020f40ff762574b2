//! What was measured, kept: rows of samples, each with its date.
//!
//! INVARIANTS: a run replaces the rows that it measured and no other.
//!
//! Written by the runner, read by the report.

use crate::{child::Sample, engine::Values, plan::Work};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::Path};

/// All samples of one engine at one work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    #[serde(flatten)]
    pub work: Work,
    pub engine: String,
    pub date: String,
    pub quick: bool,
    /// What each round measured.
    pub rounds: Vec<Values>,
    /// Latencies of all rounds: upper bounds in microseconds, and how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latencies: Vec<(f64, u64)>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// What it was measured on, by day.
    pub machines: BTreeMap<String, String>,
    /// Of the latest run.
    pub date: String,
    pub command: String,
    /// The other disks by name, and the machine as it was with each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disks: BTreeMap<String, String>,
    pub rows: Vec<Row>,
}

/// A median with what lies around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Row {
    pub fn spread(&self, name: &str) -> Option<Spread> {
        let mut all: Vec<f64> = self
            .rounds
            .iter()
            .filter_map(|it| it.get(name).copied())
            .collect();
        all.sort_by(f64::total_cmp);
        let (min, max) = (*all.first()?, *all.last()?);
        let median = f64::midpoint(all[(all.len() - 1) / 2], all[all.len() / 2]);
        Some(Spread { min, median, max })
    }

    pub fn median(&self, name: &str) -> Option<f64> {
        self.spread(name).map(|it| it.median)
    }

    /// Takes in one round.
    pub fn add(&mut self, sample: Sample) {
        let mut merged: BTreeMap<u64, u64> = BTreeMap::new();
        for (us, count) in self.latencies.drain(..).chain(sample.latencies) {
            let us = rounded(us);
            *merged.entry(us.to_bits()).or_default() += count;
        }
        // Positive numbers sort like their bits.
        self.latencies = merged
            .into_iter()
            .map(|(us, count)| (f64::from_bits(us), count))
            .collect();
        self.latencies.retain(|(_, count)| *count > 0);
        self.rounds.push(
            sample
                .values
                .into_iter()
                .map(|(name, it)| (name, rounded(it)))
                .collect(),
        );
    }
}

/// Five digits: the rest is noise, and makes the file long.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

impl Results {
    /// Empty if there is no file.
    pub fn load(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    pub fn store(&self, path: &Path) -> Result<()> {
        // A line for each row: readable differences.
        let rows = self
            .rows
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<Vec<_>, _>>()?;
        let head = serde_json::to_string(&Self {
            rows: Vec::new(),
            ..self.clone()
        })?;
        let head = head.trim_end_matches("]}");
        fs::write(path, format!("{head}\n{}\n]}}\n", rows.join(",\n")))
            .with_context(|| path.display().to_string())
    }

    pub fn replace(&mut self, row: Row) {
        self.rows
            .retain(|it| it.work != row.work || it.engine != row.engine);
        self.rows.push(row);
        self.rows
            .sort_by(|a, b| (&a.work, &a.engine).cmp(&(&b.work, &b.engine)));
    }
}

#[cfg(test)]
mod tests {
    use super::{Results, Row};
    use crate::{book::work, child::Sample, engine::Values};

    fn row(engine: &str, rates: &[f64]) -> Row {
        let mut row = Row {
            work: work("W1", 100, 1),
            engine: engine.to_owned(),
            date: String::new(),
            quick: true,
            rounds: Vec::new(),
            latencies: Vec::new(),
        };
        for rate in rates {
            let values = Values::from([("rate".into(), *rate)]);
            row.add(Sample {
                values,
                latencies: vec![(1.5, 2), (3.0, 1)],
            });
        }
        row
    }

    #[test]
    fn is_the_median_between_the_middle_two_and_are_latencies_of_rounds_added() {
        let row = row("a", &[4.0, 1.0, 3.0, 100.0]);
        let spread = row.spread("rate").unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 3.5, 100.0));
        assert_eq!(row.latencies, [(1.5, 8), (3.0, 4)]);
        assert_eq!(row.spread("other"), None);
    }

    #[test]
    fn does_a_new_row_replace_its_own_and_come_back_from_the_file() {
        let mut results = Results::default();
        results.replace(row("b", &[1.0]));
        results.replace(row("a", &[2.0]));
        results.replace(row("b", &[5.0]));
        let path = std::env::temp_dir().join(format!("cairn-peers-{}.json", std::process::id()));
        results.store(&path).unwrap();
        let read = Results::load(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let rates: Vec<_> = read
            .rows
            .iter()
            .map(|row| (&*row.engine, row.median("rate")))
            .collect();
        assert_eq!(rates, [("a", Some(2.0)), ("b", Some(5.0))]);
    }
}
