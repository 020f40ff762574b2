//! The ledger: what was appended by whom lately, so that a repeat is recognised. Pure.
//!
//! It remembers the last [`APPENDS_MAX`] appends of each of the last [`PRODUCERS_MAX`] producers, by
//! their latest append, and as many moves of every cursor.
//!
//! INVARIANT: what a failed write may still take back is neither forgotten nor makes anything else
//! forgotten: taking it back leaves the ledger as if it had never been there, but for the fence that
//! a higher epoch left.
//!
//! Called by the queue; by recovery and repair, which rebuild it; by verify.

mod ages;

use super::Producer;
use crate::{
    error::{Error, ErrorKind, Op, Result},
    format::{
        Owner, ProducersFile, RecordRef,
        producers::{AppendEntry, EPOCH_CURSOR, ProducerEntry},
    },
    types::{SegmentId, Seq},
};
use ages::Ages;
use siphasher::sip::SipHasher13;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry},
    hash::BuildHasherDefault,
    ops::Range,
};

/// Appends of one producer that are remembered.
pub(crate) const APPENDS_MAX: usize = 8;
/// Producers that are remembered.
pub(crate) const PRODUCERS_MAX: usize = 4096;

/// So few are known that whoever chooses ids to collide makes little of it.
type Producers = HashMap<u64, Known, BuildHasherDefault<SipHasher13>>;

/// Who appended what lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    producers: Producers,
    ages: Ages,
    cursors: BTreeMap<u64, Known>,
    /// Every append below is in it.
    next_seq: Seq,
}

/// What is known of one producer, or of one cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    epoch: u32,
    /// The highest number whose append is not remembered any more.
    forgotten: Option<u64>,
    appends: VecDeque<AppendEntry>,
    latest_seq: Seq,
}

impl Ledger {
    /// From its file, in a log of which this segment is the tail.
    pub(crate) fn of(file: &ProducersFile, tail_id: SegmentId) -> Self {
        let mut ledger = Self {
            next_seq: file.as_of_seq,
            ..Self::default()
        };
        for producer in &file.producers {
            let known = Known {
                epoch: producer.epoch,
                forgotten: producer.forgotten,
                appends: producer.appends.iter().copied().collect(),
                latest_seq: producer.appends.last().map_or(0, |last| last.first_seq),
            };
            if producer.epoch == EPOCH_CURSOR {
                ledger.cursors.insert(producer.id, known);
            } else {
                ledger.producers.insert(producer.id, known);
            }
        }
        if tail_id >= file.tail_id {
            ledger.drop_from(file.end_seq);
            // The numbers of what was rewound are accounted for all the same.
            ledger.next_seq = file.as_of_seq;
        }
        ledger.ages = Ages::of(&ledger.producers);
        ledger
    }

    /// Itself as stored; `None` if it knows nobody. What lies at or above `end_seq` is void once
    /// `tail_id` is the tail.
    pub(crate) fn to_file(
        &self,
        owner: Owner,
        as_of_seq: Seq,
        end_seq: Seq,
        tail_id: SegmentId,
    ) -> Option<Vec<u8>> {
        if self.producers.is_empty() && self.cursors.is_empty() {
            return None;
        }
        let entry = |(id, known): (&u64, &Known)| ProducerEntry {
            id: *id,
            epoch: known.epoch,
            forgotten: known.forgotten,
            appends: known.appends.iter().copied().collect(),
        };
        let mut producers: Vec<ProducerEntry> = self.producers.iter().map(entry).collect();
        producers.sort_unstable_by_key(|producer| producer.id);
        producers.extend(self.cursors.iter().map(entry));
        let file = ProducersFile {
            log_id: owner.log_id,
            incarnation: owner.incarnation,
            as_of_seq,
            end_seq,
            tail_id,
            producers,
        };
        Some(file.encode())
    }

    /// The seq below which every append is in it.
    pub(crate) fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// Leaves out what lies below: no record there says more.
    pub(crate) fn skip_to(&mut self, seq: Seq) {
        self.next_seq = self.next_seq.max(seq);
    }

    /// Whether this is a repeat of an append that is remembered: then its seqs.
    ///
    /// # Errors
    /// `Fenced`, `Duplicate`; `InvalidInput` if it is another append under the same number, or under
    /// one that was passed over.
    pub(crate) fn find(&self, producer: Producer, count: u32) -> Result<Option<Range<Seq>>> {
        let Some(known) = self.producers.get(&producer.id) else {
            return Ok(None);
        };
        match known.epoch.cmp(&producer.epoch) {
            Ordering::Greater => return Err(Error::fenced(producer.epoch, known.epoch)),
            Ordering::Less => return Ok(None),
            Ordering::Equal => {}
        }
        let refuse = |kind, note| Err(Error::note(kind, Op::Append, note));
        if (known.appends.back()).is_some_and(|last| producer.number > last.number) {
            return Ok(None);
        }
        let same = (known.appends).binary_search_by_key(&producer.number, |it| it.number);
        if let Some(append) = same.ok().and_then(|at| known.appends.get(at)) {
            if append.count != count {
                let note = "a repeat has to have as many records as the original";
                return refuse(ErrorKind::InvalidInput, note);
            }
            return Ok(Some(append.first_seq..append.next_seq()));
        }
        if known.forgotten.is_some_and(|last| producer.number <= last) {
            let note = "the producer's number was appended before; its seq is no longer known";
            return refuse(ErrorKind::Duplicate, note);
        }
        if !known.appends.is_empty() {
            let note = "a producer's numbers rise, and this one was passed over";
            return refuse(ErrorKind::InvalidInput, note);
        }
        Ok(None)
    }

    /// Takes an append, of an application or of a cursor. What lies at or above `settled_seq` may
    /// still be taken back.
    pub(crate) fn add(&mut self, producer: Producer, seqs: Range<Seq>, settled_seq: Seq) {
        self.next_seq = self.next_seq.max(seqs.end);
        let is_cursor = producer.epoch == EPOCH_CURSOR;
        let known = if is_cursor {
            self.cursors.entry(producer.id).or_default()
        } else {
            let known = self.producers.entry(producer.id);
            let before = match &known {
                Entry::Occupied(known) => Some(known.get().latest_seq),
                Entry::Vacant(_) => None,
            };
            self.ages.add(seqs.start, producer.id, before);
            known.or_default()
        };
        if known.epoch < producer.epoch {
            *known = Known {
                epoch: producer.epoch,
                ..Known::default()
            };
        }
        known.latest_seq = seqs.start;
        known.appends.push_back(AppendEntry {
            number: producer.number,
            first_seq: seqs.start,
            count: u32::try_from(seqs.end - seqs.start).unwrap_or(u32::MAX),
        });
        known.forget(settled_seq, is_cursor);
        if !is_cursor {
            self.ages.settle(settled_seq, &mut self.producers);
        }
    }

    /// Takes the next record of a walk over the log. Records of one append follow each other.
    pub(crate) fn add_record(&mut self, record: &RecordRef<'_>) {
        if record.seq < self.next_seq {
            return;
        }
        self.next_seq = record.seq.saturating_add(1);
        let Some(producer) = record.producer else {
            return;
        };
        let known = if producer.epoch == EPOCH_CURSOR {
            self.cursors.get_mut(&producer.id)
        } else {
            self.producers.get_mut(&producer.id)
        };
        if let Some(known) = known
            && known.epoch == producer.epoch
            && let Some(last) = known.appends.back_mut()
            && last.number == producer.number
            && last.next_seq() == record.seq
        {
            last.count = last.count.saturating_add(1);
            return;
        }
        // The queue lets no other in; a log that something else wrote may hold them.
        let is_new = producer.epoch == EPOCH_CURSOR || matches!(self.find(producer, 1), Ok(None));
        if is_new {
            self.add(producer, record.seq..self.next_seq, Seq::MAX);
        }
    }

    /// Drops what was appended at or above a seq, and is not there any more.
    pub(crate) fn drop_from(&mut self, seq: Seq) {
        self.next_seq = self.next_seq.min(seq);
        for known in self.producers.values_mut().chain(self.cursors.values_mut()) {
            known.appends.retain(|append| append.first_seq < seq);
            known.latest_seq = known.appends.back().map_or(0, |last| last.first_seq);
        }
        // Two moves that were found as one are not undone as one. A producer's append stays as it was
        // told, whatever is left of it: else it would not be recognised.
        let last_moves = self.cursors.values_mut();
        for last in last_moves.filter_map(|known| known.appends.back_mut()) {
            let left = u32::try_from(seq - last.first_seq).unwrap_or(u32::MAX);
            last.count = last.count.min(left);
        }
        self.ages = Ages::of(&self.producers);
    }

    /// Where a cursor was moved to by the last append, of those below `until_seq`, that moved it; and
    /// where that append ends: it may begin with an older one, to the same place and right before it.
    pub(crate) fn moved(&self, cursor: u64, until_seq: Seq) -> Option<(Seq, Seq)> {
        let mut moves = self.cursors.get(&cursor)?.appends.iter();
        let last = moves.rfind(|append| append.next_seq() <= until_seq)?;
        Some((last.number, last.next_seq()))
    }

    /// Forgets the moves of a cursor that is gone.
    pub(crate) fn forget_cursor(&mut self, cursor: u64) {
        self.cursors.remove(&cursor);
    }
}

impl PartialEq for Ledger {
    /// The ages follow from the rest.
    fn eq(&self, other: &Self) -> bool {
        self.next_seq == other.next_seq
            && self.producers == other.producers
            && self.cursors == other.cursors
    }
}

impl Eq for Ledger {}

impl Known {
    fn forget(&mut self, settled_seq: Seq, is_cursor: bool) {
        // The last that stay have to be settled ones: those that come after may be taken back.
        let settled = |append: &AppendEntry| append.next_seq() <= settled_seq;
        while self.appends.get(APPENDS_MAX).is_some_and(settled) {
            if let (Some(gone), false) = (self.appends.pop_front(), is_cursor) {
                self.forgotten = Some(gone.number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogId;

    const ID: u64 = 7;
    const OWNER: Owner = Owner {
        log_id: LogId([1; 16]),
        incarnation: 2,
    };

    fn by(epoch: u32, number: u64) -> Producer {
        let id = ID;
        Producer { id, epoch, number }
    }

    /// The answer to an append, in words.
    fn answer(ledger: &Ledger, producer: Producer, count: u32) -> String {
        match ledger.find(producer, count) {
            Ok(None) => "new".to_owned(),
            Ok(Some(seqs)) => format!("{}..{}", seqs.start, seqs.end),
            Err(error) => match error.newest_epoch() {
                Some(epoch) => format!("Fenced {epoch}"),
                None => format!("{:?}", error.kind()),
            },
        }
    }

    /// Appends of one record each, at the seqs 10, 11, ...
    fn after(appends: &[(u32, u64)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (seq, (epoch, number)) in (10..).zip(appends) {
            ledger.add(by(*epoch, *number), seq..seq + 1, Seq::MAX);
        }
        ledger
    }

    #[test]
    fn what_is_the_answer_to_each_append() {
        let twelve: Vec<(u32, u64)> = (0..12).map(|number| (1, number * 10)).collect();
        type Case<'a> = (&'a [(u32, u64)], (u32, u64), u32, &'a str);
        let cases: [Case<'_>; 16] = [
            (&[], (0, 0), 1, "new"),
            (&[(1, 5)], (1, 5), 1, "10..11"),
            (&[(1, 5)], (1, 5), 2, "InvalidInput"),
            (&[(1, 5)], (1, 6), 1, "new"),
            (&[(1, 5)], (1, 900), 3, "new"),
            (&[(1, 5)], (1, 4), 1, "InvalidInput"),
            (&[(1, 5), (1, 7)], (1, 6), 1, "InvalidInput"),
            (&[(1, 5), (1, 7)], (1, 5), 1, "10..11"),
            (&[(1, 5)], (0, 5), 1, "Fenced 1"),
            (&[(1, 5)], (0, 6), 1, "Fenced 1"),
            (&[(1, 5)], (2, 5), 1, "new"),
            (&[(1, 5), (2, 0)], (2, 0), 1, "11..12"),
            (&[(1, 5), (2, 0)], (1, 5), 1, "Fenced 2"),
            (&twelve, (1, 30), 1, "Duplicate"),
            (&twelve, (1, 40), 1, "14..15"),
            (&twelve, (1, 31), 1, "InvalidInput"),
        ];
        for (appends, (epoch, number), count, want) in cases {
            let got = answer(&after(appends), by(epoch, number), count);
            assert_eq!(got, want, "{epoch}/{number} x{count} after {appends:?}");
        }
    }

    #[test]
    fn does_taking_back_leave_it_as_it_was() {
        let mut ledger = after(&[(1, 0), (1, 1), (1, 2)]);
        let before = ledger.clone();
        for number in 3..40 {
            let seq = 10 + number;
            ledger.add(by(1, number), seq..seq + 1, 13);
        }
        assert_eq!(answer(&ledger, by(1, 0), 1), "10..11", "not forgotten yet");
        ledger.drop_from(13);
        for number in 0..40 {
            let (was, is) = (
                answer(&before, by(1, number), 1),
                answer(&ledger, by(1, number), 1),
            );
            assert_eq!(was, is, "number {number}");
        }
        // And once they are written the window is what it should be.
        for number in 3..40 {
            let seq = 10 + number;
            ledger.add(by(1, number), seq..seq + 1, 13);
        }
        ledger.add(by(1, 40), 50..51, 50);
        assert_eq!(answer(&ledger, by(1, 31), 1), "Duplicate");
        assert_eq!(answer(&ledger, by(1, 32), 1), "42..43");
    }

    #[test]
    fn is_a_higher_epoch_still_a_fence_when_its_append_was_taken_back() {
        let mut ledger = after(&[(1, 5)]);
        ledger.add(by(2, 0), 11..12, 11);
        ledger.drop_from(11);
        assert_eq!(answer(&ledger, by(1, 5), 1), "Fenced 2");
        assert_eq!(answer(&ledger, by(2, 0), 1), "new");
    }

    #[test]
    fn is_the_producer_forgotten_that_appended_least_lately() {
        let mut ledger = Ledger::default();
        let one = |id| Producer {
            id,
            epoch: 0,
            number: 0,
        };
        let count = PRODUCERS_MAX as u64;
        (0..count).for_each(|id| ledger.add(one(id), id..id + 1, Seq::MAX));
        let again = Producer {
            number: 1,
            ..one(0)
        };
        ledger.add(again, count..count + 1, Seq::MAX);
        ledger.add(one(count), count + 1..count + 2, Seq::MAX);
        assert_eq!(answer(&ledger, one(1), 1), "new", "forgotten");
        assert_eq!(answer(&ledger, one(0), 1), "0..1");
        assert_eq!(ledger.producers.len(), PRODUCERS_MAX);
        assert_eq!(ledger.ages.settled_count, PRODUCERS_MAX);
        // One that may be taken back drives nobody out.
        ledger.add(one(count + 1), count + 2..count + 3, count + 2);
        assert_eq!(answer(&ledger, one(2), 1), "2..3");
        ledger.add(one(count + 2), count + 3..count + 4, count + 3);
        assert_eq!(answer(&ledger, one(2), 1), "new");
    }

    #[test]
    fn does_the_last_move_of_a_cursor_win_and_is_it_never_a_repeat() {
        let to = |number| by(EPOCH_CURSOR, number);
        let mut ledger = Ledger::default();
        for (seq, position) in [(0, 5), (1, 9), (2, 3), (3, 3)] {
            ledger.add(to(position), seq..seq + 1, Seq::MAX);
        }
        assert_eq!(ledger.moved(ID, 4), Some((3, 4)));
        assert_eq!(ledger.moved(ID, 2), Some((9, 2)), "the others do not count");
        assert_eq!(
            answer(&ledger, by(0, 3), 1),
            "new",
            "a cursor is no producer"
        );
        ledger.drop_from(2);
        assert_eq!(ledger.moved(ID, 4), Some((9, 2)));
        ledger.forget_cursor(ID);
        assert_eq!(ledger.moved(ID, 4), None);
    }

    #[test]
    fn does_it_come_back_from_its_file_and_from_the_records() {
        let record = |seq, producer| RecordRef {
            seq,
            timestamp_ms: 0,
            key: None,
            value: Some(b"".as_slice()),
            producer,
        };
        let owner = OWNER;
        let mut ledger = after(&[(1, 0), (1, 1), (2, 0)]);
        ledger.add(by(EPOCH_CURSOR, 4), 13..14, Seq::MAX);
        let bytes = ledger.to_file(owner, 14, 14, SegmentId(3)).expect("known");
        let file = ProducersFile::decode(&bytes).expect("as it was written");
        let mut back = Ledger::of(&file, SegmentId(3));
        assert_eq!(back, ledger);
        // A walk that begins below adds nothing twice, and tells two appends of one producer apart.
        let steps = [
            (13, by(1, 9)),
            (14, by(2, 1)),
            (15, by(2, 1)),
            (16, by(2, 2)),
        ];
        for (seq, producer) in steps {
            back.add_record(&record(seq, Some(producer)));
        }
        back.add_record(&record(17, None));
        ledger.add(by(2, 1), 14..16, Seq::MAX);
        ledger.add(by(2, 2), 16..17, Seq::MAX);
        assert_eq!(back.next_seq(), 18);
        back.next_seq = 17;
        assert_eq!(back, ledger);
        assert_eq!(Ledger::default().to_file(owner, 0, 0, SegmentId(1)), None);
    }

    #[test]
    fn is_what_a_rewind_drops_void_only_once_the_rewind_is_in_force() {
        let ledger = after(&[(1, 0), (1, 1), (1, 2)]);
        let bytes = ledger.to_file(OWNER, 13, 11, SegmentId(5)).expect("known");
        let file = ProducersFile::decode(&bytes).expect("as it was written");
        let before = Ledger::of(&file, SegmentId(4));
        assert_eq!(answer(&before, by(1, 2), 1), "12..13");
        let rewound = Ledger::of(&file, SegmentId(5));
        assert_eq!(answer(&rewound, by(1, 2), 1), "new");
        assert_eq!(answer(&rewound, by(1, 0), 1), "10..11");
        assert_eq!(rewound.next_seq(), 13);
    }
}
