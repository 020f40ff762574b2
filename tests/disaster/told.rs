//! What a log must remember beside its records: who appended what lately, and where its cursors stand.
//!
//! A log tells what it remembers without being changed: an append that names its producer and cannot
//! meet its condition is answered and leaves nothing.

use cairnlog::{AppendOptions, Durability, ErrorKind, Log, NewRecord, Producer, Seq};
use std::{collections::BTreeMap, ops::Range};

/// Appends of one producer that are remembered, and moves of one cursor.
const REMEMBERED: usize = 8;

/// One thing that a log may remember.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    producers: BTreeMap<u64, BTreeMap<u32, Epoch>>,
    cursors: BTreeMap<&'static str, Standing>,
}

/// The appends of a producer in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Epoch {
    /// Number and seqs of those that were not undone, the oldest first.
    appends: Vec<(u64, Range<Seq>)>,
    /// So many of the first had been forgotten when a rewind dropped what came later.
    forgotten_count: usize,
    /// Up to this number a rewind has dropped what may have been forgotten.
    burnt: Option<u64>,
}

/// Where a cursor stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standing {
    stored: Seq,
    /// The moves since: the seq of their first record, and where to.
    moves: Vec<(Seq, Seq)>,
}

/// What a log says to an append that names its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    New,
    Repeat(Range<Seq>),
    Refused(ErrorKind),
}

/// Asks without appending. `None`: the log takes nothing any more.
pub fn ask(log: &Log, producer: Producer, count: u64) -> Option<Answer> {
    let how = AppendOptions::new()
        .durability(Durability::Buffered)
        .expected_seq(Seq::MAX)
        .producer(producer);
    let records = vec![NewRecord::value("never"); count as usize];
    match log.append_records(&records, &how) {
        Ok(seqs) => Some(Answer::Repeat(seqs)),
        Err(error) => match error.kind() {
            ErrorKind::SeqMismatch => Some(Answer::New),
            ErrorKind::Poisoned | ErrorKind::Closed => None,
            kind => Some(Answer::Refused(kind)),
        },
    }
}

impl Told {
    /// A producer's epoch, and the last number in it.
    pub fn last(&self, id: u64) -> (u32, Option<u64>) {
        let epochs = self.producers.get(&id);
        let there = epochs.and_then(|epochs| epochs.iter().rfind(|(_, it)| !it.appends.is_empty()));
        there.map_or((0, None), |(epoch, it)| {
            (*epoch, it.appends.last().map(|(number, _)| *number))
        })
    }

    /// How many records an append has that is there.
    pub fn count_of(&self, by: Producer) -> Option<u64> {
        let epoch = self.producers.get(&by.id)?.get(&by.epoch)?;
        let found = epoch
            .appends
            .iter()
            .find(|(number, _)| *number == by.number);
        found.map(|(_, seqs)| seqs.end - seqs.start)
    }

    /// Somebody tries to append in this epoch: it may fence from now on.
    pub fn tried(&mut self, by: Producer) {
        let epochs = self.producers.entry(by.id).or_default();
        epochs.entry(by.epoch).or_default();
    }

    pub fn appended(&mut self, by: Producer, seqs: Range<Seq>) {
        let epochs = self.producers.entry(by.id).or_default();
        let epoch = epochs.entry(by.epoch).or_default();
        epoch.appends.push((by.number, seqs));
    }

    /// The cursor's file was replaced.
    pub fn stored(&mut self, cursor: &'static str, seq: Seq) {
        let moves = Vec::new();
        self.cursors.insert(cursor, Standing { stored: seq, moves });
    }

    /// Records from `first_seq` on move the cursor, which is there before them.
    pub fn moved(&mut self, cursor: &'static str, first_seq: Seq, to: Seq) {
        if let Some(standing) = self.cursors.get_mut(cursor) {
            standing.moves.push((first_seq, to));
        }
    }

    /// Where a cursor stands if what lies below `end_seq` is durable; `None` if there is none.
    pub fn at(&self, cursor: &str, end_seq: Seq) -> Option<Seq> {
        let standing = self.cursors.get(cursor)?;
        let last = standing.moves.iter().rfind(|(first, _)| *first < end_seq);
        Some(last.map_or(standing.stored, |(_, to)| *to))
    }

    /// Appends at or above this number are not there, and never were.
    pub fn undone(&mut self, next_seq: Seq) {
        for epoch in self.producers.values_mut().flat_map(BTreeMap::values_mut) {
            epoch.appends.retain(|(_, seqs)| seqs.end <= next_seq);
            epoch.forgotten_count = epoch.forgotten_count.min(epoch.appends.len());
        }
        for standing in self.cursors.values_mut() {
            standing.moves.retain(|(first, _)| *first < next_seq);
        }
    }

    /// What it may be after a rewind. Who remembers only the last ones cannot undo more.
    pub fn rewound(mut self, end: Seq) -> Vec<Self> {
        for epoch in self.producers.values_mut().flat_map(BTreeMap::values_mut) {
            epoch.rewound(end);
        }
        let mut all = vec![self.clone()];
        for (name, standing) in &self.cursors {
            let kept = standing.moves.partition_point(|(first, _)| *first < end);
            let undone = standing.moves.len() - kept;
            let cut = |mut told: Self, kept: usize| {
                let standing = told.cursors.get_mut(name).expect("it is one of them");
                standing.moves.truncate(kept);
                told
            };
            let also: Vec<Self> = match undone >= REMEMBERED {
                true => all.iter().map(|told| cut(told.clone(), 0)).collect(),
                false => Vec::new(),
            };
            all = all.into_iter().map(|told| cut(told, kept)).collect();
            all.extend(also);
        }
        all
    }

    /// Asks an open log for what was appended lately; `Err` says what is wrong.
    pub fn check_producers(&self, log: &Log) -> Result<(), String> {
        for (id, epochs) in &self.producers {
            for (epoch, known) in epochs {
                for number in known.of_interest() {
                    let by = Producer {
                        id: *id,
                        epoch: *epoch,
                        number,
                    };
                    let count = self.count_of(by).unwrap_or(1);
                    for count in [count, count + 1] {
                        match ask(log, by, count) {
                            Some(answer) if !self.allows(by, count, &answer) => {
                                return Err(format!("{by:?} x{count}: {answer:?} by {known:?}"));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    pub fn forget_cursors(&mut self) {
        self.cursors.clear();
    }

    /// Compares where an open log says that its cursors are.
    pub fn check_cursors(&self, log: &Log) -> Result<(), String> {
        if self.cursors.is_empty() {
            return Ok(());
        }
        let end_seq = log.durable_seq();
        let listed = log.cursors().map_err(|error| format!("cursors: {error}"))?;
        let found: BTreeMap<String, Seq> = listed.into_iter().map(|it| (it.name, it.seq)).collect();
        let wanted = self.cursors.keys().map(|name| {
            let at = self.at(name, end_seq).expect("it is one of them");
            ((*name).to_owned(), at)
        });
        match found == wanted.collect() {
            true => Ok(()),
            false => Err(format!("cursors at {found:?}, not {:?}", self.cursors)),
        }
    }

    fn allows(&self, by: Producer, count: u64, answer: &Answer) -> bool {
        let Some(epochs) = self.producers.get(&by.id) else {
            return *answer == Answer::New;
        };
        let (newest, _) = self.last(by.id);
        if *answer == Answer::Refused(ErrorKind::Fenced) {
            // Also by an epoch of which nothing is left.
            return epochs.keys().any(|epoch| *epoch > by.epoch);
        }
        let known = epochs.get(&by.epoch).cloned().unwrap_or_default();
        newest <= by.epoch && known.allows(by.number, count, answer)
    }
}

impl Epoch {
    /// From here on appends are remembered for certain.
    fn certain_from(&self) -> usize {
        let window = self.appends.len().saturating_sub(REMEMBERED);
        window.max(self.forgotten_count)
    }

    /// The numbers worth asking for: the window's, a few before it and what comes next.
    fn of_interest(&self) -> Range<u64> {
        let from = self.appends.len().saturating_sub(REMEMBERED + 3);
        let first = self.appends.get(from).map_or(0, |(number, _)| *number);
        let last = self.appends.last().map_or(first, |(number, _)| *number);
        first.saturating_sub(1)..last + 3
    }

    fn rewound(&mut self, end: Seq) {
        let kept = self.appends.partition_point(|(_, seqs)| seqs.start < end);
        let forgotten = self.certain_from();
        let burnt = self.appends[..forgotten].iter().skip(kept).last();
        self.burnt = self.burnt.max(burnt.map(|(number, _)| *number));
        if kept < self.appends.len() {
            self.forgotten_count = forgotten.min(kept);
            self.appends.truncate(kept);
        }
    }

    fn allows(&self, number: u64, count: u64, answer: &Answer) -> bool {
        use Answer::{New, Refused, Repeat};
        use ErrorKind::{Duplicate, InvalidInput};
        let certain_from = self.certain_from();
        let older = &self.appends[..certain_from];
        let forgotten = older.last().is_some_and(|(last, _)| number <= *last)
            || self.burnt.is_some_and(|burnt| number <= burnt);
        if *answer == Refused(Duplicate) {
            let certain = &self.appends[certain_from..];
            return forgotten && certain.iter().all(|(known, _)| *known != number);
        }
        match self.appends.iter().find(|(known, _)| *known == number) {
            Some((_, seqs)) if seqs.end - seqs.start == count => *answer == Repeat(seqs.clone()),
            Some(_) => *answer == Refused(InvalidInput),
            None if self.appends.last().is_some_and(|(last, _)| number < *last) => {
                *answer == Refused(InvalidInput)
            }
            None => *answer == New,
        }
    }
}
