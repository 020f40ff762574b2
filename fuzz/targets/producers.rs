//! A file of producers: any bytes give producers or a defect, and producers encode back to themselves.
#![no_main]
use cairnlog::format::{crc32c, producers::ProducersFile};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    let mut sealed = bytes.to_vec();
    if sealed.len() >= 72 {
        sealed[..8].copy_from_slice(b"CAIRNPRO");
        let lists = sealed.len() - 72;
        let producer_count = u32::from_le_bytes([sealed[56], sealed[57], 0, 0]);
        let left = lists.saturating_sub(producer_count as usize * 32);
        let append_count = u32::try_from(left / 24).unwrap_or(u32::MAX);
        sealed[56..60].copy_from_slice(&producer_count.to_le_bytes());
        sealed[60..64].copy_from_slice(&append_count.to_le_bytes());
        let crc = crc32c(crc32c(0x5052_4f44, &sealed[..68]), &sealed[72..]);
        sealed[68..72].copy_from_slice(&crc.to_le_bytes());
        look(&sealed);
    }
});

fn look(bytes: &[u8]) {
    if let Ok(file) = ProducersFile::decode(bytes) {
        assert_eq!(ProducersFile::decode(&file.encode()), Ok(file));
    }
}
