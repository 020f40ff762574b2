//! What a log takes before it needs it: of one that shares its worker with many others, little.

use super::Options;
use crate::vfs::OpenFiles;
use std::sync::Arc;

/// Bytes that are allocated of a segment before it is used. Small, so that a fresh log is.
const AHEAD_BYTES: u64 = 128 * 1024;
/// Of one of many: a block. Once it is used, as much again as it has is allocated each time.
const AHEAD_BYTES_OF_MANY: u64 = 4096;

impl Options {
    /// Whether it is one of many logs in this process.
    pub(crate) fn is_one_of_many(&self) -> bool {
        self.worker.is_some()
    }

    /// How much of a segment is allocated ahead, at least, in bytes.
    pub(crate) fn ahead_bytes(&self) -> u64 {
        match self.is_one_of_many() {
            true => AHEAD_BYTES_OF_MANY,
            false => AHEAD_BYTES,
        }
    }

    /// Where its open files are counted, if it is one of many.
    pub(crate) fn open_files(&self) -> Option<Arc<OpenFiles>> {
        self.worker.as_ref().map(|worker| worker.open_files())
    }
}
