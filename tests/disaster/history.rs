//! Histories: what an application does, step by step, with the shadow kept beside it. Every step
//! leaves a note of the disk operations it took and of what the log may be during and after it.

use crate::{
    deeds::Copy,
    shadow::{Found, MARK, Rec, Shadow},
    steps::{New, Step, Step::*, TILL},
    told::Told,
};
use cairnlog::{
    AppendOptions, Cipher, CompactOptions, Compression, Consumer, Durability, ErrorKind, Key,
    KeyId, Keys, Log, NewRecord, Options, PackOptions, Result, Retention, Seq, Worker,
    vfs::{Vfs, sim::SimFs},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub const DIR: &str = "/log";

/// The disk operations of one step, and what the log may be.
#[derive(Clone, Debug)]
pub struct Note {
    pub ops: std::ops::Range<u64>,
    pub during: Shadow,
    pub after: Shadow,
}

pub struct Run {
    pub disk: SimFs,
    pub options: Options,
    pub log: Option<Log>,
    pub shadow: Shadow,
    pub notes: Vec<Note>,
    /// Errors met, each with its step.
    pub errors: Vec<(String, cairnlog::Error)>,
    /// Whether reads may fail by a fault that was set.
    pub reads_fail: bool,
    /// Those that are open.
    pub consumers: BTreeMap<&'static str, Consumer>,
    /// Backups that were begun.
    pub copies: Vec<Copy>,
    serial: u64,
}

impl Run {
    pub fn new(disk: SimFs, options: &Options) -> Self {
        Self {
            disk,
            options: options.clone(),
            log: None,
            shadow: Shadow::new(),
            notes: Vec::new(),
            errors: Vec::new(),
            reads_fail: false,
            consumers: BTreeMap::new(),
            copies: Vec::new(),
            serial: 0,
        }
    }

    /// Goes on after a crash, with what is known of the log.
    pub fn after(disk: SimFs, options: &Options, shadow: Shadow, serial: u64) -> Self {
        Self {
            shadow,
            serial,
            ..Self::new(disk, options)
        }
    }

    pub fn serial(&self) -> u64 {
        self.serial
    }

    pub fn steps(&mut self, steps: &[Step]) -> &mut Self {
        for step in steps {
            self.step(step);
        }
        self
    }

    /// What the log may be after a power cut during this operation.
    pub fn shadow_at(&self, op: u64) -> &Shadow {
        let during = self.notes.iter().find(|note| note.ops.contains(&op));
        match (during, self.notes.iter().rfind(|note| note.ops.end <= op)) {
            (Some(note), _) => &note.during,
            (None, Some(note)) => &note.after,
            (None, None) => &self.shadow,
        }
    }

    pub fn step(&mut self, step: &Step) {
        let (start, before) = (self.disk.op_count(), self.shadow.clone());
        let during = match self.take(step) {
            // The notes of another disk are of no use on this one.
            None => {
                self.notes.clear();
                return;
            }
            Some(during) => during.unwrap_or(before),
        };
        self.notes.push(Note {
            ops: start..self.disk.op_count(),
            during,
            after: self.shadow.clone(),
        });
    }

    /// Takes a step. Gives what the log may be meanwhile, if that is not what it was before; `None`
    /// if the disk is another one now.
    fn take(&mut self, step: &Step) -> Option<Option<Shadow>> {
        if let Kill = step {
            self.reads_fail = false;
            let next = self.disk.kill();
            self.consumers.clear();
            self.log = None;
            self.disk = next;
            return None;
        }
        if let Open = step {
            self.open();
            return Some(None);
        }
        if let PackAppends = step {
            self.options = packing(self.options.clone());
            return Some(None);
        }
        let Some(log) = self.log.clone() else {
            return Some(None);
        };
        let next = log.next_seq();
        let mut during = None;
        match step {
            Append(level, news) => during = Some(self.append(&log, *level, news)),
            Submit(level, batches) => during = Some(self.submit(&log, *level, batches)),
            Expect { seq_off_by } => self.expect_seq(&log, *seq_off_by),
            Sync => {
                if let Some(end) = self.told(step, log.sync()) {
                    assert_eq!(end, next, "a sync reaches the end");
                    self.shadow.synced();
                }
            }
            Rotate => drop(self.told(step, log.rotate())),
            Maintain => drop(self.told(step, log.maintain())),
            Trim { keep } | TrimDurable { keep } => {
                let from = match step {
                    Trim { .. } => next,
                    _ => log.durable_seq(),
                };
                let head = from.saturating_sub(*keep);
                let mut meanwhile = self.shadow.clone();
                meanwhile.may_be_trimmed(head);
                match log.trim(head) {
                    Ok(()) => self.shadow.trimmed(head),
                    Err(error) => {
                        if error.kind() == ErrorKind::Indeterminate {
                            self.shadow.may_be_trimmed(head);
                        }
                        self.failed(step, error);
                    }
                }
                during = Some(meanwhile);
            }
            Rewind { drop } => {
                let end = next.saturating_sub(*drop).max(log.head_seq());
                self.consumers.clear(); // Only one that is opened anew sees that its output is gone.
                let mut meanwhile = self.shadow.clone();
                meanwhile.may_be_rewound(end, next);
                match log.rewind(end) {
                    Ok(()) => self.shadow.rewound(end, next),
                    Err(error) => {
                        if error.kind() == ErrorKind::Indeterminate {
                            self.shadow.may_be_rewound(end, next);
                        }
                        self.failed(step, error);
                    }
                }
                during = Some(meanwhile);
            }
            Mark => during = Some(self.mark(&log)),
            Compact => during = self.compact(&log),
            Pack => during = self.pack(&log),
            Retain { bytes } => {
                let mut meanwhile = self.shadow.clone();
                (0..=next).for_each(|head| meanwhile.may_be_trimmed(head));
                match log.retain(&Retention::new().bytes_max(*bytes)) {
                    Ok(report) => {
                        let held = self.held(&log).unwrap_or(Seq::MAX);
                        assert!(
                            report.head_seq <= held.max(self.shadow.head()),
                            "{held} is held"
                        );
                        self.shadow.trimmed(report.head_seq);
                    }
                    Err(error) => {
                        if error.kind() == ErrorKind::Indeterminate {
                            self.shadow = meanwhile.clone();
                        }
                        self.failed(step, error);
                    }
                }
                during = Some(meanwhile);
            }
            Named { .. } => during = Some(self.named(&log, step)),
            Consume(who, deed) => during = Some(self.consume(&log, who, deed)),
            Backup { copy } => self.backup(&log, *copy),
            Close => {
                self.consumers.clear();
                if self.told(step, log.close()).is_some() {
                    self.shadow.synced();
                }
                self.log = None;
            }
            Open | Kill | PackAppends => unreachable!("handled above"),
        }
        // What a definite error took back must never be seen again.
        self.shadow.taken_back(log.next_seq());
        Some(during)
    }

    /// Sets the mark; gives what the log may be meanwhile.
    fn mark(&mut self, log: &Log) -> Shadow {
        self.serial += 1;
        let mut meanwhile = self.shadow.clone();
        meanwhile.marks.push(self.serial);
        match log.set_mark(MARK, self.serial.to_le_bytes()) {
            Ok(()) => self.shadow.marks = vec![self.serial],
            Err(error) => {
                if error.kind() == ErrorKind::Indeterminate {
                    self.shadow.marks.push(self.serial);
                }
                self.failed(&Mark, error);
            }
        }
        meanwhile
    }

    /// Compacts everything; gives what the log may be meanwhile.
    fn compact(&mut self, log: &Log) -> Option<Shadow> {
        let mut before = self.shadow.clone();
        self.told(&Compact, log.sync())?;
        self.shadow.synced();
        self.told(&Compact, log.rotate())?;
        let now_ms = self.disk.unix_time_ms();
        let held = self.told(&Compact, log.held_seq())?.unwrap_or(Seq::MAX);
        let gone = self.shadow.superseded(log.head_seq(), now_ms, held);
        let mut meanwhile = self.shadow.clone();
        meanwhile.may_lack.extend(&gone);
        let how = CompactOptions::new().tombstone_age_min(Duration::ZERO);
        match self.told(&Compact, log.compact(&how.rate_bytes_per_s(None))) {
            Some(_) => self.shadow.certain.retain(|rec| !gone.contains(&rec.seq)),
            None => self.shadow = meanwhile.clone(),
        }
        before.or = Some(Box::new(meanwhile));
        Some(before)
    }

    /// Packs everything, which changes nothing of what the log is.
    fn pack(&mut self, log: &Log) -> Option<Shadow> {
        if !Compression::Lz4.is_built() {
            return None;
        }
        let mut before = self.shadow.clone();
        self.told(&Pack, log.sync())?;
        self.shadow.synced();
        self.told(&Pack, log.rotate())?;
        let how = PackOptions::new(Compression::Lz4).rate_bytes_per_s(None);
        self.told(&Pack, log.pack(&how));
        before.or = Some(Box::new(self.shadow.clone()));
        Some(before)
    }

    /// Where the till stands, which holds back retention.
    fn held(&self, log: &Log) -> Option<Seq> {
        let at = |told: &Told| told.at(TILL, log.durable_seq());
        let held = log.held_seq().ok()?;
        assert!(
            self.shadow.told.iter().any(|told| at(told) == held),
            "{held:?} is held"
        );
        held
    }

    pub fn told<T>(&mut self, step: &Step, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failed(step, error);
                None
            }
        }
    }

    pub fn failed(&mut self, step: &Step, error: cairnlog::Error) {
        self.errors.push((format!("{step:?}"), error));
    }

    /// Opens the log and holds it against the shadow; what it shows is durable from now on.
    pub fn open(&mut self) {
        self.consumers.clear();
        self.log = None;
        let options = self.options.clone().vfs(Arc::new(self.disk.clone()));
        let Some(log) = self.told(&Open, options.open(DIR)) else {
            return;
        };
        match self.shadow.check(&log) {
            Ok(found) => self.settle(&log, found),
            // Then nothing is learned. The log is used unseen if there is nothing to learn.
            Err(_) if self.reads_fail && self.shadow.is_decided() => {}
            Err(_) if self.reads_fail => return,
            Err(what) => panic!("after opening ({}): {what}", log.recovery()),
        }
        self.log = Some(log);
    }

    /// Takes what an open log shows as what there is.
    pub fn settle(&mut self, log: &Log, mut found: Found) {
        let head = log.head_seq();
        let hidden = self.shadow.certain.iter().filter(|rec| rec.seq < head);
        let mut certain: Vec<Rec> = hidden.cloned().collect();
        certain.append(&mut found.recs);
        self.shadow = Shadow {
            certain,
            heads: vec![head],
            marks: vec![found.mark],
            next_min: log.next_seq(),
            told: found.told,
            ..Shadow::new()
        };
    }

    pub fn make(&mut self, news: &[New], first_seq: Seq) -> Vec<Rec> {
        let now = self.disk.unix_time_ms();
        let each = news.iter().enumerate().map(|(i, new)| {
            self.serial += 1;
            let value = new.value_bytes.map(|bytes| {
                let mut value = format!("{:x}.", self.serial).into_bytes();
                value.resize(bytes, b'a' + (self.serial % 26) as u8);
                value
            });
            Rec {
                seq: first_seq + i as u64,
                key: new.key.map(|key| vec![b'k', key]),
                value,
                // The disk's clock moves a little with every call, and who shares a batch has the time
                // at which it was begun.
                time_ms: new
                    .time_ms
                    .map_or(now - 1000..=now + 1000, |time| time..=time),
            }
        });
        each.collect()
    }

    fn append(&mut self, log: &Log, level: Durability, news: &[New]) -> Shadow {
        let recs = self.make(news, log.next_seq());
        let mut meanwhile = self.shadow.clone();
        meanwhile.maybe.push(recs.clone());
        let how = AppendOptions::new().durability(level);
        match log.append_records(&borrowed(&recs, news), &how) {
            Ok(seqs) => {
                let first = recs.first().map_or(log.next_seq(), |rec| rec.seq);
                assert_eq!(seqs, first..first + recs.len() as u64);
                self.shadow.maybe.push(recs);
                if level == Durability::Durable {
                    self.shadow.synced();
                }
            }
            Err(error) => {
                if error.kind() == ErrorKind::Indeterminate {
                    self.shadow.maybe.push(recs);
                }
                self.failed(&Append(level, news.to_vec()), error);
            }
        }
        meanwhile
    }

    fn submit(&mut self, log: &Log, level: Durability, batches: &[Vec<New>]) -> Shadow {
        let mut meanwhile = self.shadow.clone();
        let how = AppendOptions::new().durability(level);
        let mut tickets = Vec::new();
        for news in batches {
            let recs = self.make(news, log.next_seq());
            meanwhile.maybe.push(recs.clone());
            match log.submit(&borrowed(&recs, news), &how) {
                Ok(ticket) => tickets.push((recs, ticket)),
                Err(error) => {
                    // It may have met the failure of what was queued before, and with that went
                    // buffered records, whose numbers are free again.
                    self.shadow.taken_back(log.next_seq());
                    self.failed(&Submit(level, vec![news.clone()]), error);
                }
            }
        }
        for (recs, ticket) in tickets {
            match ticket.wait() {
                Ok(seqs) => {
                    assert_eq!(seqs.start, recs.first().map_or(seqs.start, |rec| rec.seq));
                    self.shadow.maybe.push(recs);
                    if level == Durability::Durable {
                        self.shadow.synced();
                    }
                }
                Err(error) => {
                    if error.kind() == ErrorKind::Indeterminate {
                        self.shadow.maybe.push(recs);
                    }
                    self.failed(&Submit(level, Vec::new()), error);
                }
            }
        }
        meanwhile
    }

    /// A conditional append that must fail and leave nothing.
    fn expect_seq(&mut self, log: &Log, off_by: u64) {
        let how = AppendOptions::new().expected_seq(log.next_seq() + 1 + off_by);
        let error = log.append_records(&[NewRecord::value("never")], &how);
        let error = error.expect_err("the condition does not hold");
        if error.kind() == ErrorKind::SeqMismatch {
            assert_eq!(error.next_seq(), Some(log.next_seq()));
        } else {
            self.failed(&Expect { seq_off_by: off_by }, error);
        }
    }
}

pub fn borrowed<'a>(recs: &'a [Rec], news: &[New]) -> Vec<NewRecord<'a>> {
    let each = recs.iter().zip(news).map(|(rec, new)| {
        let record = match (&rec.key, &rec.value) {
            (Some(key), Some(value)) => NewRecord::keyed(key, value),
            (Some(key), None) => NewRecord::tombstone(key),
            (None, Some(value)) => NewRecord::value(value),
            (None, None) => unreachable!("a tombstone has a key"),
        };
        match new.time_ms {
            Some(time) => record.timestamp_ms(time),
            None => record,
        }
    });
    each.collect()
}

/// Small segments, no threads: the same steps give the same calls. And nothing is told to other
/// processes: a write that nobody syncs would double the states of every crash point.
///
/// With `CAIRN_SEALED=1` records are sealed, in all of these tests.
pub fn options(segment_bytes: u64) -> Options {
    let options = Options::new()
        .segment_bytes(segment_bytes)
        .background(false)
        .publish(false);
    let is_set = |name: &str| std::env::var(name).is_ok_and(|text| text == "1");
    let options = match is_set("CAIRN_MANY") {
        true => one_of_many(options),
        false => options,
    };
    match is_set("CAIRN_SEALED") {
        true => sealed(options.segment_bytes(segment_bytes * 2)),
        false => options,
    }
}

/// The same with records packed as they are appended, if this program can.
pub fn packing(options: Options) -> Options {
    match Compression::Lz4.is_built() {
        true => options.pack_appends(Compression::Lz4),
        false => options,
    }
}

/// The same as one of many logs: every file that may be is closed as soon as another is opened.
pub fn one_of_many(options: Options) -> Options {
    options.worker(Worker::new(2).unwrap().open_files_max(0))
}

/// The same with records sealed, if this program can.
pub fn sealed(options: Options) -> Options {
    match Cipher::Aes256GcmSiv.is_built() {
        true => options.keys(Keys::new(KeyId(1), Key::new([1; 32]))),
        false => options,
    }
}
