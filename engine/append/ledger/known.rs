//! What is known of one producer, or of one cursor: its latest appends, and what it is answered.
//!
//! Most are asked for their last append alone, so that is beside the rest: of who appended once there is
//! no rest, and no more memory to fetch.
//!
//! Called by the ledger.

use super::{APPENDS_MAX, Producer};
use crate::{
    error::{Error, ErrorKind, Op, Result},
    format::producers::{AppendEntry, ProducerEntry},
    types::Seq,
};
use std::{cmp::Ordering, collections::VecDeque, ops::Range};

/// What is known of one producer, or of one cursor.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Of no records if none is remembered.
    last: AppendEntry,
    epoch: u32,
    earlier: Option<Box<Earlier>>,
}

/// What was before the last append.
#[derive(Clone, Debug, Default)]
struct Earlier {
    /// The highest number whose append is not remembered any more.
    forgotten: Option<u64>,
    /// Oldest first.
    appends: VecDeque<AppendEntry>,
}

const NOTHING: AppendEntry = AppendEntry {
    number: 0,
    first_seq: 0,
    count: 0,
};

impl Default for Known {
    fn default() -> Self {
        Self {
            last: NOTHING,
            epoch: 0,
            earlier: None,
        }
    }
}

impl Known {
    /// As it is stored.
    pub(super) fn of(entry: &ProducerEntry) -> Self {
        let mut appends: VecDeque<AppendEntry> = entry.appends.iter().copied().collect();
        let (last, forgotten) = (appends.pop_back(), entry.forgotten);
        let is_more = forgotten.is_some() || !appends.is_empty();
        let earlier = Earlier { forgotten, appends };
        Self {
            last: last.unwrap_or(NOTHING),
            epoch: entry.epoch,
            earlier: is_more.then(|| Box::new(earlier)),
        }
    }

    /// Itself, to be stored.
    pub(super) fn to_entry(&self, id: u64) -> ProducerEntry {
        ProducerEntry {
            id,
            epoch: self.epoch,
            forgotten: self.forgotten(),
            appends: self.appends().copied().collect(),
        }
    }

    /// Its appends, oldest first.
    pub(super) fn appends(&self) -> impl DoubleEndedIterator<Item = &AppendEntry> {
        let earlier = self.earlier.iter().flat_map(|earlier| &earlier.appends);
        earlier.chain(self.last())
    }

    fn last(&self) -> Option<&AppendEntry> {
        (self.last.count > 0).then_some(&self.last)
    }

    fn forgotten(&self) -> Option<u64> {
        self.earlier.as_ref().and_then(|earlier| earlier.forgotten)
    }

    /// Where its last append begins; 0 if none is remembered.
    pub(super) fn latest_seq(&self) -> Seq {
        self.last.first_seq
    }

    /// Whether this is a repeat of one of them: then its seqs.
    #[inline]
    pub(super) fn find(&self, producer: Producer, count: u32) -> Result<Option<Range<Seq>>> {
        match self.epoch.cmp(&producer.epoch) {
            Ordering::Greater => return Err(Error::fenced(producer.epoch, self.epoch)),
            Ordering::Less => return Ok(None),
            Ordering::Equal => {}
        }
        if self
            .last()
            .is_some_and(|last| producer.number > last.number)
        {
            return Ok(None);
        }
        self.find_earlier(producer.number, count)
    }

    /// The same for a number that is not above the last.
    fn find_earlier(&self, number: u64, count: u32) -> Result<Option<Range<Seq>>> {
        let refuse = |kind, note| Err(Error::note(kind, Op::Append, note));
        if let Some(append) = self.numbered(number) {
            if append.count != count {
                let note = "a repeat has to have as many records as the original";
                return refuse(ErrorKind::InvalidInput, note);
            }
            return Ok(Some(append.first_seq..append.next_seq()));
        }
        if self.forgotten().is_some_and(|last| number <= last) {
            let note = "the producer's number was appended before; its seq is no longer known";
            return refuse(ErrorKind::Duplicate, note);
        }
        if self.last().is_some() {
            let note = "a producer's numbers rise, and this one was passed over";
            return refuse(ErrorKind::InvalidInput, note);
        }
        Ok(None)
    }

    fn numbered(&self, number: u64) -> Option<&AppendEntry> {
        if let Some(last) = self.last().filter(|last| last.number == number) {
            return Some(last);
        }
        let appends = &self.earlier.as_ref()?.appends;
        let at = appends.binary_search_by_key(&number, |append| append.number);
        appends.get(at.ok()?)
    }

    /// Takes an append. A higher epoch begins anew.
    #[inline]
    pub(super) fn add(&mut self, producer: Producer, seqs: Range<Seq>) {
        if self.epoch < producer.epoch {
            *self = Self {
                epoch: producer.epoch,
                ..Self::default()
            };
        }
        if let Some(last) = self.last().copied() {
            let earlier = self.earlier.get_or_insert_default();
            earlier.appends.push_back(last);
        }
        self.last = AppendEntry {
            number: producer.number,
            first_seq: seqs.start,
            count: u32::try_from(seqs.end - seqs.start).unwrap_or(u32::MAX),
        };
    }

    /// Takes a record, if it is one more of the last append.
    pub(super) fn goes_on(&mut self, producer: Producer, seq: Seq) -> bool {
        let goes_on = self.epoch == producer.epoch
            && (self.last())
                .is_some_and(|last| last.number == producer.number && last.next_seq() == seq);
        if goes_on {
            self.last.count = self.last.count.saturating_add(1);
        }
        goes_on
    }

    /// Forgets the oldest of those that are too many. The last that stay have to be settled ones: those
    /// that come after may be taken back. A number that is forgotten is a duplicate from then on, but for
    /// a cursor, which goes back and forth as it likes.
    #[inline]
    pub(super) fn forget(&mut self, settled_seq: Seq, is_cursor: bool) {
        let Some(earlier) = &mut self.earlier else {
            return;
        };
        while earlier.appends.len() >= APPENDS_MAX
            && let Some(newest_to_stay) = earlier.appends.get(APPENDS_MAX).or(Some(&self.last))
            && newest_to_stay.next_seq() <= settled_seq
        {
            let gone = earlier.appends.pop_front().filter(|_| !is_cursor);
            earlier.forgotten = gone.map(|append| append.number).or(earlier.forgotten);
        }
    }

    /// Drops what was appended at or above a seq.
    pub(super) fn drop_from(&mut self, seq: Seq) {
        while self.last().is_some_and(|last| last.first_seq >= seq) {
            let before = self
                .earlier
                .as_mut()
                .and_then(|earlier| earlier.appends.pop_back());
            self.last = before.unwrap_or(NOTHING);
        }
    }

    /// Drops what lies at or above a seq of a move that begins below it.
    pub(super) fn cut_move(&mut self, seq: Seq) {
        let left = u32::try_from(seq - self.last.first_seq).unwrap_or(u32::MAX);
        self.last.count = self.last.count.min(left);
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.to_entry(0) == other.to_entry(0)
    }
}
