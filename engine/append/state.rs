//! What the queue's lock guards.

use super::{
    Ledger, Spare,
    completion::Completion,
    group::{Group, Scratch},
    held::After,
    life::Life,
};
use crate::{
    error::Error,
    options::Durability,
    segment::Tail,
    sync::{Arc, ThreadId},
    types::Seq,
};
use std::{collections::VecDeque, task::Waker, time::Duration};

/// What the queue's lock guards.
#[derive(Debug)]
pub(super) struct State {
    pub(super) life: Life,
    /// What is said once it is unlocked.
    pub(super) after: After,
    /// Who has the right to seal, trim, rewind and swap segments just now.
    pub(super) segments_held_by: Option<ThreadId>,
    pub(super) queue: VecDeque<Group>,
    /// The segment that the next group goes to, and where in it.
    pub(super) plan: (Arc<Tail>, u64),
    pub(super) next_seq: Seq,
    /// Who appended what lately, what is queued included.
    pub(super) ledger: Ledger,
    pub(super) queued_bytes: usize,
    /// Whether somebody leads.
    pub(super) leading: bool,
    /// Callers that were under way when the last sync ended: those it released, those that wait still.
    pub(super) company: usize,
    /// How long the last groups took to be written and synced, and their size in bytes; the later ones
    /// count more.
    pub(super) usual_trip: Duration,
    /// How long it took until the next one of those whom a sync had released came back.
    pub(super) usual_arrival: Duration,
    pub(super) usual_group_bytes: usize,
    /// Whether the one who leads is changing the end of the log: then nobody plans behind it.
    pub(super) end_changes: bool,
    pub(super) spare: Option<Spare>,
    /// Whether a segment was finished, so that it is time to seal it and to prepare another.
    pub(super) seal_due: bool,
    /// Buffered records that were dropped with a group that failed: told at the next sync.
    pub(super) lost_buffered: Option<Error>,
    /// Below it are records whose repeat was told that they are buffered.
    pub(super) promised_seq: Seq,
    /// What earlier groups left, to be used again.
    pub(super) scratches: Vec<Scratch>,
    /// When the oldest buffered record was queued.
    pub(super) buffered_since: Option<Duration>,
    /// When the oldest write was made that no sync covers.
    pub(super) unsynced_since: Option<Duration>,
    /// Where much was written that no sync covers: the worker has the system begin with that.
    pub(super) write_back: Option<Arc<Tail>>,
    /// What failed in the background, until somebody asks.
    pub(super) worker_error: Option<Error>,
    /// When the last sync for appends returned.
    pub(super) synced_at: Option<Duration>,
    /// Up to where a watermark that is itself durable attests durability.
    pub(super) attested_seq: Seq,
    /// After a write failed for want of space: not before then does the worker try again.
    pub(super) retry_at: Option<Duration>,
    /// Whether the worker, if there is one, does something that takes its time, so that nobody should
    /// wait for it to work off the queue.
    pub(super) worker_away: bool,
    /// Whether the worker has set its clock for the next idle watermark.
    pub(super) idle_armed: bool,
    /// Threads that wait for `room`.
    pub(super) room_waiters: usize,
    /// Tasks that wait for it.
    pub(super) room_wakers: Vec<Waker>,
    /// What tasks have asked the worker to do in their stead, and whether it takes no more.
    #[cfg(feature = "async")]
    pub(super) errands: VecDeque<super::later::Errand>,
    #[cfg(feature = "async")]
    pub(super) worker_ended: bool,
    /// Why no room is made at present: the last write or the last attempt to prepare a segment failed.
    pub(super) stuck: Option<Error>,
    /// Whether somebody waits for preparing a segment to be tried again, back-off or not.
    pub(super) try_now: bool,
}

impl State {
    pub(super) fn new(tail: Arc<Tail>, end: u64, next_seq: Seq, ledger: Ledger) -> Self {
        Self {
            queue: VecDeque::new(),
            plan: (tail, end),
            next_seq,
            ledger,
            queued_bytes: 0,
            leading: false,
            company: 0,
            usual_trip: Duration::ZERO,
            usual_arrival: Duration::ZERO,
            usual_group_bytes: 0,
            end_changes: false,
            spare: None,
            seal_due: false,
            life: Life::default(),
            after: After::default(),
            segments_held_by: None,
            lost_buffered: None,
            promised_seq: 0,
            scratches: Vec::new(),
            buffered_since: None,
            unsynced_since: None,
            write_back: None,
            worker_error: None,
            synced_at: None,
            attested_seq: next_seq,
            retry_at: None,
            worker_away: true,
            idle_armed: false,
            room_waiters: 0,
            room_wakers: Vec::new(),
            #[cfg(feature = "async")]
            errands: VecDeque::new(),
            #[cfg(feature = "async")]
            worker_ended: false,
            stuck: None,
            try_now: false,
        }
    }

    /// The group that takes what comes next; a new one if the last takes no more.
    #[inline]
    pub(super) fn back(&mut self) -> Option<&mut Group> {
        if self.open_group().is_none() {
            let (tail, end) = (self.plan.0.clone(), self.plan.1);
            let scratch = self.scratches.pop().unwrap_or_default();
            self.queue
                .push_back(Group::new(tail, None, end, self.next_seq, scratch));
        }
        self.queue.back_mut()
    }

    /// Has the last group brought to a level at least, and with it all that is queued.
    pub(super) fn back_wanting(&mut self, level: Durability) -> Option<Arc<Completion>> {
        self.back().map(|group| {
            group.want(level);
            group.done.clone()
        })
    }

    /// The last group, if it takes more.
    #[inline]
    pub(super) fn open_group(&self) -> Option<&Group> {
        let fits = |group: &&Group| group.open && Arc::ptr_eq(&group.tail, &self.plan.0);
        self.queue.back().filter(fits)
    }
}
