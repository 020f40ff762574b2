//! A group that was not written: what of the queue stays, and what goes with it.

use super::{Groups, Plan};
use crate::{
    append::{Spare, completion::Completion, group::Group, held::After},
    error::Error,
    options::Durability,
    sync::Arc,
};
use std::collections::VecDeque;

impl Groups {
    /// A group was not written: the queue goes back to where it was before. Records that are acknowledged
    /// as buffered stay queued, as long as nobody before them has to be told an error. Gives what does not
    /// stay. `end` is what is written.
    pub(in crate::append) fn take_back(
        &mut self,
        mut group: Box<Group>,
        error: &Error,
        after: &mut After,
        end: impl FnOnce() -> Plan,
    ) -> VecDeque<Box<Group>> {
        group.unfinish();
        self.queue.push_front(group);
        let mut kept = self.queue.iter().take_while(|group| !group.owes).count();
        if (self.queue.iter().take(kept)).all(|group| group.is_watermark()) {
            // A watermark alone: nobody misses it, and whatever is appended needs no place behind it.
            kept = 0;
        }
        let dropped = self.queue.split_off(kept);
        for group in &mut self.queue {
            // Whoever waits for a sync of it is told now; the records themselves wait on.
            let done = std::mem::replace(&mut group.done, Arc::new(Completion::default()));
            after.fail(&done, error.clone());
            group.wants = Durability::Buffered;
            group.open = false;
        }
        self.queue.retain(|group| !group.buffer.is_empty());
        if let Some(first) = dropped.front() {
            if self.promised_seq > first.first_seq {
                // A repeat was told that it is buffered: the original is gone.
                self.lost_buffered.get_or_insert_with(|| error.clone());
                self.promised_seq = first.first_seq;
            }
            self.next_seq = first.first_seq;
            self.ledger.drop_from(first.first_seq);
            self.plan_for(match (&first.begins, self.queue.back()) {
                (None, _) => (first.tail.clone(), first.offset),
                (Some(_), Some(kept)) => (kept.tail.clone(), kept.end()),
                (Some(_), None) => end(),
            });
        }
        for group in &dropped {
            self.lose(group, error);
        }
        self.queued_bytes = self.queue.iter().map(|group| group.buffer.len()).sum();
        dropped
    }

    /// What goes with a group that was dropped.
    fn lose(&mut self, group: &Group, error: &Error) {
        if let Some(header) = &group.begins {
            // Its file was never written, or cut to nothing: it is a spare again.
            self.spare = Some(Spare {
                id: header.id,
                salt: header.salt,
                space: group.tail.space.clone(),
            });
        }
        if group.buffered_count > 0 {
            self.lost_buffered.get_or_insert_with(|| error.clone());
        }
    }
}
