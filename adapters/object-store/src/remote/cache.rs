//! Blocks of what was fetched, kept in memory up to a bound.

use crate::layout::Key;
use bytes::Bytes;
use std::collections::BTreeMap;

/// What is fetched and kept at a time, in bytes.
pub(super) const BLOCK_BYTES: u64 = 256 * 1024;

/// Which object, which block of it.
pub(super) type BlockKey = (Key, u64);

/// Blocks, of which those go first that were not used for the longest time.
#[derive(Debug)]
pub(super) struct Cache {
    blocks: BTreeMap<BlockKey, (Bytes, u64)>,
    by_use: BTreeMap<u64, BlockKey>,
    uses: u64,
    blocks_max: u64,
}

impl Cache {
    pub(super) fn new(blocks_max: u64) -> Self {
        Self {
            blocks: BTreeMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            blocks_max,
        }
    }

    pub(super) fn get(&mut self, key: BlockKey) -> Option<Bytes> {
        let (bytes, used) = self.blocks.get_mut(&key)?;
        self.uses += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.uses, key);
        *used = self.uses;
        Some(bytes.clone())
    }

    pub(super) fn put(&mut self, key: BlockKey, bytes: Bytes) {
        self.uses += 1;
        if let Some((_, used)) = self.blocks.insert(key, (bytes, self.uses)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.uses, key);
        while self.blocks.len() as u64 > self.blocks_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.blocks.remove(&oldest);
        }
    }
}
