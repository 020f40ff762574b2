//! A cursor file: any bytes give a cursor or a defect, and a cursor encodes back to itself.
#![no_main]
use cairnlog::format::{crc32c, cursor::CursorFile};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    let mut sealed = bytes.to_vec();
    if sealed.len() >= 88 {
        sealed[..8].copy_from_slice(b"CAIRNCUR");
        let name_bytes = u16::from(sealed[10]).min((sealed.len() - 88) as u16);
        let pending_count = (sealed.len() - 88 - usize::from(name_bytes)) / 16;
        sealed[10..12].copy_from_slice(&name_bytes.to_le_bytes());
        sealed[76..80].copy_from_slice(&(pending_count as u32).to_le_bytes());
        let crc = crc32c(crc32c(0x4355_5253, &sealed[..84]), &sealed[88..]);
        sealed[84..88].copy_from_slice(&crc.to_le_bytes());
        look(&sealed);
    }
});

fn look(bytes: &[u8]) {
    if let Ok(cursor) = CursorFile::decode(bytes) {
        assert_eq!(CursorFile::decode(&cursor.encode()), Ok(cursor));
    }
}
