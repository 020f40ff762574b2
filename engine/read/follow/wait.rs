//! Waiting for another process: armed, then looked, then waited, so that no change is slept through.

use super::Follower;
use crate::{
    catalog::{Level, Wait},
    error::{Error, Op, Place, Result},
    format::names,
    types::Seq,
    vfs::Watch,
};
use std::time::Duration;

/// Where the file system tells nobody of changes, it is looked at this often.
const POLL: Duration = Duration::from_millis(10);

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
    ) -> Result<Wait> {
        let vfs = self.dir.vfs();
        let deadline = timeout.map(|time| vfs.monotonic().saturating_add(time));
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
            // What changed before it was armed wakes nobody: then another look comes first.
            if !self.arm(alarm)? {
                self.sleep(alarm, left)?;
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

    fn sleep(&self, alarm: &mut Alarm, left: Option<Duration>) -> Result<()> {
        match alarm.armed.as_mut().and_then(|armed| armed.watch.as_mut()) {
            Some(watch) => watch
                .wait(left)
                .map(drop)
                .map_err(|error| self.no_watch(error)),
            None => {
                self.dir.vfs().sleep(left.unwrap_or(POLL).min(POLL));
                Ok(())
            }
        }
    }

    fn no_watch(&self, error: std::io::Error) -> Error {
        Error::io(Op::Read, error).at(Place::file(self.dir.path()))
    }
}
