//! What the log must hold: a reference kept beside it, and the comparison with what came back.
//!
//! A log after a crash is right if it holds every record that is `certain`, then any number of whole
//! batches of `maybe` in order, and nothing else; and if it remembers one of what is `told`.

use crate::told::Told;
use cairnlog::{Log, Record, Seq};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

/// The one mark of these logs.
pub const MARK: &str = "mark";

/// A record as it was handed in. The value begins with a number that no other record has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rec {
    pub seq: Seq,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Its own time, or the moments between which the log chose one.
    pub time_ms: RangeInclusive<i64>,
}

impl Rec {
    pub fn is(&self, found: &Record) -> bool {
        self.seq == found.seq()
            && self.key.as_deref() == found.key()
            && self.value.as_deref() == found.value()
            && self.time_ms.contains(&found.timestamp_ms())
    }

    pub fn of(found: &Record) -> Self {
        Self {
            seq: found.seq(),
            key: found.key().map(<[u8]>::to_vec),
            value: found.value().map(<[u8]>::to_vec),
            time_ms: found.timestamp_ms()..=found.timestamp_ms(),
        }
    }
}

/// What a log was found to be.
#[derive(Debug)]
pub struct Found {
    pub recs: Vec<Rec>,
    pub told: Vec<Told>,
    pub mark: u64,
}

/// What a log may be.
#[derive(Clone, Debug, Default)]
pub struct Shadow {
    /// Acknowledged as durable, trimmed ones included.
    pub certain: Vec<Rec>,
    /// Batches that are not: any number of them from the front may be there.
    pub maybe: Vec<Vec<Rec>>,
    /// The heads that it may have; the first is the acknowledged one.
    pub heads: Vec<Seq>,
    /// What its mark may be set to, 0 if it is not there; the first is what was acknowledged.
    pub marks: Vec<u64>,
    /// The lowest number that the next record may get: a rewind does not free any.
    pub next_min: Seq,
    /// Which of the certain ones may be gone, while a compaction is undecided.
    pub may_lack: BTreeSet<Seq>,
    /// What it may remember, as if all of `maybe` were there.
    pub told: Vec<Told>,
    /// What else it may be, while a rewind is undecided.
    pub or: Option<Box<Shadow>>,
}

impl Shadow {
    pub fn new() -> Self {
        Self {
            heads: vec![0],
            marks: vec![0],
            told: vec![Told::default()],
            ..Self::default()
        }
    }

    pub fn head(&self) -> Seq {
        self.heads[0]
    }

    /// Whether there is only one thing that the log may be.
    pub fn is_decided(&self) -> bool {
        let whole = self.may_lack.is_empty() && self.told.len() == 1;
        let one = self.heads.len() == 1 && self.marks.len() == 1;
        self.maybe.is_empty() && self.or.is_none() && one && whole
    }

    /// Everything up to here became durable.
    pub fn synced(&mut self) {
        self.certain.extend(self.maybe.drain(..).flatten());
    }

    /// The log says that everything below became durable.
    pub fn synced_to(&mut self, durable_seq: Seq) {
        let reached = |batch: &Vec<Rec>| batch.last().is_none_or(|last| last.seq < durable_seq);
        let count = self.maybe.iter().take_while(|batch| reached(batch)).count();
        self.certain.extend(self.maybe.drain(..count).flatten());
    }

    /// Batches at or above this number were taken back and told so.
    pub fn taken_back(&mut self, next_seq: Seq) {
        self.maybe
            .retain(|batch| batch.last().is_none_or(|last| last.seq < next_seq));
        self.recall(|told| told.undone(next_seq));
    }

    /// Changes what is remembered, whichever it is.
    pub fn recall(&mut self, change: impl Fn(&mut Told)) {
        self.told.iter_mut().for_each(change);
    }

    /// What is remembered changes so, or it does not.
    pub fn may_recall(&mut self, change: impl Fn(&mut Told)) {
        let before = self.told.clone();
        self.recall(change);
        for told in before {
            if !self.told.contains(&told) {
                self.told.push(told);
            }
        }
    }

    pub fn trimmed(&mut self, head: Seq) {
        self.heads = vec![head.max(self.head())];
    }

    pub fn may_be_trimmed(&mut self, head: Seq) {
        self.heads.push(head.max(self.head()));
    }

    pub fn rewound(&mut self, end: Seq, next_seq: Seq) {
        self.synced();
        if end < next_seq {
            self.certain.retain(|rec| rec.seq < end);
            self.next_min = self.next_min.max(next_seq);
            let told = std::mem::take(&mut self.told).into_iter();
            self.told = told.flat_map(|told| told.rewound(end)).collect();
        }
    }

    pub fn may_be_rewound(&mut self, end: Seq, next_seq: Seq) {
        let mut other = self.clone();
        other.rewound(end, next_seq);
        self.or = Some(Box::new(other));
    }

    /// What a compaction of all that is certain drops: what has a newer record of its key, tombstones
    /// whose time has come and that nobody holds, what was trimmed.
    pub fn superseded(&self, head: Seq, now_ms: i64, held: Seq) -> BTreeSet<Seq> {
        let mut newest = BTreeMap::new();
        for rec in &self.certain {
            newest.extend(rec.key.as_ref().map(|key| (key, rec.seq)));
        }
        let goes = |rec: &&Rec| {
            let newer = rec.key.as_ref().is_some_and(|key| newest[key] > rec.seq);
            let due = *rec.time_ms.start() <= now_ms && rec.seq < held;
            let expired = rec.value.is_none() && due;
            newer || expired || rec.seq < head
        };
        self.certain
            .iter()
            .filter(goes)
            .map(|rec| rec.seq)
            .collect()
    }

    /// Compares with an open log; `Err` says what is wrong.
    pub fn check(&self, log: &Log) -> Result<Found, String> {
        let records = read_all(log)?;
        let mut told = Vec::new();
        let mut first = None;
        // What is remembered may tell what was from what is undone, and where it cannot, both may be.
        let mut next = Some(self);
        while let Some(shadow) = next {
            match shadow
                .compare(log, &records)
                .and_then(|()| shadow.remembered(log))
            {
                Ok(more) => told.extend(more),
                Err(what) => first = first.or(Some(what)),
            }
            next = shadow.or.as_deref();
        }
        let recs = records.iter().map(Rec::of).collect();
        match first {
            Some(what) if told.is_empty() => Err(what),
            _ => Ok(Found {
                recs,
                told,
                mark: mark(log),
            }),
        }
    }

    /// All of `told` that the log may remember, by what it says. Where a cursor is shown may be in the
    /// page cache only, after a sync that failed: that is settled when it gets a consumer.
    fn remembered(&self, log: &Log) -> Result<Vec<Told>, String> {
        let (mut all, mut shown, mut first) = (Vec::new(), false, None);
        for told in &self.told {
            let mut told = told.clone();
            told.undone(log.next_seq());
            let known = told.check_producers(log);
            let stands = known.clone().and_then(|()| told.check_cursors(log));
            shown |= stands.is_ok();
            first = first.or(stands.err());
            if known.is_ok() {
                all.push(told);
            }
        }
        match first {
            Some(what) if !shown => Err(what),
            _ => Ok(all),
        }
    }

    fn compare(&self, log: &Log, found: &[Record]) -> Result<(), String> {
        let head = log.head_seq();
        if !self.heads.contains(&head) {
            return Err(format!("head {head}, not one of {:?}", self.heads));
        }
        if !self.marks.contains(&mark(log)) {
            return Err(format!("mark {}, not one of {:?}", mark(log), self.marks));
        }
        if log.next_seq() < self.next_min {
            let (next, min) = (log.next_seq(), self.next_min);
            return Err(format!("next seq {next}, below {min}"));
        }
        if let Some(last) = found.last()
            && log.next_seq() <= last.seq()
        {
            return Err(format!("next seq {} is in use", log.next_seq()));
        }
        let mut found = found.iter().peekable();
        for want in self.certain.iter().filter(|rec| rec.seq >= head) {
            match found.peek() {
                Some(got) if want.is(got) => drop(found.next()),
                _ if self.may_lack.contains(&want.seq) => {}
                got => return Err(format!("certain {want:?}, found {got:?}")),
            }
        }
        for batch in &self.maybe {
            let visible: Vec<&Rec> = batch.iter().filter(|rec| rec.seq >= head).collect();
            if visible.is_empty() {
                continue;
            }
            if found.peek().is_none() {
                return Ok(());
            }
            for want in visible {
                match found.next() {
                    Some(got) if want.is(got) => {}
                    got => return Err(format!("batch with {want:?}, found {got:?}")),
                }
            }
        }
        match found.next() {
            None => Ok(()),
            Some(extra) => Err(format!("nobody appended {extra:?}")),
        }
    }
}

/// What the mark is set to, 0 if it is not there.
fn mark(log: &Log) -> u64 {
    let value = log.mark(MARK).map(|value| value.try_into().unwrap());
    value.map_or(0, u64::from_le_bytes)
}

/// Every durable record, read forwards, backwards and one by one: all must agree.
pub fn read_all(log: &Log) -> Result<Vec<Record>, String> {
    let told = |what: &str, error: cairnlog::Error| format!("{what}: {error}");
    let forwards: Result<Vec<Record>, _> = log.scan(..).map_err(|e| told("scan", e))?.collect();
    let forwards = forwards.map_err(|error| told("scan forwards", error))?;
    let backwards: Result<Vec<Record>, _> =
        log.scan(..).map_err(|e| told("scan", e))?.rev().collect();
    let mut backwards = backwards.map_err(|error| told("scan backwards", error))?;
    backwards.reverse();
    if forwards != backwards {
        return Err(format!(
            "forwards {forwards:?}\nbackwards {backwards:?} differ"
        ));
    }
    if let Some(pair) = forwards.windows(2).find(|p| p[0].seq() >= p[1].seq()) {
        return Err(format!("out of order: {pair:?}"));
    }
    // Reading one by one costs a search each: the ends and a few between are enough here.
    let step = (forwards.len() / 4).max(1);
    for record in forwards.iter().step_by(step).chain(forwards.last()) {
        let one = log.get(record.seq()).map_err(|e| told("get", e))?;
        if one.as_ref() != Some(record) {
            return Err(format!("get gives {one:?} for {record:?}"));
        }
    }
    Ok(forwards)
}
