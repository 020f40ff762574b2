//! The queue itself: the groups that wait to be written, the next seq, and where the next group goes.
//!
//! INVARIANTS: `plan` and `next_seq` are what is true once everything queued is written; the ledger knows
//! all that is queued, and what is taken out of the queue unwritten is not in it any more. One leads at a
//! time: who does has the first group, or none. While the end of the log is being changed nobody queues.
//!
//! Part of what the queue's lock guards. Changed by `queue` and `room`, which put groups in; by `lead`,
//! which takes them out; by `failure`, which puts them back.

mod back;

use super::{
    AppendOptions, Ledger, NewRecord, Producer, Spare, completion::Completion, group::Group,
    queue::Queued,
};
use crate::{
    error::{Error, Result},
    format::{
        Compression, SegmentHeader, batch::BATCH_HEADER_BYTES, header::HEADER_BYTES, moves::Move,
    },
    options::Durability,
    segment::Tail,
    sync::Arc,
    types::Seq,
};
use std::{collections::VecDeque, ops::Range};

/// As many groups are kept to be used again: one is written, one gathers, and what runs ahead.
const SPENT_MAX: usize = 4;

/// A segment, and where in it.
pub(super) type Plan = (Arc<Tail>, u64);

/// The groups that wait to be written, oldest first.
#[derive(Debug)]
pub(super) struct Groups {
    queue: VecDeque<Box<Group>>,
    queued_bytes: usize,
    /// The segment that the next group goes to, and where in it.
    plan: Plan,
    next_seq: Seq,
    /// What records are packed with, where the segment says so.
    codec: Option<Compression>,
    /// Who appended what lately, what is queued included.
    ledger: Ledger,
    /// Below it are records whose repeat was told that they are buffered.
    promised_seq: Seq,
    /// Buffered records that were dropped with a group that failed: told at the next sync.
    lost_buffered: Option<Error>,
    spare: Option<Spare>,
    led: bool,
    /// Whether the one who leads is changing the end of the log: then nobody plans behind it.
    end_changes: bool,
    /// Groups that were written, to be used again: all of the planned segment, and they hold no other.
    #[expect(clippy::vec_box, reason = "they go into the queue as they are")]
    spent: Vec<Box<Group>>,
}

impl Groups {
    pub(super) fn new(
        plan: Plan,
        next_seq: Seq,
        codec: Option<Compression>,
        ledger: Ledger,
        spare: Option<Spare>,
    ) -> Self {
        Self {
            codec,
            queue: VecDeque::new(),
            queued_bytes: 0,
            plan,
            next_seq,
            ledger,
            promised_seq: 0,
            lost_buffered: None,
            spare,
            led: false,
            end_changes: false,
            spent: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The size of all that waits, in bytes.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.queued_bytes
    }

    #[inline]
    pub(super) fn next_seq(&self) -> Seq {
        self.next_seq
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether the planned segment, of this size when it is full, has room for so many bytes.
    #[inline]
    pub(super) fn has_room(&self, bytes: usize, segment_bytes: u64) -> bool {
        self.plan.1 + bytes as u64 <= segment_bytes
    }

    pub(super) fn first(&self) -> Option<&Group> {
        self.queue.front().map(|group| &**group)
    }

    /// What tells of the last group, and so of all that is queued.
    pub(super) fn last_done(&self) -> Option<Arc<Completion>> {
        self.queue.back().map(|group| group.done.clone())
    }

    /// The last group, if it takes more.
    #[inline]
    pub(super) fn open_group(&self) -> Option<&Group> {
        let last = self.queue.back()?;
        (last.open && Arc::ptr_eq(&last.tail, &self.plan.0)).then_some(last)
    }

    /// The group that takes what comes next; a new one if the last takes no more.
    #[inline]
    fn back(&mut self) -> Option<&mut Group> {
        if self.open_group().is_none() {
            let (tail, end) = &self.plan;
            let new = || Box::new(Group::new(tail.clone(), self.codec));
            let mut group = self.spent.pop().unwrap_or_else(new);
            group.again(*end, self.next_seq);
            // Seldom more than two wait, and of many logs none.
            self.queue.reserve_exact(1);
            self.queue.push_back(group);
        }
        self.queue.back_mut().map(|group| &mut **group)
    }

    /// What comes next goes there.
    fn plan_for(&mut self, plan: Plan) {
        self.spent.retain(|group| Arc::ptr_eq(&group.tail, &plan.0));
        self.plan = plan;
    }

    /// Has the last group brought to a level at least, and with it all that is queued.
    pub(super) fn back_wanting(&mut self, level: Durability) -> Option<Arc<Completion>> {
        self.back().map(|group| {
            group.want(level);
            group.done.clone()
        })
    }

    /// Encodes records that have their place into the last group, in a batch that begins now if a time is
    /// given. What lies below `settled_seq` is taken back no more.
    #[inline]
    pub(super) fn push(
        &mut self,
        records: &[NewRecord<'_>],
        how: &AppendOptions,
        level: Durability,
        begin_at_ms: Option<i64>,
        (buffer_bytes, settled_seq): (usize, Seq),
    ) -> Option<Queued> {
        let first_seq = self.next_seq;
        let group = self.back()?;
        let before = group.buffer.len();
        group.push(records, how.producer, begin_at_ms);
        group.want(level);
        if level == Durability::Buffered {
            group.buffered_count += records.len();
        } else {
            group.owes = true;
        }
        // A buffer that is full is written as it is: larger ones would not stay in the cache.
        group.open &= group.wants != Durability::Buffered || group.buffer.len() < buffer_bytes;
        let (added, end, next_seq) = (group.buffer.len() - before, group.end(), group.next_seq);
        let done = (level != Durability::Buffered).then(|| group.done.clone());
        self.queued_bytes += added;
        self.plan.1 = end;
        self.next_seq = next_seq;
        if let Some(producer) = how.producer {
            self.ledger.add(producer, first_seq..next_seq, settled_seq);
        }
        Some((first_seq..next_seq, done))
    }

    /// Encodes a move of a cursor that has its place into the last group.
    pub(super) fn push_move(&mut self, entry: Move, now_ms: i64) -> Option<Arc<Completion>> {
        if let Some(group) = self.queue.back_mut() {
            // If there is no room for the move, records that are acknowledged as buffered stay.
            group.open &= group.wants != Durability::Buffered || group.buffered_count == 0;
        }
        let group = self.back()?;
        let before = group.buffer.len();
        group.push_move(entry, now_ms);
        group.want(Durability::Durable);
        group.owes = true;
        let (added, end, done) = (group.buffer.len() - before, group.end(), group.done.clone());
        self.queued_bytes += added;
        self.plan.1 = end;
        Some(done)
    }

    /// Queues a watermark: a header alone, in a group of its own.
    pub(super) fn push_watermark(&mut self, now_ms: i64) -> Option<Arc<Completion>> {
        let group = self.back()?;
        group.push_watermark(now_ms);
        group.open = false;
        group.wants = Durability::Durable;
        let (done, end) = (group.done.clone(), group.end());
        self.plan.1 = end;
        self.queued_bytes += BATCH_HEADER_BYTES;
        Some(done)
    }

    /// Plans the next group into a segment of its own, which it begins. With it goes the ledger as of its
    /// base, as it will be stored.
    pub(super) fn begin_segment(
        &mut self,
        tail: Arc<Tail>,
        header: SegmentHeader,
        ledger: Option<Vec<u8>>,
    ) {
        let mut group = Box::new(Group::new(tail.clone(), self.codec));
        group.again(0, self.next_seq);
        group.begin_segment(header, ledger);
        self.queue.push_back(group);
        self.queued_bytes += HEADER_BYTES;
        self.plan_for((tail, HEADER_BYTES as u64));
    }

    /// The file that is prepared for the next segment.
    pub(super) fn spare(&self) -> Option<&Spare> {
        self.spare.as_ref()
    }

    pub(super) fn take_spare(&mut self) -> Option<Spare> {
        self.spare.take()
    }

    pub(super) fn give_spare(&mut self, spare: Spare) {
        self.spare = Some(spare);
    }

    /// Whether somebody leads.
    #[inline]
    pub(super) fn is_led(&self) -> bool {
        self.led
    }

    pub(super) fn take_lead(&mut self) {
        debug_assert!(!self.led, "one leads at a time");
        self.led = true;
    }

    pub(super) fn leave_lead(&mut self) {
        self.led = false;
    }

    #[inline]
    pub(super) fn end_changes(&self) -> bool {
        self.end_changes
    }

    /// From now on nobody queues.
    pub(super) fn hold_end(&mut self) {
        self.end_changes = true;
    }

    /// The end stands still again; elsewhere, if it was changed by who leads, whose lead ends with it.
    pub(super) fn let_end_go(&mut self, changed: Option<Plan>) {
        if let Some(plan) = changed {
            self.plan_for(plan);
            self.led = false;
        }
        self.end_changes = false;
    }

    /// The first group, for who leads; it takes no more.
    #[inline]
    pub(super) fn take_first(&mut self) -> Option<Box<Group>> {
        let mut group = self.queue.pop_front()?;
        group.open = false;
        Some(group)
    }

    /// A group was written: it takes no room any more, what follows moves up to where it ends, and it may be used
    /// again, with buffers up to this size.
    #[inline]
    pub(super) fn settle(&mut self, group: Box<Group>, buffer_bytes_max: usize) {
        self.queued_bytes = self.queued_bytes.saturating_sub(group.buffer.len());
        if group.saved_bytes() > 0 {
            self.move_up(&group.tail, group.saved_bytes() as u64);
        }
        let may_stay = group.buffer_capacity() <= buffer_bytes_max && self.spent.len() < SPENT_MAX;
        if may_stay && Arc::ptr_eq(&group.tail, &self.plan.0) {
            self.spent.push(group);
        }
    }

    /// What goes to this segment behind the group that was written goes so many bytes further up.
    fn move_up(&mut self, tail: &Arc<Tail>, saved_bytes: u64) {
        for group in &mut self.queue {
            if Arc::ptr_eq(&group.tail, tail) {
                group.offset -= saved_bytes;
            }
        }
        if Arc::ptr_eq(&self.plan.0, tail) {
            self.plan.1 -= saved_bytes;
        }
    }

    /// Takes out all of them: nothing more is written.
    pub(super) fn give_up(&mut self) -> VecDeque<Box<Group>> {
        self.queued_bytes = 0;
        std::mem::take(&mut self.queue)
    }

    /// Asks one of those who wait for a group to lead; false if nobody does.
    #[inline]
    pub(super) fn ask_to_lead(&self) -> bool {
        self.queue.iter().any(|group| group.done.ask_to_lead())
    }

    /// Whether this is a repeat of an append that is remembered: then its seqs.
    #[inline]
    pub(super) fn find(&self, producer: Producer, count: u32) -> Result<Option<Range<Seq>>> {
        self.ledger.find(producer, count)
    }

    /// The repeat of an append below this seq was told that it is buffered.
    pub(super) fn promise(&mut self, seq: Seq) {
        self.promised_seq = self.promised_seq.max(seq);
    }

    /// Why records that were acknowledged as buffered are not there, once.
    pub(super) fn take_lost(&mut self) -> Option<Error> {
        self.lost_buffered.take()
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}
