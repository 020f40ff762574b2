//! Which segments a reader reads, for who wants to know how a log is laid out.

use super::Reader;
use crate::{
    error::Result,
    format::header::HEADER_BYTES,
    types::{SegmentId, Seq},
};

/// A segment of a log; from [`Reader::segments`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its id, which names its file.
    pub id: SegmentId,
    /// The lowest seq that it may hold.
    pub base_seq: Seq,
    /// The seq after the highest that it may hold; of the last one as far as the reader shows it.
    pub next_seq: Seq,
    /// What its frames take, in bytes.
    pub frame_bytes: u64,
    /// Whether it changes no more.
    pub is_sealed: bool,
}

impl Reader {
    /// The segments, from the oldest; the last is the one that is being written.
    ///
    /// # Errors
    /// In another process as [`get`](Self::get).
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let (end, catalog) = self.snapshot()?;
        let frame_bytes = |frames_end: u64| frames_end.saturating_sub(HEADER_BYTES as u64);
        let sealed = catalog.sealed.iter().map(|segment| SegmentInfo {
            id: segment.entry.id,
            base_seq: segment.entry.base_seq,
            next_seq: segment.entry.next_seq,
            frame_bytes: frame_bytes(segment.entry.frames_end),
            is_sealed: true,
        });
        let next_bases = catalog.tails.iter().skip(1);
        let ends = next_bases.map(|tail| tail.context.base_seq).chain([end]);
        let unsealed = catalog.tails.iter().zip(ends).map(|(tail, next_seq)| {
            let base_seq = tail.context.base_seq;
            SegmentInfo {
                id: tail.id,
                base_seq,
                next_seq: next_seq.max(base_seq),
                frame_bytes: frame_bytes(tail.written_end()),
                is_sealed: false,
            }
        });
        Ok(sealed.chain(unsealed).collect())
    }
}
