//! Keys for those that keep records by key: each thread counts up in a range of its own.

const RANGE_BITS: u32 = 40;

/// The next key of a thread, if this is the last one there is. Only the first thread goes on in a log
/// that it finds; the others always start anew.
pub fn after(thread: u64, last: Option<u64>) -> u64 {
    let after_last = last.filter(|_| thread == 0).map_or(0, |key| key + 1);
    (thread << RANGE_BITS) + after_last
}

/// The same for big-endian keys.
#[cfg(any(feature = "fjall", feature = "sled", feature = "rocksdb"))]
pub fn next(thread: u64, last: Option<&[u8]>) -> u64 {
    after(
        thread,
        last.and_then(|key| key.try_into().ok())
            .map(u64::from_be_bytes),
    )
}
