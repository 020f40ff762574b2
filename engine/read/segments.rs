//! Which segments a reader reads, for who wants to know how a log is laid out.

use super::{Follower, Reader};
use crate::{
    error::{Op, Result},
    format::header::HEADER_BYTES,
    seal::KeyId,
    segment::{Fault, Stored},
    types::{SegmentId, Seq},
};
use std::collections::BTreeMap;

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
    /// Whether its bytes live elsewhere: see [`Log::release`](crate::Log::release).
    pub is_far: bool,
}

impl Reader {
    /// What keeps it up to date, if another process writes.
    pub(crate) fn follower(&self) -> Option<&Follower> {
        self.follower.as_deref()
    }

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
            is_far: segment.entry.far,
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
                is_far: false,
            }
        });
        Ok(sealed.chain(unsealed).collect())
    }

    /// Under which keys the log is: bytes of frames under each, `None` for what is in the clear. Reads all of it,
    /// and no record: no key is needed.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn keys_in_use(&self) -> Result<BTreeMap<Option<KeyId>, u64>> {
        let (_, catalog) = self.snapshot()?;
        let mut all = BTreeMap::new();
        let mut add = |id, stored: std::result::Result<Stored, Fault>| {
            let stored = stored.map_err(|fault| fault.into_error(Op::Read, id))?;
            for (key, bytes) in stored.bytes {
                *all.entry(key).or_default() += bytes;
            }
            Result::Ok(())
        };
        for segment in catalog.sealed.iter() {
            let entry = segment.entry;
            add(
                entry.id,
                segment
                    .open()
                    .and_then(|it| Stored::of(&it.view, entry.frames_end)),
            )?;
        }
        for tail in &catalog.tails {
            add(tail.id, Stored::of(&tail.view(), tail.written_end()))?;
        }
        Ok(all)
    }
}
