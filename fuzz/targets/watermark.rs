//! A watermark file: any bytes give a watermark or a defect, and a watermark encodes back to itself.
#![no_main]
use cairnlog::format::{WatermarkFile, crc32c};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    let mut sealed = bytes.to_vec();
    if sealed.len() >= 56 {
        sealed[..8].copy_from_slice(b"CAIRNWMK");
        let crc = crc32c(0x574d_524b, &sealed[..52]);
        sealed[52..56].copy_from_slice(&crc.to_le_bytes());
        look(&sealed);
    }
});

fn look(bytes: &[u8]) {
    if let Ok(watermark) = WatermarkFile::decode(bytes) {
        assert_eq!(WatermarkFile::decode(&watermark.encode()), Ok(watermark));
    }
}
