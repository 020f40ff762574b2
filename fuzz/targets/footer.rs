//! A footer and its index: any bytes give a footer or a defect.
#![no_main]
use cairnlog::format::{Footer, IndexEntry, SegmentContext, crc32c};

const CONTEXT: SegmentContext = SegmentContext {
    salt: 77,
    base_seq: 0,
    base_timestamp_ms: 0,
    log_id: cairnlog::LogId([0; 16]),
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    let mut sealed = bytes.to_vec();
    if sealed.len() >= 80 {
        sealed[..8].copy_from_slice(b"CAIRNFTR");
        let place = 77 ^ 4096;
        let crc = crc32c(place ^ 0x464f_4f54, &sealed[..76]);
        sealed[76..80].copy_from_slice(&crc.to_le_bytes());
        look(&sealed);
    }
});

fn look(bytes: &[u8]) {
    let Ok(footer) = Footer::decode(bytes, &CONTEXT, 4096) else {
        return;
    };
    let Ok(entries) = footer.verify_index(bytes, &CONTEXT) else {
        return;
    };
    let index: Vec<IndexEntry> = (0..footer.entry_count as usize)
        .map(|number| IndexEntry::read(&entries, number))
        .collect();
    assert_eq!(
        Footer::decode(&footer.encode(&CONTEXT, &index), &CONTEXT, 4096),
        Ok(footer)
    );
}
