//! After a write or a sync failed: what of the queue goes back, and who is told what.

use super::{Core, group::Group, state::State};
use crate::error::{Error, ErrorKind, Op};

impl Core {
    /// A write failed and was cut back: the queue goes back to where it was before.
    pub(super) fn take_back(&self, state: &mut State, group: Box<Group>, error: &Error) {
        let now = self.dir.vfs().monotonic();
        state.duties.write_failed(now);
        state.waiting.stick(error);
        let end = || {
            let writer = self.writer.lock();
            (writer.tail.tail.clone(), writer.tail.summary.end)
        };
        let dropped = (state.queue).take_back(group, error, &mut state.after, end);
        let all_durable = self.durable_seq() >= state.queue.next_seq();
        for group in dropped {
            if group.is_watermark() && all_durable {
                // A sync that was asked for behind a watermark has nothing left to do.
                let wakers = group.done.written();
                state.after.wake(wakers);
                group.done.durable();
                let wakers = group.done.wake_all();
                state.after.wake(wakers);
            } else {
                state.after.fail(&group.done, error.clone());
            }
        }
        state.duties.queue_is_empty();
        if !state.queue.is_empty() {
            state.duties.buffered(now);
        }
        state.after.write_failed(error);
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
        for group in state.queue.give_up() {
            let error = error.consequence(ErrorKind::Poisoned, Op::Append);
            state.after.fail(&group.done, error);
        }
        state.duties.take_write_back();
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
