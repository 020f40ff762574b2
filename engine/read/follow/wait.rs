//! Waiting for another process: armed, then looked, then waited, so that no change is slept through.

use super::Follower;
use crate::read::stop::Stop;
use crate::{
    catalog::{Level, Wait},
    error::{Error, Op, Place, Result},
    format::names,
    types::Seq,
    vfs::Watch,
};
use std::time::Duration;

/// Where the file system tells nobody of changes, or this user has no watch left, it is looked at this often; the
/// longer nothing came the less, so that hundreds who wait in vain take little: a hundredth of the wait at most.
const POLL: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_millis(100);

/// Who may be called away, and by nothing that a watch tells, looks this often whether he was.
const LOOK_UP: Duration = Duration::from_millis(100);

/// What wakes one waiting reader; each has its own.
#[derive(Debug, Default)]
pub(in crate::read) struct Alarm {
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    /// Whether any change in the directory wakes, or only one of the watermark file.
    wide: bool,
    /// `None`: this file system has no watches.
    watch: Option<Box<dyn Watch>>,
}

impl Follower {
    /// Waits until there is something to see beyond `seq`. While the other process writes nothing,
    /// or is dead, that is for ever: another one may open the log.
    pub(in crate::read) fn wait_beyond(
        &self,
        alarm: &mut Alarm,
        seq: Seq,
        timeout: Option<Duration>,
        stop: Option<&Stop>,
    ) -> Result<Wait> {
        let vfs = self.dir.vfs();
        let begun = vfs.monotonic();
        let deadline = timeout.map(|time| begun.saturating_add(time));
        loop {
            self.refresh()?;
            if self.watermark.get(self.level) > seq {
                return Ok(Wait::Reached);
            }
            if let Some(newer) = self.catalog.load().beyond.clone() {
                return Err(newer);
            }
            let left = deadline.map(|at| at.saturating_sub(vfs.monotonic()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Wait::TimedOut);
            }
            if stop.is_some_and(Stop::is_called) {
                return Ok(Wait::Called);
            }
            // What changed before it was armed wakes nobody: then another look comes first.
            if !self.arm(alarm)? {
                let poll = (vfs.monotonic().saturating_sub(begun) / 100).clamp(POLL, POLL_MAX);
                self.sleep(alarm, poll, left, stop)?;
            }
        }
    }

    /// True if it was not armed yet.
    fn arm(&self, alarm: &mut Alarm) -> Result<bool> {
        let wide = self.level == Level::Written || self.known.lock().told.is_none();
        if alarm.armed.as_ref().is_some_and(|armed| armed.wide == wide) {
            return Ok(false);
        }
        let name = (!wide).then_some(names::WATERMARK);
        let watched = self.dir.watch(name);
        let watch = watched.map_err(|error| self.no_watch(error))?;
        alarm.armed = Some(Armed { wide, watch });
        Ok(true)
    }

    fn sleep(
        &self,
        alarm: &mut Alarm,
        poll: Duration,
        mut left: Option<Duration>,
        stop: Option<&Stop>,
    ) -> Result<()> {
        let Some(watch) = alarm.armed.as_mut().and_then(|armed| armed.watch.as_mut()) else {
            self.dir.vfs().sleep(left.unwrap_or(poll).min(poll));
            return Ok(());
        };
        if let Some(stop) = stop {
            let stopper = watch.stopper();
            if stopper.is_none() {
                left = Some(left.map_or(LOOK_UP, |left| left.min(LOOK_UP)));
            }
            stop.waits_on(stopper);
            if stop.is_called() {
                return Ok(());
            }
        }
        let waited = watch.wait(left);
        if let Some(stop) = stop {
            stop.waits_on(None);
        }
        waited.map(drop).map_err(|error| self.no_watch(error))
    }

    fn no_watch(&self, error: std::io::Error) -> Error {
        Error::io(Op::Read, error).at(Place::file(self.dir.path()))
    }
}
