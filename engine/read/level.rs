//! How early a reader shows what was appended: durable, written, or still in the memory of this process.
//!
//! INVARIANT: what is buffered is shown once it is written, and not out of memory: until then its numbers may be
//! given again.

use super::Reader;
use crate::{catalog::Level, error::Result, sync::Weak};

impl Reader {
    /// A reader that also shows what is written but not yet durable: a crash of the machine, not of
    /// the process, may undo what it showed.
    #[must_use]
    pub fn including_written(mut self) -> Self {
        if let Some(follower) = &self.follower {
            self = Self::following(follower.including_written());
        }
        self.level = Level::Written;
        self
    }

    /// A reader that also shows what this process has appended and only buffered, in every call that begins
    /// after the append: it first has the buffer written, without a sync, and then is as one
    /// [including what is written](Self::including_written). Of a log that another process writes it is the same as
    /// that: what is only in the memory of the other nobody sees.
    ///
    /// A tail that waits already is shown what is buffered meanwhile once that is written, after
    /// [`Options::buffer_interval`](crate::Options::buffer_interval) at most.
    ///
    /// ```
    /// use cairnlog::{Durability, Log};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::options().durability(Durability::Buffered).open(dir.path().join("log"))?;
    /// let own = log.reader().including_buffered();
    /// let seq = log.append("21.5")?;
    /// assert_eq!(own.get(seq)?.as_deref(), Some(&b"21.5"[..])); // Who wrote it reads it.
    /// assert!(log.get(seq)?.is_none()); // A power cut would take it.
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// Its calls also fail if the buffer cannot be written: with `NoSpace`, after which the records are still
    /// buffered and tried again, or `Io`.
    #[must_use]
    pub fn including_buffered(self) -> Self {
        let mut reader = self.including_written();
        reader.writes_first = true;
        reader
    }

    /// Has what this process has buffered written, if this reader is to show that.
    pub(super) fn write_first(&self) -> Result<()> {
        // A log that is gone has nothing buffered.
        let queue = self.queue.as_ref().filter(|_| self.writes_first);
        queue
            .and_then(Weak::upgrade)
            .map_or(Ok(()), |it| it.write())
    }
}
