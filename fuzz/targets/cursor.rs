//! A cursor file: any bytes give a cursor or a defect, and a cursor encodes back to itself.
#![no_main]
use cairnlog::format::{crc32c, cursor::CursorFile};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    let mut sealed = bytes.to_vec();
    if sealed.len() >= 72 {
        sealed[..8].copy_from_slice(b"CAIRNCUR");
        let name_bytes = u16::try_from(sealed.len() - 72).unwrap_or(u16::MAX);
        sealed[10..12].copy_from_slice(&name_bytes.to_le_bytes());
        let crc = crc32c(crc32c(0x4355_5253, &sealed[..68]), &sealed[72..]);
        sealed[68..72].copy_from_slice(&crc.to_le_bytes());
        look(&sealed);
    }
});

fn look(bytes: &[u8]) {
    if let Ok(cursor) = CursorFile::decode(bytes) {
        assert_eq!(CursorFile::decode(&cursor.encode()), Ok(cursor));
    }
}
