//! A segment header: any bytes give a header or a defect, and a header encodes back to its bytes.
#![no_main]
use cairnlog::format::SegmentHeader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = SegmentHeader::decode(&sealed(bytes)) {
        let again = SegmentHeader::decode(&header.encode()).expect("what we encode, we decode");
        assert_eq!(again, header);
    }
    assert!(SegmentHeader::decode(&[0; 128]).is_err());
});

/// The input with a checksum that holds, so that the checks behind it are reached.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 128 {
        bytes[..8].copy_from_slice(b"CAIRNSEG");
        let crc = cairnlog::format::crc32c(0x4845_4144, &bytes[..124]);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}
