//! Under which keys the batches of a segment are, without a look at a record.

use super::Frames;
use crate::{
    format::{Compression, header::HEADER_BYTES},
    seal::KeyId,
    segment::{Fault, View},
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
    /// Of a segment up to `limit`.
    pub(crate) fn of(view: &View, limit: u64) -> Result<Self, Fault> {
        Frames::new(view, HEADER_BYTES as u64).how_stored(limit)
    }

    /// Whether any of it is not under this key.
    pub(crate) fn is_other_than(&self, id: KeyId) -> bool {
        self.bytes.keys().any(|key| *key != Some(id))
    }
}

impl Frames {
    /// Looks at the rest of the walk up to `limit`.
    fn how_stored(&mut self, limit: u64) -> Result<Stored, Fault> {
        let mut stored = Stored::default();
        while self.go_on(limit)? {
            let (batch, mut key_id) = (self.next.batch, None);
            if batch.packed {
                let (head, _) = self.stored_head()?;
                key_id = head.key_id();
                stored.codec = (stored.codec).or_else(|| Compression::of(head.facts().codec));
            }
            *stored.bytes.entry(key_id).or_default() += batch.batch_bytes();
            self.leave_batch();
        }
        Ok(stored)
    }
}
