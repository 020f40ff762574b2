//! Packing the records of a segment that is written aside.

use super::{Builder, OpenBatch};
use crate::format::{
    Compression,
    batch::{BATCH_HEADER_BYTES, Records},
    packed::{self, PackedHead},
};
use std::io;

impl Builder {
    /// Packs records, wherever that saves something, in batches that are filled up.
    ///
    /// INVARIANT: the segment's header says so.
    pub(crate) fn packing(mut self, codec: Option<Compression>) -> Self {
        assert!(codec.is_none() || self.header.packed, "readers are told");
        self.pack = codec;
        self.filled()
    }

    /// Ends a batch with its records packed; as they are, in smaller ones, if that saves nothing.
    pub(super) fn end_packed(
        &mut self,
        codec: Compression,
        mut batch: OpenBatch,
    ) -> io::Result<()> {
        batch.header.count = batch.tally.record_count;
        let facts = PackedHead {
            codec: 0,
            raw_bytes: 0,
            last_seq: batch.next_seq.saturating_sub(1),
            tombstone_count: batch.tally.tombstone_count,
            keyed_count: batch.tally.keyed_count,
            min_timestamp_ms: batch.tally.min_timestamp_ms,
            max_timestamp_ms: batch.tally.max_timestamp_ms,
        };
        let body_start = batch.start + BATCH_HEADER_BYTES;
        let raw = self.buffer.get(body_start..).unwrap_or_default();
        let place = (&self.context, self.summary.end);
        if let Some(body) = packed::encode(raw, codec, &batch.header, &facts, place) {
            self.buffer.truncate(body_start);
            self.buffer.extend_from_slice(&body);
            batch.header.packed = true;
            return self.end_with(batch);
        }
        let raw = self.buffer.split_off(body_start);
        self.buffer.truncate(batch.start);
        self.pack = None;
        let records = Records::new(&raw, packed::inner(&self.context), batch.header);
        for record in records.flatten() {
            self.add(&record, batch.header.durable_seq)?;
        }
        let ended = self.end_batch();
        self.pack = Some(codec);
        ended
    }
}
