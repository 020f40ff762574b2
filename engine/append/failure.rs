//! After a write or a sync failed: what of the queue goes back, and who is told what.

use super::{Core, Spare, completion::Completion, group::Group, state::State};
use crate::{
    error::{Error, ErrorKind, Op},
    options::Durability,
    segment::Tail,
    sync::Arc,
};
use std::time::Duration;

/// How long the worker leaves a full disk alone before it tries to write buffered records again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

impl Core {
    /// A write failed and was cut back: the queue goes back to where it was before. Records that are
    /// acknowledged as buffered stay queued, as long as nobody before them has to be told an error.
    pub(super) fn take_back(&self, state: &mut State, group: Group, error: &Error) {
        state.queue.push_front(group);
        let now = self.dir.vfs().monotonic();
        state.retry_at = Some(now + RETRY_AFTER);
        state.stuck = Some(error.clone());
        let mut kept = state.queue.iter().take_while(|group| !group.owes).count();
        if (state.queue.iter().take(kept)).all(Group::has_no_records) {
            // A watermark alone: nobody misses it, and whatever is appended needs no place behind it.
            kept = 0;
        }
        let dropped = state.queue.split_off(kept);
        let state = &mut *state;
        for group in &mut state.queue {
            // Whoever waits for a sync of it is told now; the records themselves wait on.
            let done = std::mem::replace(&mut group.done, Arc::new(Completion::default()));
            state.after.fail(&done, error.clone());
            group.wants = Durability::Buffered;
            group.open = false;
        }
        state.queue.retain(|group| !group.buffer.is_empty());
        if let Some(first) = dropped.front() {
            if state.promised_seq > first.first_seq {
                // A repeat was told that it is buffered: the original is gone.
                state.lost_buffered.get_or_insert_with(|| error.clone());
                state.promised_seq = first.first_seq;
            }
            state.next_seq = first.first_seq;
            state.ledger.drop_from(first.first_seq);
            state.plan = self.plan_before(state, first);
        }
        let all_durable = self.durable_seq() >= state.next_seq;
        for group in dropped {
            if group.has_no_records() && all_durable {
                // A sync that was asked for behind a watermark has nothing left to do.
                let wakers = group.done.written();
                state.after.wake(wakers);
                group.done.durable();
                let wakers = group.done.wake_all();
                state.after.wake(wakers);
            } else {
                drop_group(state, &group, error);
            }
        }
        state.queued_bytes = state.queue.iter().map(|group| group.buffer.len()).sum();
        state.buffered_since = (!state.queue.is_empty()).then_some(now);
        state.after.write_failed(error);
    }

    /// Where the next group goes when this one is dropped.
    fn plan_before(&self, state: &State, dropped: &Group) -> (Arc<Tail>, u64) {
        if dropped.begins.is_none() {
            return (dropped.tail.clone(), dropped.offset);
        }
        match state.queue.back() {
            Some(kept) => (kept.tail.clone(), kept.end()),
            None => {
                let writer = self.writer.lock();
                (writer.tail.tail.clone(), writer.tail.summary.end)
            }
        }
    }

    /// A sync failed: nothing is retried and nothing lies. The group that was written may or may not
    /// survive; what was only queued is not and will not be in the log.
    pub(super) fn poison(&self, state: &mut State, written: Option<&Group>, error: &Error) {
        state.life.poison_with(error);
        state.after.poisoned(error);
        if let Some(group) = written {
            let error = error.consequence(ErrorKind::Indeterminate, Op::Append);
            state.after.fail(&group.done, error);
        }
        for group in std::mem::take(&mut state.queue) {
            let error = error.consequence(ErrorKind::Poisoned, Op::Append);
            state.after.fail(&group.done, error);
        }
        state.queued_bytes = 0;
        state.write_back = None;
        self.make_room(state);
    }

    /// As [`poison`](Self::poison), unless it is already: what was only queued is not in the log.
    pub(super) fn poison_by(&self, error: &Error) {
        let mut state = self.lock();
        if state.life.poison().is_none() {
            self.poison(&mut state, None, error);
        }
    }
}

fn drop_group(state: &mut State, group: &Group, error: &Error) {
    if let Some(header) = &group.begins {
        // Its file was never written, or cut to nothing: it is a spare again.
        state.spare = Some(Spare {
            id: header.id,
            salt: header.salt,
            space: group.tail.space.clone(),
        });
    }
    if group.buffered_count > 0 {
        state.lost_buffered.get_or_insert_with(|| error.clone());
    }
    state.after.fail(&group.done, error.clone());
}
