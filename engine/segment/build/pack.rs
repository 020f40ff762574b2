//! Packing the records of a segment that is written aside.

use super::{Builder, OpenBatch, facts};
use crate::format::{
    Compression,
    batch::{BATCH_HEADER_BYTES, Records},
    packed,
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
        let facts = facts(&batch.tally, batch.next_seq.saturating_sub(1));
        let body_start = batch.start + BATCH_HEADER_BYTES;
        let raw = self.buffer.get(body_start..).unwrap_or_default();
        let place = (&self.context, self.summary.end);
        let what = (&batch.header, &facts, &[][..]);
        let mut body = Vec::new();
        let room = &mut self.room;
        if packed::encode(&mut body, raw, codec, what, place, room).is_some() {
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
