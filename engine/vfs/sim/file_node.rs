//! One simulated file: what the process sees, what the platter holds, and what is on its way.
//!
//! INVARIANT: unless a sync has failed on it, `live` is `durable` with all of `pending` applied in
//! order. Size is metadata of its own: a write that grows the file leaves two effects, and either
//! may reach the disk without the other. Used by `disk` (to run) and `crash` (to choose).

use super::{
    choice::{Fate, Tear},
    content::Content,
    fault::SyncFailure,
    rng::{Rng, mix},
};
use bytes::Bytes;
use std::{mem, ops::Range};

/// The disk's unit of atomic writing as far as tearing goes.
const SECTOR: usize = 512;
const SECTOR_BYTES: u64 = SECTOR as u64;

/// Something that a sync has not made durable yet.
#[derive(Clone, Debug)]
pub(super) enum FileEffect {
    Data { offset: u64, bytes: Bytes },
    Size { from: u64, to: u64 },
}

#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    pub(super) live: Content,
    pub(super) durable: Content,
    pub(super) pending: Vec<FileEffect>,
    /// A failed sync left bytes in `live` that no later sync will write.
    diverged: bool,
}

impl FileNode {
    /// A file just as it lies on the disk after booting.
    pub(super) fn settled(content: Content) -> Self {
        Self {
            live: content.clone(),
            durable: content,
            ..Self::default()
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &Bytes) {
        let from = self.live.len();
        self.live.write(offset, bytes);
        self.pending.push(FileEffect::Data {
            offset,
            bytes: bytes.clone(),
        });
        let to = self.live.len();
        if to > from {
            self.pending.push(FileEffect::Size { from, to });
        }
    }

    pub(super) fn set_len(&mut self, to: u64) {
        let from = self.live.len();
        if from != to {
            self.live.set_len(to);
            self.pending.push(FileEffect::Size { from, to });
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable = if self.diverged {
            let kept = self.pending.iter().map(|effect| (effect, Fate::Kept));
            settle(self.durable.clone(), self.durable.len(), kept)
        } else {
            self.live.clone()
        };
        self.pending.clear();
    }

    pub(super) fn sync_failed(&mut self, how: SyncFailure) {
        match how {
            SyncFailure::CacheShowsOld => *self = Self::settled(self.durable.clone()),
            // The inode, which holds the size, is journaled apart from the pages and stays dirty.
            _ => self.write_back_failed(&(0..u64::MAX), how),
        }
    }

    /// Pages of this range are marked clean with their content never written, or are thrown away.
    pub(super) fn write_back_failed(&mut self, range: &Range<u64>, how: SyncFailure) {
        if how == SyncFailure::StillDirty {
            return;
        }
        for effect in mem::take(&mut self.pending) {
            match effect {
                FileEffect::Data { offset, bytes } if overlaps(offset, &bytes, range) => {
                    self.diverged = true;
                    if how == SyncFailure::CacheShowsOld {
                        let mut old = vec![0; bytes.len()];
                        self.durable.read(offset, &mut old);
                        self.live.write(offset, &old);
                    }
                }
                left => self.pending.push(left),
            }
        }
    }
}

fn overlaps(offset: u64, bytes: &Bytes, range: &Range<u64>) -> bool {
    offset < range.end && range.start < offset + bytes.len() as u64
}

/// What the disk holds if each effect has met its fate: of a file that had `size` bytes, and behind
/// them what is in the space that it may grow by.
///
/// The order of effects decides only where they overlap: leaving out any of them gives every
/// state that reordering could.
pub(super) fn settle<'a>(
    mut content: Content,
    mut size: u64,
    effects: impl Iterator<Item = (&'a FileEffect, Fate)>,
) -> Content {
    // Blocks may be written beyond the size that gets recorded; those are cut off in the end.
    for (effect, fate) in effects {
        match (effect, fate) {
            (_, Fate::Lost) => {}
            (FileEffect::Data { offset, bytes }, Fate::Kept) => content.write(*offset, bytes),
            (FileEffect::Data { offset, bytes }, Fate::Torn(tear)) => {
                let before = content.clone();
                write_torn(&mut content, *offset, bytes, tear);
                keep_same(&mut content, &before, *offset, bytes);
            }
            (FileEffect::Size { from, to }, fate) => {
                size = match fate {
                    Fate::Torn(Tear::Prefix(part)) if to > from => {
                        from.saturating_add(part).min(*to)
                    }
                    _ => *to,
                };
                if to < from {
                    content.set_len(content.len().min(size));
                }
            }
        }
    }
    content.set_len(size);
    content
}

/// A torn write harms no byte that it writes over with its own value.
fn keep_same(content: &mut Content, before: &Content, offset: u64, bytes: &[u8]) {
    let mut old = vec![0; bytes.len()];
    let there = before.read(offset, &mut old);
    for (at, (byte, old)) in (offset..).zip(bytes.iter().zip(old.iter().take(there))) {
        if byte == old {
            content.write(at, &[*byte]);
        }
    }
}

fn write_torn(content: &mut Content, offset: u64, bytes: &[u8], tear: Tear) {
    match tear {
        Tear::Prefix(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            content.write(offset, bytes.get(..count).unwrap_or(bytes));
        }
        Tear::Zeroed => content.write(offset, &vec![0; bytes.len()]),
        Tear::Garbage(seed) => content.write(offset, &noise(seed, bytes.len())),
        Tear::Sectors(seed) => {
            for (at, part) in sectors(offset, bytes) {
                if mix(seed, at) & 1 == 1 {
                    content.write(at, part);
                }
            }
        }
        Tear::Mixed(seed) => {
            for (at, part) in sectors(offset, bytes) {
                let dice = mix(seed, at);
                match dice & 3 {
                    0 => content.write(at, part),
                    1 => content.write(at, &vec![0; part.len()]),
                    2 => content.write(at, &noise(dice, part.len())),
                    _ => {}
                }
            }
        }
    }
}

pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::new(seed).fill(&mut bytes);
    bytes
}

/// The parts of a write that fall into one sector each, with their offsets in the file.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let room = SECTOR - (at % SECTOR_BYTES) as usize;
        let (part, behind) = rest.split_at(room.min(rest.len()));
        let start = at;
        at = at.saturating_add(part.len() as u64);
        rest = behind;
        (!part.is_empty()).then_some((start, part))
    })
}
