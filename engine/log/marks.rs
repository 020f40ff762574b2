//! Marks: what an application keeps beside its records, in a few bytes each.

use super::Log;
use crate::{error::Result, format::Mark};

impl Log {
    /// Sets a mark: a small value under a name, beside the records. Durable when it returns, and what it says then
    /// survives whatever the records do: after a crash it is as it was before the call, or as it was set.
    ///
    /// For what changes now and then and has to be known before anything else is read: a vote, the id of a snapshot,
    /// how far another store has come. It costs a commit, as a trim does: two or three syncs, and the writing of the
    /// whole manifest. On a full disk a mark is set anew all the same. A backup has the marks of its moment, a salvage
    /// those of the old log; a repair without a manifest has none.
    ///
    /// A log with marks is refused by programs from before there were any, until the last mark is removed.
    ///
    /// ```
    /// use cairnlog::Log;
    /// # let dir = tempfile::tempdir().unwrap();
    /// let path = dir.path().join("log");
    /// let log = Log::open(&path)?;
    /// log.set_mark("vote", b"term 7, node 2")?;
    /// log.close()?;
    ///
    /// let log = Log::open(&path)?;
    /// assert_eq!(log.mark("vote").as_deref(), Some(&b"term 7, node 2"[..]));
    /// assert!(log.remove_mark("vote")?);
    /// assert_eq!(log.marks(), []);
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for a name that is not 1 to 255 bytes without control characters; `TooLarge` for a value of more
    /// than 4,096 bytes, or if the marks would take more than 65,536 bytes together, 8 for each counted with name and
    /// value, and 8 once; `NoSpace` where a new mark finds no room; as [`trim`](Self::trim).
    pub fn set_mark(&self, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
        self.core().set_mark(name, value.as_ref())
    }

    /// Removes a mark, durably; whether there was one.
    ///
    /// # Errors
    /// As [`set_mark`](Self::set_mark).
    pub fn remove_mark(&self, name: &str) -> Result<bool> {
        self.core().remove_mark(name)
    }

    /// What a mark was set to; `None` if there is none of this name.
    #[must_use]
    pub fn mark(&self, name: &str) -> Option<Vec<u8>> {
        Mark::value_of(&self.core().catalog().load().marks, name)
    }

    /// All marks, in the order of their names.
    #[must_use]
    pub fn marks(&self) -> Vec<Mark> {
        Vec::clone(&self.core().catalog().load().marks)
    }
}
