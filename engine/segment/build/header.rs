//! What a new segment, and a new log, begin with: identities drawn at random.

use crate::{
    format::{SegmentHeader, header::Origin},
    seal::KeyRing,
    types::{LogId, SegmentId, Seq},
    vfs::Dir,
};

/// The header of a segment that is written aside, of this incarnation.
pub(crate) fn copy_header(
    dir: &Dir,
    log_id: LogId,
    id: SegmentId,
    base_seq: Seq,
    keys: &KeyRing,
) -> SegmentHeader {
    SegmentHeader {
        origin: Origin::Copy,
        log_id,
        id,
        base_seq,
        salt: dir.vfs().random(),
        base_timestamp_ms: dir.vfs().unix_time_ms(),
        predecessor: None,
        durable_seq: base_seq,
        appends_from: None,
        recycled: false,
        packed: false,
        sealed: keys.seals(),
        packed_appends: false,
    }
}

/// As [`copy_header`], of a segment that becomes the tail with nothing in it.
pub(crate) fn tail_header(
    dir: &Dir,
    log_id: LogId,
    id: SegmentId,
    base_seq: Seq,
    keys: &KeyRing,
) -> SegmentHeader {
    SegmentHeader {
        appends_from: Some(base_seq),
        ..copy_header(dir, log_id, id, base_seq, keys)
    }
}

/// The identity of a log that is being created.
pub(crate) fn new_log_id(dir: &Dir) -> LogId {
    let mut id = [0; 16];
    for half in id.chunks_exact_mut(8) {
        half.copy_from_slice(&dir.vfs().random().to_le_bytes());
    }
    LogId(id)
}

/// The incarnation of a log that may go on by itself from here.
pub(crate) fn new_incarnation(dir: &Dir) -> u32 {
    let [low, high] = [0, 32].map(|shift| (dir.vfs().random() >> shift) & u64::from(u32::MAX));
    // 0 says that there is none.
    u32::try_from(low ^ high).unwrap_or(1).max(1)
}
