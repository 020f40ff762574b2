//! The thread that waits for another process in the stead of tasks: one for all streams of a reader.
//!
//! INVARIANTS: it ends within [`LOOK_UP`] of the last stream. It tells nobody what it saw, and no error
//! either: it has the tasks look, and they see for themselves. So what has passed by then is no error, what
//! has not is told to each of them, and neither ends the looking out.

use super::{Alarm, Follower};
use crate::{
    error::{Error, Op, Result},
    sync::{self, Arc, Mutex, Weak},
};
use std::time::Duration;

/// How often it looks whether it is still needed.
const LOOK_UP: Duration = Duration::from_secs(1);
/// How long it stays away after it could not look.
const PAUSE: Duration = Duration::from_millis(100);

/// Whoever holds one keeps the thread.
#[derive(Clone, Debug)]
pub(in crate::read) struct Lookout {
    _kept: Arc<()>,
}

/// The one that is there by now, if it is needed still.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Weak<()>>);

impl Follower {
    /// Has a thread wait for what another process writes, for as long as this is kept.
    pub(in crate::read) fn keep_lookout(self: &Arc<Self>) -> Result<Lookout> {
        let mut kept = self.lookout.0.lock();
        if let Some(kept) = kept.upgrade() {
            return Ok(Lookout { _kept: kept });
        }
        let token = Arc::new(());
        let (follower, needed) = (self.clone(), Arc::downgrade(&token));
        let run = move || follower.look_out(&needed);
        sync::spawn("cairn-lookout", run).map_err(|error| Error::io(Op::Read, error))?;
        *kept = Arc::downgrade(&token);
        Ok(Lookout { _kept: token })
    }

    fn look_out(&self, needed: &Weak<()>) {
        let mut alarm = Alarm::default();
        while needed.upgrade().is_some() {
            let seen = self.watermark.get(self.level);
            // What it sees raises the watermark, and that wakes the tasks.
            if self
                .wait_beyond(&mut alarm, seen, Some(LOOK_UP), None)
                .is_err()
            {
                alarm = Alarm::default();
                self.watermark.call_tasks();
                self.dir.vfs().sleep(PAUSE);
            }
        }
    }
}
