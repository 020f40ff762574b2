//! What makes the files of one log those of another incarnation of it.
//!
//! Called by `fetch`; changes what is in memory only.

use crate::layout::File;
use cairnlog::{
    SegmentId,
    format::{
        Manifest, ProducersFile, SEALED_FEATURE, SegmentHeader,
        header::{HEADER_BYTES, Origin},
        manifest::TailEntry,
    },
    vfs::Vfs,
};

/// The manifest of a new incarnation, and a new tail if there is nothing in the old one: recovery seals what has
/// records, and would go on in what has none, as the log that was copied may.
pub(super) fn renewed(
    of: &Manifest,
    files: &[File],
    vfs: &dyn Vfs,
) -> (Manifest, Option<(SegmentId, Vec<u8>)>) {
    let number = |n: u64| (n >> 32) as u32 ^ n as u32;
    let other = |old: u32| loop {
        match number(vfs.random()) {
            0 => {}
            new if new == old => {}
            new => return new,
        }
    };
    let mut manifest = Manifest {
        incarnation: other(of.incarnation),
        ..of.clone()
    };
    let is_empty = |file: &File| file.id == of.tail.id && file.bytes() <= HEADER_BYTES as u64;
    if of.spare.is_some() || !files.iter().any(is_empty) {
        return (manifest, None);
    }
    let (id, base_seq) = (of.next_segment_id, of.tail.base_seq);
    let header = SegmentHeader {
        origin: Origin::Copy,
        log_id: of.log_id,
        id,
        base_seq,
        salt: vfs.random(),
        base_timestamp_ms: vfs.unix_time_ms(),
        predecessor: None,
        durable_seq: of.durable_seq,
        appends_from: Some(base_seq),
        recycled: false,
        packed: false,
        sealed: of.write_features & SEALED_FEATURE != 0,
        packed_appends: false,
    };
    manifest.tail = TailEntry {
        id,
        salt: header.salt,
        base_seq,
    };
    manifest.next_segment_id = SegmentId(id.0 + 1);
    (manifest, Some((id, header.encode())))
}

/// What is known of producers, for the new manifest.
pub(super) fn rebound(file: ProducersFile, old_tail: SegmentId, new: &Manifest) -> ProducersFile {
    let mut file = ProducersFile {
        incarnation: new.incarnation,
        ..file
    };
    if new.tail.id != old_tail {
        // Stored for a commit that the moment does not show: what that would have rewound stands.
        if file.tail_id > old_tail {
            file.end_seq = file.as_of_seq;
        }
        file.tail_id = new.tail.id;
    }
    file
}
