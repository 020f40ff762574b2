//! What it takes to read one segment, and whether its index is that of its frames.

use super::{
    Fault, Frames, Range, Source, Window,
    index::{Index, rebuild},
};
use crate::{
    format::{IndexEntry, SegmentContext, batch::BATCH_HEADER_BYTES, header::HEADER_BYTES},
    seal::KeyRing,
    types::SegmentId,
};

/// Everything needed to read one segment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) segment: SegmentId,
    pub(crate) context: SegmentContext,
    pub(crate) source: Source,
    pub(crate) index: Index,
    /// Whether batches of it may be sealed.
    pub(crate) sealed: bool,
    /// Whether batches of it may have been packed as they were appended.
    pub(crate) packed_appends: bool,
    /// What its sealed records are opened with.
    pub(crate) keys: KeyRing,
}

impl View {
    /// Whether a batch begins where each of two neighbours in the index says, and as it says. `None` stands
    /// for the start of the segment, and for its end.
    pub(crate) fn is_true(
        &self,
        from: Option<IndexEntry>,
        to: Option<IndexEntry>,
        limit: u64,
    ) -> bool {
        let begins = |entry: IndexEntry| {
            let window = Window::of_chunks(&self.source, BATCH_HEADER_BYTES as u64);
            let mut frames = Frames::through(window, self, entry.offset.into());
            frames.begins(entry, u64::MAX, limit)
        };
        let in_order = from
            .zip(to)
            .is_none_or(|(from, to)| from.offset < to.offset);
        // What begins behind the limit may not be there by now.
        let near = |entry: &IndexEntry| u64::from(entry.offset) < limit;
        self.index.is_known() || in_order && from.into_iter().chain(to).filter(near).all(begins)
    }

    /// The same segment with an index of its frames, instead of one that says something else.
    pub(crate) fn indexed_anew(&self, limit: u64) -> Result<Self, Fault> {
        let range = Range {
            offset: HEADER_BYTES as u64,
            frames_end: limit,
            first_seq: self.context.base_seq,
            next_seq: self.context.base_seq,
            dense: false,
            ..Range::known()
        };
        let index = rebuild(&self.source, &self.context, range)?;
        Ok(Self {
            index,
            ..self.clone()
        })
    }
}
