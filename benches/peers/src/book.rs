//! Looks results up: one number, the best peer, the limit.
//!
//! INVARIANTS: who was seen not to reach the device counts as nobody's best where records have to be
//! durable.
//!
//! Used by the tables, the targets and the pictures.

use crate::{
    engine::{self, Entrant, Kind},
    plan::Work,
    results::{Results, Row},
};

pub struct Book<'a> {
    results: &'a Results,
    entrants: Vec<Entrant>,
}

/// Whether more or less of a number is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

impl Better {
    pub fn beats(self, a: f64, b: f64) -> bool {
        if self == Self::More { a > b } else { a < b }
    }
}

pub fn work(workload: &str, payload_bytes: usize, threads: usize) -> Work {
    Work {
        workload: workload.to_owned(),
        payload_bytes,
        threads,
        size: 0,
        disk: String::new(),
    }
}

impl<'a> Book<'a> {
    pub fn new(results: &'a Results) -> Self {
        Self {
            results,
            entrants: engine::all(),
        }
    }

    pub fn rows(&self, work: &Work) -> Vec<&'a Row> {
        self.results
            .rows
            .iter()
            .filter(|row| row.work == *work)
            .collect()
    }

    /// All works of a workload on the disk of the rest, in order.
    pub fn works(&self, workload: &str) -> Vec<&'a Work> {
        let mut works: Vec<_> = self
            .results
            .rows
            .iter()
            .map(|row| &row.work)
            .filter(|it| it.workload == workload && it.disk.is_empty())
            .collect();
        works.sort();
        works.dedup();
        works
    }

    /// All works on this other disk, in order.
    pub fn works_on(&self, disk: &str) -> Vec<&'a Work> {
        let works = self.results.rows.iter().map(|row| &row.work);
        let mut works: Vec<_> = works.filter(|it| it.disk == disk).collect();
        works.sort();
        works.dedup();
        works
    }

    pub fn get(&self, work: &Work, engine: &str, name: &str) -> Option<f64> {
        self.rows(work)
            .iter()
            .find(|row| row.engine == engine)?
            .median(name)
    }

    pub fn entrant(&self, row: &Row) -> Option<&Entrant> {
        self.entrants.iter().find(|it| it.name == row.engine)
    }

    pub fn kind(&self, row: &Row) -> Kind {
        // One that this build leaves out was a peer when it was measured.
        self.entrant(row).map_or(Kind::Peer, |it| it.kind)
    }

    /// Whether its records were durable where they have to be.
    pub fn honest(&self, row: &Row) -> bool {
        let Some(entrant) = self.entrant(row) else {
            return true;
        };
        match row.work.workload.as_str() {
            "W1" | "W2" | "W3" | "W11" | "W12" | "W13" | "W18" | "W18-stores" | "killed" => {
                entrant.kind != Kind::NotDurable
            }
            "W4" => entrant.kind != Kind::NotDurable && entrant.syncs,
            _ => true,
        }
    }

    /// The best peer, by a number, among those that count.
    pub fn best(&self, work: &Work, name: &str, better: Better) -> Option<(&'a str, f64)> {
        self.best_of(work, name, better, |row| {
            !matches!(self.kind(row), Kind::Cairn | Kind::Variant | Kind::Raw)
        })
    }

    /// Cairn's own best, and by what it is that.
    pub fn ours(&self, work: &Work, name: &str, better: Better) -> Option<(&'a str, f64)> {
        self.best_of(work, name, better, |row| {
            matches!(self.kind(row), Kind::Cairn | Kind::Variant)
        })
    }

    pub fn best_of(
        &self,
        work: &Work,
        name: &str,
        better: Better,
        among: impl Fn(&Row) -> bool,
    ) -> Option<(&'a str, f64)> {
        let mut best: Option<(&str, f64)> = None;
        for row in self
            .rows(work)
            .into_iter()
            .filter(|row| among(row) && self.honest(row))
        {
            if let Some(value) = row.median(name)
                && best.is_none_or(|(_, other)| better.beats(value, other))
            {
                best = Some((&row.engine, value));
            }
        }
        best
    }

    /// Cairn's number over another's.
    pub fn ratio(&self, work: &Work, name: &str, other: Option<f64>) -> Option<f64> {
        Some(self.get(work, "cairn", name)? / other?)
    }
}

/// The exponent of a power law through these points, by least squares of the logarithms.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .filter(|(x, y)| *x > 0.0 && *y > 0.0)
        .map(|(x, y)| (x.ln(), y.ln()))
        .collect();
    let count = logs.len() as f64;
    if logs.len() < 3 {
        return None;
    }
    let (x, y) = (
        logs.iter().map(|it| it.0).sum::<f64>() / count,
        logs.iter().map(|it| it.1).sum::<f64>() / count,
    );
    let over: f64 = logs.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
    let under: f64 = logs.iter().map(|it| (it.0 - x).powi(2)).sum();
    Some(over / under)
}

#[cfg(test)]
mod tests {
    use super::exponent;

    #[test]
    fn is_the_exponent_of_a_power_law_found() {
        let curve = |power: f64| [1.0_f64, 10.0, 1000.0].map(|x| (x, 3.0 * x.powf(power)));
        for power in [0.0, 0.5, 1.0, 2.0] {
            let found = exponent(&curve(power)).unwrap();
            assert!((found - power).abs() < 1e-9, "{power}: {found}");
        }
        assert_eq!(exponent(&curve(1.0)[..2]), None);
    }
}
