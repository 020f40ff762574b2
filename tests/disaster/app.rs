//! An application on the simulated disk that names its appends, bills what it reads exactly once, and
//! keeps a reader's place; and what it may rely on, kept beside it.

use crate::history::DIR;
use cairnlog::{
    AppendOptions, Consumer, Durability, Log, NewRecord, Options, Producer, Result, Seq,
    vfs::sim::SimFs,
};
use std::{collections::BTreeMap, sync::Arc};

/// What it does.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Open,
    /// Appends under its next number.
    Put(Durability),
    /// Appends once more under one of the last eight numbers.
    Again(u64),
    Sync,
    /// Appends the bill of the next order and moves past it.
    Bill,
    /// Reads a record and acknowledges it.
    Read,
    /// Sends the reader back by this many.
    Back(u64),
    Rotate,
    Maintain,
    /// Drops what all have passed.
    Trim,
    /// Drops this many from the end.
    Rewind(u64),
    Close,
    Kill,
}

pub use Act::*;

pub const PUT: Act = Put(Durability::Durable);

#[derive(Clone, Copy, Debug, Default)]
pub struct Order {
    /// The seq that it was told.
    seq: Option<Seq>,
    /// Whether it was told that it is durable.
    durable: bool,
}

/// What it may rely on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its orders by number, also those that it knows nothing of.
    orders: BTreeMap<u64, Order>,
    next_number: u64,
    /// By the order's seq: the seq of the bill, once it was told.
    bills: BTreeMap<Seq, Option<Seq>>,
    /// Where the reader may be found.
    reader_at: Vec<Seq>,
}

/// The disk operations of one act, and what holds during and after it.
struct Note {
    ops: std::ops::Range<u64>,
    during: Facts,
    after: Facts,
}

pub struct App {
    pub disk: SimFs,
    pub options: Options,
    pub facts: Facts,
    pub errors: Vec<(Act, cairnlog::Error)>,
    log: Option<Log>,
    notes: Vec<Note>,
}

fn order(number: u64) -> String {
    format!("{:090}", format!("order {number}"))
}

fn bill(seq: Seq) -> String {
    format!("bill of {seq}")
}

fn put(log: &Log, number: u64, level: Durability) -> Result<Seq> {
    let (id, epoch) = (7, 1);
    let how = AppendOptions::new()
        .durability(level)
        .producer(Producer { id, epoch, number });
    let seqs = log.append_records(&[NewRecord::value(&order(number))], &how)?;
    Ok(seqs.start)
}

impl App {
    pub fn new(disk: SimFs, options: &Options) -> Self {
        let facts = Facts {
            orders: BTreeMap::new(),
            next_number: 0,
            bills: BTreeMap::new(),
            reader_at: vec![0],
        };
        Self::after(disk, options, facts)
    }

    /// Goes on after a crash.
    pub fn after(disk: SimFs, options: &Options, facts: Facts) -> Self {
        Self {
            disk,
            options: options.clone(),
            facts,
            errors: Vec::new(),
            log: None,
            notes: Vec::new(),
        }
    }

    /// What holds after a power cut during this operation.
    pub fn facts_at(&self, op: u64) -> &Facts {
        let during = self.notes.iter().find(|note| note.ops.contains(&op));
        match (during, self.notes.iter().rfind(|note| note.ops.end <= op)) {
            (Some(note), _) => &note.during,
            (None, Some(note)) => &note.after,
            (None, None) => &self.facts,
        }
    }

    pub fn act(&mut self, acts: &[Act]) {
        for act in acts {
            let start = self.disk.op_count();
            // What an act is about to try holds from its first operation on.
            let mut during = self.facts.clone();
            if let Err(error) = self.take(*act, &mut during) {
                self.errors.push((*act, error));
            }
            if let Kill = act {
                self.notes.clear(); // Of another disk.
                continue;
            }
            self.notes.push(Note {
                ops: start..self.disk.op_count(),
                during,
                after: self.facts.clone(),
            });
        }
    }

    fn take(&mut self, act: Act, during: &mut Facts) -> Result<()> {
        if let Kill = act {
            let next = self.disk.kill();
            self.log = None;
            self.disk = next;
            return Ok(());
        }
        if let Open = act {
            self.log = None;
            let options = self.options.clone().vfs(Arc::new(self.disk.clone()));
            self.log = Some(options.open(DIR)?);
            return Ok(());
        }
        let Some(log) = self.log.clone() else {
            return Ok(());
        };
        match act {
            Put(level) => {
                let number = self.facts.next_number;
                self.try_this(during, |facts| {
                    facts.orders.entry(number).or_default();
                });
                let seq = put(&log, number, level)?;
                self.facts.told(number, seq, level);
                self.facts.next_number += 1;
            }
            Again(back) => {
                let number = self.facts.next_number.saturating_sub(1 + back);
                if let Some(known) = self.facts.orders.get(&number).copied() {
                    let seq = put(&log, number, Durability::Durable)?;
                    assert!(known.seq.is_none_or(|told| told == seq), "order {number}");
                    self.facts.told(number, seq, Durability::Durable);
                }
            }
            Sync => {
                log.sync()?;
                for order in self.facts.orders.values_mut() {
                    order.durable |= order.seq.is_some();
                }
            }
            Bill => self.bill(&log.consumer("till")?, during)?,
            Read => {
                let mut reader = log.consumer("reader")?;
                if let Some(record) = reader.try_next()? {
                    let next = record.seq() + 1;
                    self.try_this(during, |facts| facts.reader_at.push(next));
                    reader.ack(record.seq())?;
                    self.facts.reader_at = vec![next];
                }
            }
            Back(count) => {
                let mut reader = log.consumer("reader")?;
                let seq = reader.seq().saturating_sub(count).max(log.head_seq());
                self.try_this(during, |facts| facts.reader_at.push(seq));
                reader.seek(seq)?;
                self.facts.reader_at = vec![seq];
            }
            Rotate => log.rotate()?,
            Maintain => {
                log.maintain()?;
            }
            Trim => {
                let passed = log
                    .consumer("till")?
                    .seq()
                    .min(log.consumer("reader")?.seq());
                log.trim(passed)?;
            }
            Rewind(count) => {
                let end = log.next_seq().saturating_sub(count);
                let gone = |facts: &mut Facts| {
                    let orders = facts.orders.values_mut();
                    let gone = orders.filter(|order| order.seq.is_some_and(|seq| seq >= end));
                    gone.for_each(|order| *order = Order::default());
                };
                self.try_this(during, gone);
                log.rewind(end)?;
                // What is gone is appended anew, under the same numbers.
                self.facts.orders.retain(|_, order| order.seq.is_some());
                self.facts.go_on();
            }
            Close => {
                self.log = None;
                log.close()?;
            }
            Open | Kill => unreachable!("handled above"),
        }
        Ok(())
    }

    /// From now on this may be.
    fn try_this(&mut self, during: &mut Facts, what: impl Fn(&mut Facts)) {
        what(during);
        what(&mut self.facts);
    }

    fn bill(&mut self, till: &Consumer, during: &mut Facts) -> Result<()> {
        let log = self.log.clone().expect("it is open");
        // Skips what is no order, as it would with a filter.
        for seq in till.seq()..log.durable_seq() {
            let Some(record) = log.get(seq)? else {
                continue;
            };
            if record.starts_with(b"bill") {
                till.ack(seq)?;
                continue;
            }
            self.try_this(during, |facts| {
                facts.bills.entry(seq).or_default();
            });
            let bill = bill(seq);
            let at = till.append(&[NewRecord::value(&bill)], seq, &AppendOptions::new())?;
            self.facts.bills.insert(seq, Some(at.start));
            break;
        }
        Ok(())
    }

    /// Opens the disk after a crash and holds it against what the application may rely on; then asks for
    /// its last eight appends again, which makes each be there once.
    pub fn check(&mut self) {
        self.act(&[Open]);
        if let Some((_, error)) = self.errors.first() {
            panic!("does not open: {error}");
        }
        let log = self.log.clone().expect("it is open");
        self.facts.check(&log);
        let numbers: Vec<u64> = self.facts.orders.keys().rev().take(8).copied().collect();
        for number in numbers.iter().rev() {
            let seq = put(&log, *number, Durability::Durable).expect("a repeat is taken");
            let known = self.facts.orders[number];
            if known.durable {
                assert_eq!(Some(seq), known.seq, "order {number} again");
            }
            self.facts.told(*number, seq, Durability::Durable);
        }
        self.facts.go_on();
        self.facts.check(&log);
    }
}

impl Facts {
    fn go_on(&mut self) {
        self.next_number = self.orders.keys().last().map_or(0, |last| last + 1);
    }

    fn told(&mut self, number: u64, seq: Seq, level: Durability) {
        let order = self.orders.entry(number).or_default();
        order.seq = Some(seq);
        order.durable |= level == Durability::Durable;
    }

    fn check(&mut self, log: &Log) {
        let head = log.head_seq();
        let mut found: BTreeMap<String, Seq> = BTreeMap::new();
        for record in log.scan(..).expect("it can be read") {
            let record = record.expect("it verifies");
            let value = String::from_utf8_lossy(&record).into_owned();
            let twice = found.insert(value.clone(), record.seq());
            assert_eq!(twice, None, "{value} is there again at {}", record.seq());
        }
        for (number, known) in self.orders.iter().filter(|(_, order)| order.durable) {
            let at = found.get(&order(*number)).copied();
            let trimmed = known.seq.is_some_and(|seq| seq < head);
            assert!(
                trimmed || at == known.seq,
                "order {number}: {known:?}, found {at:?}"
            );
        }
        let till = log.consumer("till").expect("it opens").seq();
        for (seq, told) in &mut self.bills {
            let at = found.get(&bill(*seq)).copied();
            let trimmed = told.is_some_and(|at| at < head) || (told.is_none() && head > *seq);
            assert!(
                told.is_none() || *seq < till,
                "the bill of {seq} was told, it is at {till}"
            );
            assert!(
                trimmed || at.is_some() == (*seq < till),
                "bill of {seq}: {at:?}, at {till}"
            );
            assert!(told.is_none() || trimmed || at == *told, "bill of {seq}");
            *told = told.or(at);
        }
        self.bills.retain(|_, told| told.is_some());
        let reader = log.consumer("reader").expect("it opens").seq();
        assert!(
            self.reader_at.contains(&reader),
            "at {reader}, not {:?}",
            self.reader_at
        );
        self.reader_at = vec![reader];
    }
}
