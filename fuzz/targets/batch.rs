//! A batch and its records, as they are and with checksums made to hold: never a panic, never a
//! record outside the batch.
#![no_main]
use cairnlog::format::{
    BatchHeader, SegmentContext,
    batch::{BATCH_HEADER_BYTES, Records},
    crc32c,
};

const CONTEXT: SegmentContext = SegmentContext {
    salt: 0x0123_4567_89ab_cdef,
    base_seq: 1 << 40,
    base_timestamp_ms: 0,
    log_id: cairnlog::LogId([0; 16]),
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    walk(bytes);
    let mut sealed = bytes.to_vec();
    if sealed.len() >= BATCH_HEADER_BYTES {
        let seed = fold(CONTEXT.salt ^ 128) ^ 0x4254_4348;
        let crc = crc32c(seed, &sealed[4..BATCH_HEADER_BYTES]);
        sealed[..4].copy_from_slice(&crc.to_le_bytes());
        walk(&sealed);
    }
});

fn fold(value: u64) -> u32 {
    value as u32 ^ (value >> 32) as u32
}

fn walk(bytes: &[u8]) {
    let Ok(header) = BatchHeader::decode(bytes, &CONTEXT, 128) else {
        return;
    };
    assert!(header.durable_seq <= header.first_seq);
    let end = BATCH_HEADER_BYTES.saturating_add(header.body_bytes as usize);
    let Some(body) = bytes.get(BATCH_HEADER_BYTES..end) else {
        return;
    };
    let (mut count, mut payload_bytes) = (0, 0);
    for record in Records::new(body, CONTEXT, header) {
        let Ok(record) = record else { return };
        count += 1;
        payload_bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        assert!(record.seq >= header.first_seq);
    }
    assert_eq!(count, header.count);
    assert!(payload_bytes <= body.len());
}
