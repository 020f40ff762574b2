//! The duties of the worker: what is to be done that nobody waits for, since when, and where the worker is.
//!
//! INVARIANTS: what is noted here is done by the worker, or by whoever does without one; a moment is on the
//! clock of the file system. What was put off after a failure is not done sooner, unless somebody asks.
//!
//! Part of what the queue's lock guards. `agenda` asks what is due; the rest says what has happened.

#[cfg(feature = "async")]
use super::errand::Errand;
use crate::{error::Error, segment::Tail, sync::Arc, types::Seq};
#[cfg(feature = "async")]
use std::collections::VecDeque;
use std::time::Duration;

/// How long the worker leaves a full disk alone before it tries to write buffered records again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// What there is to do, and since when.
#[derive(Debug)]
pub(super) struct Duties {
    /// Whether it does something that takes its time, so that nobody should wait for it to work off the queue.
    away: bool,
    /// Whether a segment was finished, so that it is time to seal it and to prepare another.
    seal_due: bool,
    /// Whether a segment was begun since the worker last asked.
    segment_begun: bool,
    /// When the oldest buffered record was queued.
    buffered_since: Option<Duration>,
    /// When the oldest write was made that no sync covers.
    unsynced_since: Option<Duration>,
    /// Where much was written that no sync covers: the system begins with that.
    write_back: Option<Arc<Tail>>,
    /// When the last sync for appends returned.
    synced_at: Option<Duration>,
    /// Up to where a watermark that is itself durable attests durability.
    attested_seq: Seq,
    /// Whether the clock is set for the next idle watermark.
    idle_armed: bool,
    /// After a write failed for want of space: not before then is it tried again.
    retry_at: Option<Duration>,
    /// Whether somebody waits for preparing a segment to be tried again, back-off or not.
    try_now: bool,
    /// What failed in the background, until somebody asks.
    error: Option<Error>,
    /// What tasks have asked for.
    #[cfg(feature = "async")]
    errands: VecDeque<Errand>,
    /// Whether no more errands are taken.
    #[cfg(feature = "async")]
    ended: bool,
}

impl Duties {
    /// Of a log that is durable below a seq.
    pub(super) fn new(durable_seq: Seq, seal_due: bool) -> Self {
        Self {
            away: true,
            seal_due,
            segment_begun: false,
            buffered_since: None,
            unsynced_since: None,
            write_back: None,
            synced_at: None,
            attested_seq: durable_seq,
            idle_armed: false,
            retry_at: None,
            try_now: false,
            error: None,
            #[cfg(feature = "async")]
            errands: VecDeque::new(),
            #[cfg(feature = "async")]
            ended: false,
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.away
    }

    pub(super) fn set_away(&mut self, away: bool) {
        self.away = away;
    }

    pub(super) fn seal_is_due(&self) -> bool {
        self.seal_due
    }

    /// A segment was finished, or sealing one failed; or somebody begins with it.
    pub(super) fn set_seal_due(&mut self, due: bool) {
        self.seal_due = due;
        self.segment_begun |= due;
    }

    pub(super) fn take_segment_begun(&mut self) -> bool {
        std::mem::take(&mut self.segment_begun)
    }

    /// Whether records that are buffered have been queued, and nobody has taken all of them since.
    #[inline]
    pub(super) fn has_buffered(&self) -> bool {
        self.buffered_since.is_some()
    }

    /// Records that are buffered were queued, or stay so.
    pub(super) fn buffered(&mut self, now: Duration) {
        self.buffered_since = Some(now);
    }

    /// What was queued is being written, all of it, or gone.
    pub(super) fn queue_is_empty(&mut self) {
        self.buffered_since = None;
    }

    /// When the buffer is old enough to be written.
    pub(super) fn write_at(&self, interval: Duration) -> Option<Duration> {
        let at = self.buffered_since?.saturating_add(interval);
        Some(self.not_before_retry(at))
    }

    /// Whether a write is put off, because the last one failed.
    pub(super) fn is_put_off(&self, now: Duration) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    fn not_before_retry(&self, at: Duration) -> Duration {
        self.retry_at.map_or(at, |retry| at.max(retry))
    }

    /// A write failed: the next is put off.
    pub(super) fn write_failed(&mut self, now: Duration) {
        self.retry_at = Some(now + RETRY_AFTER);
    }

    /// A write succeeded.
    pub(super) fn write_went_well(&mut self) {
        self.retry_at = None;
    }

    /// Somebody wants it tried again, whatever failed.
    #[cfg(feature = "async")]
    pub(super) fn try_now(&mut self) {
        (self.retry_at, self.try_now) = (None, true);
    }

    pub(super) fn take_try_now(&mut self) -> bool {
        std::mem::take(&mut self.try_now)
    }

    /// Whether all that was written a sync covers.
    pub(super) fn is_all_synced(&self) -> bool {
        self.unsynced_since.is_none()
    }

    /// Something was written, or is still, that no sync covers.
    pub(super) fn unsynced(&mut self, since: Duration) {
        self.unsynced_since = Some(since);
    }

    /// Whatever was written is durable.
    pub(super) fn all_synced(&mut self) {
        self.unsynced_since = None;
    }

    /// A sync for appends returned, of a group that attests what was durable before.
    pub(super) fn synced(&mut self, at: Duration, attested_seq: Seq) {
        self.synced_at = Some(at);
        self.attested_seq = self.attested_seq.max(attested_seq);
        self.unsynced_since = None;
        self.write_back = None;
    }

    /// When what was only written has waited long enough for its sync.
    pub(super) fn sync_at(&self, interval: Option<Duration>) -> Option<Duration> {
        Some(self.unsynced_since?.saturating_add(interval?))
    }

    /// When a watermark should say what is durable, if nobody has. What was written since will be synced,
    /// and then it is time to think of one.
    pub(super) fn mark_at(&self, idle: Duration, durable_seq: Seq) -> Option<Duration> {
        let wanted = self.attested_seq < durable_seq && self.is_all_synced();
        let at = self.synced_at.filter(|_| wanted)?.saturating_add(idle);
        Some(self.not_before_retry(at))
    }

    pub(super) fn is_idle_armed(&self) -> bool {
        self.idle_armed
    }

    pub(super) fn arm_idle(&mut self, armed: bool) {
        self.idle_armed = armed;
    }

    /// Much was written there that no sync covers.
    pub(super) fn give_to_disk(&mut self, tail: Arc<Tail>) {
        self.write_back = Some(tail);
    }

    pub(super) fn take_write_back(&mut self) -> Option<Arc<Tail>> {
        self.write_back.take()
    }

    /// Whether tasks have asked for something that is still to be done.
    #[cfg(feature = "async")]
    pub(super) fn has_errands(&self) -> bool {
        !self.errands.is_empty()
    }

    #[cfg(not(feature = "async"))]
    pub(super) fn has_errands(&self) -> bool {
        false
    }

    /// Keeps what failed for whoever asks, or closes.
    pub(super) fn note(&mut self, error: &Error) {
        self.error = Some(error.clone());
    }

    pub(super) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }
}

#[cfg(feature = "async")]
impl Duties {
    /// Whether the worker still takes errands.
    pub(super) fn takes_errands(&self) -> bool {
        !self.ended
    }

    pub(super) fn send(&mut self, errand: Errand) {
        self.errands.push_back(errand);
    }

    pub(super) fn take_errand(&mut self) -> Option<Errand> {
        self.errands.pop_front()
    }

    /// No more are taken. Gives those that are left.
    pub(super) fn end_errands(&mut self) -> VecDeque<Errand> {
        self.ended = true;
        std::mem::take(&mut self.errands)
    }
}
