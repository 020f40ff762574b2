//! What is in space that was never written: what former files have left there.
//!
//! INVARIANT: the same disk and seed give the same bytes; what a file durably has is not touched. Used
//! by `crash`, if the disk is such.

use super::{
    content::Content,
    file_node::{FileEffect, FileNode, noise},
    rng::mix,
};

/// Space beyond is left zero: a hole of any size costs no memory.
const STALE_MAX: u64 = 1 << 20;

/// What a file durably has, and behind it stale bytes in all of the space by which it has grown since:
/// those that a former file had in the same place, or noise.
pub(super) fn with_stale_space(file: &FileNode, former: &[Content], seed: u64) -> Content {
    let mut content = file.durable.clone();
    let sizes = file.pending.iter().map(|effect| match effect {
        FileEffect::Size { to, .. } => *to,
        FileEffect::Data { .. } => 0,
    });
    let start = content.len();
    let len = sizes.max().unwrap_or(0).saturating_sub(start);
    let mut bytes = noise(seed, usize::try_from(len.min(STALE_MAX)).unwrap_or(0));
    let pick = mix(seed, 1).checked_rem(former.len() as u64).unwrap_or(0);
    if let Some(former) = usize::try_from(pick).ok().and_then(|pick| former.get(pick)) {
        former.read(start, &mut bytes);
    }
    content.write(start, &bytes);
    content
}
