//! A manifest: any bytes give a manifest or a defect, and a manifest encodes back to itself.
#![no_main]
use cairnlog::format::{Manifest, crc32c};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    let mut sealed = bytes.to_vec();
    if sealed.len() >= 144 {
        sealed[..8].copy_from_slice(b"CAIRNMAN");
        let count = u32::try_from((sealed.len() - 144) / 64).unwrap();
        sealed.truncate(144 + count as usize * 64);
        sealed[80..84].copy_from_slice(&count.to_le_bytes());
        let entries = crc32c(0x4d45_4e54, &sealed[144..]);
        sealed[84..88].copy_from_slice(&entries.to_le_bytes());
        let crc = crc32c(0x4d41_4e49, &sealed[..140]);
        sealed[140..144].copy_from_slice(&crc.to_le_bytes());
        look(&sealed);
    }
});

fn look(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }
}
