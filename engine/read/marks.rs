//! The marks that a reader shows: those of the manifest in force, also of a log that another process writes.

use super::Reader;
use crate::{error::Result, format::Mark};

impl Reader {
    /// What a [mark](crate::Log::set_mark) was set to by now; `None` if there is none of this name.
    ///
    /// # Errors
    /// In another process as [`get`](Self::get).
    pub fn mark(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(Mark::value_of(&self.snapshot()?.1.marks, name))
    }

    /// All marks, in the order of their names.
    ///
    /// # Errors
    /// In another process as [`get`](Self::get).
    pub fn marks(&self) -> Result<Vec<Mark>> {
        Ok(Vec::clone(&self.snapshot()?.1.marks))
    }
}
