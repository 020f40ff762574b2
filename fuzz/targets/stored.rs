//! The bodies of packed and sealed batches: any bytes, under a checksum that is right.
#![no_main]

use cairnlog::{
    LogId,
    format::{BatchHeader, SegmentContext, StoredHead, packed, stored},
};

const CONTEXT: SegmentContext = SegmentContext {
    salt: 0x0123_4567_89ab_cdef,
    base_seq: 0,
    base_timestamp_ms: 0,
    log_id: LogId([0; 16]),
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(([low, high, sparse], body)) = bytes.split_first_chunk() else {
        return;
    };
    let (count, sparse) = (u16::from_le_bytes([*low, *high]), *sparse != 0);
    let mut body = body.to_vec();
    let batch = BatchHeader {
        body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
        first_seq: 7,
        durable_seq: 7,
        timestamp_ms: 0,
        count: u32::from(count).max(1),
        sparse,
        packed: true,
    };
    stored::sum(&mut body, &CONTEXT, 128);
    let Ok(head) = StoredHead::decode(&body, &batch, &CONTEXT, 128) else {
        return;
    };
    let facts = head.facts();
    assert!(facts.tombstone_count <= facts.keyed_count && facts.keyed_count <= batch.count);
    assert!(head.next_seq() >= batch.next_seq());
    if let StoredHead::Packed(head) = head
        && head.check(&body).is_ok()
    {
        // No more than the format allows, whatever was stated.
        let bytes_max = if batch.count == 1 {
            1 << 28
        } else {
            packed::RAW_BYTES_MAX
        };
        assert!(head.raw_bytes <= bytes_max);
        let mut out = vec![0; head.raw_bytes as usize];
        head.unpack(&body, &batch, &mut out).ok();
    }
});
