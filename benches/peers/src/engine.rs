//! What an engine under test has to be able to do, and the list of all that are.
//!
//! INVARIANTS: an engine does what its documentation says makes a record durable, and says by which
//! settings; what it cannot do is left out of the table and never imitated.
//!
//! Called by the jobs; implemented once per peer in `engines`, and for the bare limits in `raw`.

use crate::{engines, raw};
use anyhow::{Context, Result};
use std::{collections::BTreeMap, path::Path};

/// Numbers by name: what a child measured.
pub type Values = BTreeMap<String, f64>;

/// What an append has reached when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The device.
    Durable,
    /// The operating system, by at least one system call for each record.
    Written,
    /// Wherever the engine's cheapest documented mode leaves it.
    Buffered,
}

/// How an engine is opened.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub level: Level,
    /// Bytes of each record: the bare limits lay out their files by it.
    pub payload_bytes: usize,
    /// Who appends at the same time: threads, or what is handed over and on its way.
    pub threads: usize,
    /// Records that a bare limit writes for each sync.
    pub group: usize,
    /// Whether what is there will be read again. A log that recycles its files keeps them then.
    pub keep: bool,
    /// Whether it will be told to let go of what it has.
    pub lets_go: bool,
}

/// A log, opened.
pub trait Engine: Sync {
    /// One for each appending thread.
    fn writer(&self, thread: u64) -> Result<Box<dyn Writer + Send + '_>>;

    /// None if it cannot be read forwards or by position.
    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        Ok(None)
    }

    /// Everything appended is durable when it returns. Writers are finished before.
    fn sync(&self) -> Result<()>;

    /// One who hands over records and waits for them later. None if there is no such form.
    fn submitter(&self) -> Result<Option<Box<dyn Submitter + '_>>> {
        Ok(None)
    }

    /// Puts everything appended where it stays, packed if it packs. Writers are finished before. By default
    /// it is there already.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// Lets go of all that was appended by now, as after a checkpoint of what it is the log of. By default
    /// there is nothing to do: it does so by itself, or is a loop that starts over.
    fn let_go(&self) -> Result<()> {
        Ok(())
    }

    /// What it counted itself.
    fn counted(&self) -> Values {
        Values::new()
    }

    fn close(self: Box<Self>) -> Result<()>;
}

/// Appends at the level that its engine was opened with.
pub trait Writer {
    fn append(&mut self, value: &[u8]) -> Result<()>;

    /// So many appends, none of which has to be durable when it returns; in one transaction, where the
    /// engine has nothing cheaper. In the trait, so that the loop calls the engine directly.
    fn append_many(&mut self, payloads: &Payloads, first: u64, count: u64) -> Result<()> {
        for number in first..first + count {
            self.append(payloads.at(number))?;
        }
        Ok(())
    }

    /// Records that become durable together, with one sync.
    fn batch(&mut self, values: &[&[u8]]) -> Result<()>;

    /// Ends what is still open.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Hands over durable appends, and learns of each in the order that they were handed over.
pub trait Submitter {
    /// Returns as soon as the record is taken.
    fn submit(&mut self, value: &[u8]) -> Result<()>;

    /// Until the oldest that was not waited for is durable.
    fn wait_for_oldest(&mut self) -> Result<()>;
}

/// What a pass over everything saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    pub records: u64,
    pub bytes: u64,
}

impl Scanned {
    pub fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }
}

/// Reads what one writer appended.
pub trait Reader {
    /// Everything from the start. None if there is no such reader.
    fn scan(&mut self) -> Result<Option<Scanned>>;

    /// The length of the record with this number, from 0. None if it cannot be asked for.
    fn get(&mut self, number: u64) -> Result<Option<usize>>;
}

/// Records of random bytes, all of the same length.
pub struct Payloads {
    pool: Vec<u8>,
    bytes: usize,
}

impl Payloads {
    const STARTS: u64 = 64;

    pub fn new(bytes: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        let length = bytes + Self::STARTS as usize * 8;
        let pool = std::iter::repeat_with(&mut next)
            .flatten()
            .take(length)
            .collect();
        Self { pool, bytes }
    }

    pub fn some(&self, first: u64, count: u64) -> Vec<&[u8]> {
        (first..first + count)
            .map(|number| self.at(number))
            .collect()
    }

    pub fn at(&self, number: u64) -> &[u8] {
        let start = (number % Self::STARTS) as usize * 8;
        &self.pool[start..start + self.bytes]
    }
}

/// Who is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Cairn,
    /// Cairn with another option: shown beside it, and nobody's peer.
    Variant,
    /// Its durable appends were seen to reach the device.
    Peer,
    /// They were seen not to: shown and marked, not counted as a peer where records have to be durable.
    NotDurable,
    /// A bare loop: the limit.
    Raw,
}

/// One line of the comparison.
#[derive(Clone, Copy)]
pub struct Entrant {
    pub name: &'static str,
    pub kind: Kind,
    pub settings: &'static str,
    /// How it is made durable, or not, in the order of `Level`.
    pub levels: &'static [Level],
    /// Whether many records can be handed over together, with one call that makes them durable.
    pub batches: bool,
    /// Whether everything before can be made durable afterwards.
    pub syncs: bool,
    /// Whether it has a way to let go of what is old.
    pub lets_go: bool,
    /// Whether it can be read forwards more than once.
    pub scans: bool,
    /// What verifies the bytes that it gives back.
    pub reads: &'static str,
    pub open: fn(&Path, &Setup) -> Result<Box<dyn Engine>>,
}

/// Everyone that this program was built with.
pub fn all() -> Vec<Entrant> {
    let mut all = ordinary();
    all.extend(engines::packers());
    all
}

/// Those that are compared wherever they can be: all but who is there to pack.
pub fn ordinary() -> Vec<Entrant> {
    let mut all = engines::all();
    all.extend(raw::all());
    all
}

/// Those that are compared by what they pack, and the one that does not.
pub fn packers() -> Vec<Entrant> {
    let mut packers = vec![engines::CAIRN];
    packers.extend(engines::packers());
    packers
}

pub fn find(name: &str) -> Result<Entrant> {
    let found = all().into_iter().find(|it| it.name == name);
    found.with_context(|| format!("no engine `{name}` in this build"))
}
