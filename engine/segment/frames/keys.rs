//! Under which keys the batches of a segment are, without a look at a record.

use super::Frames;
use crate::{
    format::{Compression, StoredHead},
    seal::KeyId,
    segment::Fault,
};
use std::collections::BTreeMap;

/// How the batches of a segment are stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    /// Bytes of frames under each key; `None` stands for what is in the clear.
    pub(crate) bytes: BTreeMap<Option<KeyId>, u64>,
    /// What the first of those that are packed is packed with.
    pub(crate) codec: Option<Compression>,
}

impl Stored {
    /// Whether any of it is not under this key.
    pub(crate) fn is_other_than(&self, id: KeyId) -> bool {
        self.bytes.keys().any(|key| *key != Some(id))
    }
}

impl Frames {
    /// Looks at the rest of the walk up to `limit`.
    pub(crate) fn how_stored(&mut self, limit: u64) -> Result<Stored, Fault> {
        let mut stored = Stored::default();
        while self.go_on(limit)? {
            let (batch, offset) = (self.next.batch, self.next.batch_offset);
            let mut key_id = None;
            if batch.packed {
                let body = self.window.peek(self.next.offset, self.next_batch);
                let head = StoredHead::decode(body, &batch, &self.context, offset);
                let head = head.map_err(|defect| Fault::Defect {
                    offset,
                    seq: batch.first_seq,
                    defect,
                })?;
                key_id = head.key_id();
                stored.codec = (stored.codec).or_else(|| Compression::of(head.facts().codec));
            }
            *stored.bytes.entry(key_id).or_default() += batch.batch_bytes();
            self.leave_batch();
        }
        Ok(stored)
    }
}
