//! Sealed logs, harmed and watched: no number is used twice with a key, no bit turns one record into another,
//! and bytes that are changed by who can sum are told from bytes that rotted.

#![cfg(feature = "seal")]

use crate::{
    campaign::history,
    history::{DIR, Run, options, sealed},
    steps::{Compact, Maintain, Open, Pack, Step, durable, keyed},
    subject::{subject_with, three_segments},
};
use cairnlog::{
    ErrorKind, Inspected,
    format::{BatchHeader, StoredHead, batch::BATCH_HEADER_BYTES, crc32c},
    vfs::{
        Vfs,
        sim::{Errno, Fault, FaultRule, OpKind, SimFs},
    },
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// What stands before a nonce in the head of a sealed batch: the number of its key, which is 1 in these tests.
const KEY_ID: [u8; 8] = 1_u64.to_le_bytes();
/// The places in that head, from its start.
const CIPHER_AT: usize = 5;
const KEY_ID_AT: usize = 8;
const NONCE_AT: usize = 16;
const TEXT_AT: usize = 32;
/// As much of it is compared.
const TEXT_BYTES: usize = 48;

/// Enters every number that stands in some bytes, with the text that was sealed under it.
fn enter(bytes: &[u8], seen: &mut BTreeMap<[u8; 12], Vec<u8>>) {
    // A head stands behind a batch header, whose last byte is the pattern and the bit of what is stored otherwise.
    for at in BATCH_HEADER_BYTES..bytes.len().saturating_sub(TEXT_AT + TEXT_BYTES) {
        let head = &bytes[at..];
        let is_head =
            bytes[at - 1] == 0xA4 && head[CIPHER_AT] == 1 && head[KEY_ID_AT..NONCE_AT] == KEY_ID;
        if is_head {
            let nonce = head[NONCE_AT..NONCE_AT + 12].try_into().unwrap();
            // It has the bytes of the records at least, and those of the time and the tag.
            let text_bytes = (8 + 16 + usize::from(head[TEXT_AT - 4])).min(TEXT_BYTES);
            let text = head[TEXT_AT..TEXT_AT + text_bytes].to_vec();
            let before = seen.entry(nonce).or_insert_with(|| text.clone());
            // Of a write that was torn the end is still zeros.
            let same = before.iter().zip(&text).take_while(|(a, b)| a == b).count();
            let torn = |text: &[u8]| text[same..].iter().all(|byte| *byte == 0);
            assert!(
                torn(before) || torn(&text),
                "one number, two texts: {before:?} and {text:?}, {same} alike"
            );
            if torn(before) {
                *before = text;
            }
        }
    }
}

/// Enters what any file ever was.
fn enter_all(disk: &SimFs, seen: &mut BTreeMap<[u8; 12], Vec<u8>>) {
    for path in disk
        .files_at(disk.op_count())
        .into_iter()
        .chain(disk.files())
    {
        for op in disk.versions(&path) {
            enter(&disk.file_at(op, &path).unwrap_or_default(), seen);
        }
    }
}

/// With one number for two texts a cipher of this kind says that they are equal or not, and others give away
/// the texts: so each batch has a number of its own, also where the same place is written again, as after a
/// write that failed and was cut back, a full disk, a rewind, a file that came back, a carried end, a spare that
/// was begun twice, a copy. Where one is seen twice it is the same text, copied.
#[test]
fn is_no_number_used_for_two_texts() {
    let mut seen = BTreeMap::new();
    for number in 0..70 {
        let (disk, options, steps) = history(77, number);
        let options = sealed(options.segment_bytes(2048));
        let mut run = Run::new(disk, &options);
        run.step(&Open);
        run.steps(&steps);
        enter_all(&run.disk, &mut seen);
        // A write in it fails, is cut back, and tried again; then the end is torn off and carried.
        // (A disk of its own: the same seed would give the same numbers.)
        let disk = SimFs::new(0xD15C ^ (number << 20));
        let full = FaultRule::nth(OpKind::Write, 20, Fault::Error(Errno::Enospc)).times(3);
        disk.fail(full);
        let mut run = Run::new(disk, &options);
        run.step(&Open);
        run.steps(&steps);
        enter_all(&run.disk, &mut seen);
        let torn = Arc::new(run.disk.crash_at(run.disk.op_count()).random(number));
        if let Ok(log) = options.clone().vfs(torn.clone()).open(DIR) {
            log.append("behind what was carried").unwrap();
            log.rotate().unwrap();
            log.append("and in the next").unwrap();
        }
        enter_all(&torn, &mut seen);
    }
    assert!(seen.len() > 500, "{}", seen.len());
}

fn sealed_log(steps: &[Step]) -> crate::subject::Subject {
    let subject = subject_with(sealed(options(1280)), steps, true);
    let any = subject.files().into_iter().any(|(path, bytes)| {
        path.extension().is_some_and(|it| it == "seg")
            && bytes.get(12).is_some_and(|it| it & 8 != 0)
    });
    assert!(any, "something is sealed");
    subject
}

/// A bit costs a reader the batch that it is in, and is never a changed record.
#[test]
fn every_bit_of_a_sealed_log_is_guarded_or_harmless() {
    crate::bitflip::check_every_bit(&sealed_log(&three_segments()), 20_000, 3);
}

/// The same where packing and compaction have written anew: one batch for all of a segment.
#[test]
fn every_bit_of_a_log_packed_and_sealed_is_guarded_or_harmless() {
    let mut steps = vec![Open];
    for round in 0..12 {
        steps.extend([keyed(round % 3, 60), durable(90)]);
    }
    steps.extend([Pack, Compact, durable(25), Maintain]);
    let mut subject = sealed_log(&steps);
    let ends = subject.recs.iter().map(|rec| rec.seq + 1);
    subject.batches = std::iter::once(0..ends.max().expect("records")).collect();
    crate::bitflip::check_every_bit(&subject, 10_000, 4);
}

/// The checksum of a body that stands at an offset of a segment with this salt: `format.md`, "Checksums".
fn sum(body: &[u8], salt: u64, offset: u64) -> u32 {
    let place = salt ^ offset;
    let seed = (place as u32) ^ ((place >> 32) as u32) ^ 0x5041_434B;
    crc32c(seed, &body[4..])
}

/// Somebody changes a bit and makes the checksum right: no record of the batch is shown, and neither the bytes nor
/// the disk are blamed.
#[test]
fn is_a_bit_that_somebody_turned_who_can_sum_called_tampering() {
    let subject = sealed_log(&three_segments());
    let (mut tampered, mut refused) = (0, 0);
    for (id, path) in [
        (1, "00000000000000000001.seg"),
        (2, "00000000000000000002.seg"),
    ] {
        let path = Path::new(DIR).join(path);
        let disk: Arc<dyn Vfs> = Arc::new(subject.disk.snapshot());
        let options = subject.options.clone().vfs(disk);
        let (mut salt, mut batches) = (0, Vec::new());
        let mut last = None;
        let look = |item: Inspected<'_>| match item {
            Inspected::Header(header) => salt = header.salt,
            Inspected::Batch { offset, header } => last = Some((offset, header)),
            Inspected::Packed {
                head: StoredHead::Sealed(_),
                ..
            } => batches.extend(last),
            _ => {}
        };
        options.inspect(DIR, cairnlog::SegmentId(id), look).unwrap();
        for (offset, header) in batches {
            let start = offset as usize + BATCH_HEADER_BYTES;
            let end = start + header.body_bytes as usize;
            for bit in (4 * 8)..(header.body_bytes as usize * 8) {
                let disk = subject.disk.snapshot();
                let mut bytes = disk.read_file(&path).unwrap();
                bytes[start + bit / 8] ^= 1 << (bit % 8);
                let sum = sum(&bytes[start..end], salt, offset);
                bytes[start..start + 4].copy_from_slice(&sum.to_le_bytes());
                disk.write_file(&path, &bytes);
                let (one, other) = judge(&subject, disk, &header, bit);
                (tampered, refused) = (tampered + one, refused + other);
            }
        }
    }
    println!("{tampered} called tampering, {refused} refused otherwise");
    assert!(
        tampered > 3_000 && refused < tampered / 4,
        "{tampered}, {refused}"
    );
}

fn judge(
    subject: &crate::subject::Subject,
    disk: SimFs,
    batch: &BatchHeader,
    bit: usize,
) -> (u64, u64) {
    let log = subject
        .options
        .clone()
        .vfs(Arc::new(disk))
        .open(DIR)
        .unwrap();
    let (mut tampered, mut refused) = (0, 0);
    for want in &subject.recs {
        let inside = (batch.first_seq..batch.next_seq()).contains(&want.seq);
        match log.get(want.seq) {
            Ok(Some(got)) => {
                assert!(!inside, "bit {bit} went unnoticed");
                assert!(want.is(&got));
            }
            Ok(None) => panic!("bit {bit}: seq {} is silently gone", want.seq),
            Err(error) => {
                assert!(inside, "{error}");
                match error.kind() {
                    ErrorKind::Tampered => tampered += 1,
                    // Of another codec, cipher or key, or of a length that cannot be.
                    ErrorKind::Unsupported | ErrorKind::KeyMissing | ErrorKind::Damaged => {
                        refused += 1
                    }
                    kind => panic!("bit {bit}: {kind:?}"),
                }
            }
        }
    }
    (tampered, refused)
}
