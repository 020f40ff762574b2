//! The codecs of `engine/format/`: what goes in comes out; a flipped bit, a missing byte, another
//! place or another file is refused; no bytes make them panic.

use cairnlog::format::batch::{BATCH_HEADER_BYTES, COUNT_MAX, Records, cannot_be_header};
use cairnlog::format::cursor::{
    CURSOR_BYTES, CursorFile, NAME_BYTES_MAX, PENDING_BYTES, PENDING_MAX, Pending,
};
use cairnlog::format::footer::{FOOTER_BYTES, Footer, INDEX_ENTRY_BYTES, IndexEntry};
use cairnlog::format::header::{HEADER_BYTES, Origin, Predecessor};
use cairnlog::format::manifest::{
    FRAMES_END_MAX, MANIFEST_BYTES, SEALED_BYTES, SealedEntry, SpareEntry, TailEntry,
};
use cairnlog::format::packed::PackedHead;
use cairnlog::format::producers::{
    APPEND_BYTES, AppendEntry, EPOCH_CURSOR, PRODUCER_BYTES, PRODUCERS_BYTES, ProducerEntry,
    ProducersFile,
};
use cairnlog::format::record::{
    self, KEY_BYTES_MAX, Producer, RECORD_BYTES_MIN, RecordParts, RecordRef, VALUE_BYTES_MAX,
};
use cairnlog::format::{
    BatchHeader, Manifest, NUMBER_MAX, SegmentContext, SegmentHeader, WatermarkFile, crc32c, names,
};
use cairnlog::{Compression, Defect, LogId, Mark, SegmentId};
use proptest::collection::vec;
use proptest::prelude::*;

const CONTEXT: SegmentContext = SegmentContext {
    salt: 0x0123_4567_89ab_cdef,
    base_seq: 1000,
    base_timestamp_ms: 1_700_000_000_000,
    log_id: LogId([0; 16]),
};
const OFFSET: u64 = 4242;

// What a batch is made of, and how it is read back --------------------------------------------------

/// A record to be, as owned bytes.
#[derive(Clone, Debug, Default)]
struct Rec {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp_ms: Option<i64>,
    producer: Option<Producer>,
}

impl Rec {
    fn value(bytes: &[u8]) -> Self {
        Self {
            value: Some(bytes.to_vec()),
            ..Self::default()
        }
    }

    fn parts(&self) -> RecordParts<'_> {
        RecordParts {
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            timestamp_ms: self.timestamp_ms,
            producer: self.producer,
        }
    }

    fn is(&self, read: &RecordRef<'_>, batch: &BatchHeader) -> bool {
        (read.key, read.value, read.producer)
            == (self.key.as_deref(), self.value.as_deref(), self.producer)
            && read.timestamp_ms == self.timestamp_ms.unwrap_or(batch.timestamp_ms)
    }
}

/// A batch that starts at seq 1005 of [`CONTEXT`]; `deltas` make it sparse.
fn batch(records: &[Rec], deltas: Option<&[u32]>) -> (BatchHeader, Vec<u8>) {
    let first_seq = CONTEXT.base_seq + 5;
    let mut body = Vec::new();
    for (number, record) in records.iter().enumerate() {
        let delta = deltas.map(|deltas| deltas[number]);
        let seq = first_seq + delta.map_or(number as u64, u64::from);
        let before = body.len();
        record::encode(&mut body, CONTEXT.salt, seq, delta, &record.parts());
        let sparse_bytes = if deltas.is_some() { 4 } else { 0 };
        assert_eq!(
            body.len() - before,
            record.parts().frame_bytes() + sparse_bytes
        );
    }
    let header = BatchHeader {
        body_bytes: body.len() as u32,
        first_seq,
        durable_seq: first_seq - 3,
        timestamp_ms: CONTEXT.base_timestamp_ms + 17,
        count: records.len() as u32,
        sparse: deltas.is_some(),
        packed: false,
    };
    let bytes = [&header.encode(&CONTEXT, OFFSET)[..], &body].concat();
    (header, bytes)
}

/// Reads a batch the way everybody must: the header first, then exactly its body.
fn read<'a>(
    bytes: &'a [u8],
    context: &SegmentContext,
    offset: u64,
) -> Result<(BatchHeader, Vec<RecordRef<'a>>), Defect> {
    let header = BatchHeader::decode(bytes, context, offset)?;
    let available_bytes = bytes.len() as u64;
    let end = usize::try_from(header.batch_bytes()).unwrap();
    let truncated = Defect::Truncated {
        needed_bytes: header.batch_bytes(),
        available_bytes,
    };
    let body = bytes.get(BATCH_HEADER_BYTES..end).ok_or(truncated)?;
    let records: Result<Vec<_>, _> = Records::new(body, *context, header).collect();
    Ok((header, records?))
}

fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut other = bytes.to_vec();
    other[bit / 8] ^= 1 << (bit % 8);
    other
}

/// Every single-bit flip and every truncation is refused, and so are as many zeros.
fn refuses_all_damage<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, Defect>) {
    assert!(decode(bytes).is_ok());
    for bit in 0..bytes.len() * 8 {
        assert!(decode(&flip(bytes, bit)).is_err(), "bit {bit} flipped");
    }
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "cut to {len} bytes");
    }
    for len in 0..bytes.len() + 64 {
        assert!(decode(&vec![0; len]).is_err(), "{len} zeros");
    }
}

// Samples -------------------------------------------------------------------------------------------

fn rich_records() -> Vec<Rec> {
    let producer = Some(Producer {
        id: 3,
        epoch: 1,
        number: 99,
    });
    vec![
        Rec::value(b"plain"),
        Rec {
            key: Some(b"key".to_vec()),
            ..Rec::value(b"value")
        },
        Rec {
            key: Some(b"gone".to_vec()),
            ..Rec::default()
        },
        Rec {
            timestamp_ms: Some(-5),
            ..Rec::value(b"")
        },
        Rec {
            key: Some(vec![]),
            producer,
            timestamp_ms: Some(8),
            ..Rec::value(&[0; 9])
        },
    ]
}

fn sample_header() -> SegmentHeader {
    SegmentHeader {
        origin: Origin::Live,
        log_id: LogId([7; 16]),
        id: SegmentId(12),
        base_seq: 1000,
        salt: CONTEXT.salt,
        base_timestamp_ms: CONTEXT.base_timestamp_ms,
        predecessor: Some(Predecessor {
            id: SegmentId(11),
            salt: 5,
            frames_end: 9000,
            next_seq: 1000,
            checksum: 0xdead_beef,
        }),
        durable_seq: 990,
        appends_from: None,
        recycled: false,
        packed: false,
        sealed: false,
        packed_appends: false,
    }
}

fn sample_footer() -> (Footer, Vec<IndexEntry>) {
    let index = vec![
        IndexEntry {
            seq_delta: 0,
            offset: 128,
        },
        IndexEntry {
            seq_delta: 40,
            offset: 5000,
        },
    ];
    let footer = Footer {
        entry_count: 2,
        record_count: 80,
        tombstone_count: 3,
        keyed_count: 50,
        first_seq: 1000,
        next_seq: 1080,
        min_timestamp_ms: -1,
        max_timestamp_ms: 99,
        frames_end: 9500,
        segment_checksum: 0x1234_5678,
    };
    (footer, index)
}

fn sealed(id: u64, base_seq: u64, next_seq: u64) -> SealedEntry {
    SealedEntry {
        id: SegmentId(id),
        salt: id * 77,
        base_seq,
        next_seq,
        frames_end: 4096,
        max_timestamp_ms: 5,
        record_count: 10,
        tombstone_count: 1,
        keyed_count: 7,
        compacted: id == 4,
        packed: id == 5,
        far: false,
    }
}

fn sample_manifest() -> Manifest {
    Manifest {
        log_id: LogId([7; 16]),
        incarnation: 0x1234_5678,
        write_features: 0,
        generation: 40,
        created_ms: 1_600_000_000_000,
        head_seq: 3,
        next_segment_id: SegmentId(14),
        durable_seq: 1001,
        durable_end: 170,
        clean: true,
        has_ledger: true,
        sealed: vec![sealed(9, 0, 500), sealed(4, 500, 900)],
        tail: TailEntry {
            id: SegmentId(12),
            salt: 8,
            base_seq: 1000,
        },
        marks: Vec::new(),
        spare: Some(SpareEntry {
            id: SegmentId(13),
            salt: 9,
            recycled: false,
        }),
    }
}

fn sample_cursor() -> CursorFile {
    CursorFile {
        log_id: LogId([7; 16]),
        incarnation: 0x1234_5678,
        id: 2,
        seq: 77,
        as_of_seq: 90,
        generation: 5,
        updated_ms: 1_700_000_000_000,
        holds: true,
        name: "mail – out".into(),
        pending: vec![
            pending(77, 1, false),
            Pending {
                done_by_move: true,
                round: 0xab_cdef,
                ..pending(80, 5, true)
            },
        ],
    }
}

fn pending(seq: u64, delivery_count: u32, acked: bool) -> Pending {
    Pending {
        seq,
        delivery_count,
        acked,
        ..Pending::default()
    }
}

fn producer(id: u64, epoch: u32, appends: &[(u64, u64, u32)]) -> ProducerEntry {
    let entry = |(number, first_seq, count): &(u64, u64, u32)| AppendEntry {
        number: *number,
        first_seq: *first_seq,
        count: *count,
    };
    ProducerEntry {
        id,
        epoch,
        forgotten: None,
        appends: appends.iter().map(entry).collect(),
    }
}

fn sample_producers() -> ProducersFile {
    ProducersFile {
        log_id: LogId([7; 16]),
        incarnation: 0x1234_5678,
        as_of_seq: 100,
        end_seq: 97,
        tail_id: SegmentId(9),
        producers: vec![
            ProducerEntry {
                forgotten: Some(4),
                ..producer(2, 1, &[(5, 40, 3), (9, 96, 1)])
            },
            producer(8, 3, &[]),
            producer(1, EPOCH_CURSOR, &[(50, 41, 1), (30, 97, 3)]),
        ],
    }
}

fn sample_watermark() -> WatermarkFile {
    WatermarkFile {
        log_id: LogId([7; 16]),
        incarnation: 0x1234_5678,
        durable_seq: 1044,
        generation: 30,
    }
}

// Damage --------------------------------------------------------------------------------------------

#[test]
fn is_it_crc32c_at_every_length_wherever_the_bytes_lie() {
    let bit_by_bit = |seed: u32, bytes: &[u8]| {
        let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
        !bytes.iter().fold(!seed, byte)
    };
    let bytes: Vec<u8> = (0..900u32).map(|at| (at * at / 7 + at) as u8).collect();
    for start in 0..9 {
        for end in (start..=bytes.len()).filter(|end| end - start < 40 || end % 61 == 0) {
            let (seed, part) = (0x1234_5678 ^ end as u32, &bytes[start..end]);
            assert_eq!(crc32c(seed, part), bit_by_bit(seed, part), "{start}..{end}");
        }
    }
    assert_eq!(
        crc32c(0, b"123456789"),
        0xe306_9283,
        "the check value of the standard"
    );
}

#[test]
fn a_damaged_segment_header_is_refused() {
    refuses_all_damage(&sample_header().encode(), SegmentHeader::decode);
}

#[test]
fn a_damaged_batch_is_refused() {
    let decode = |bytes: &[u8]| read(bytes, &CONTEXT, OFFSET).map(|_| ());
    refuses_all_damage(&batch(&rich_records(), None).1, decode);
    refuses_all_damage(
        &batch(&rich_records(), Some(&[0, 2, 3, 900, u32::MAX])).1,
        decode,
    );
    refuses_all_damage(&batch(&[Rec::value(b"")], None).1, decode);
    refuses_all_damage(&batch(&[], None).1, decode);
}

#[test]
fn a_damaged_footer_is_refused_and_so_is_its_index() {
    let (footer, index) = sample_footer();
    refuses_all_damage(&footer.encode(&CONTEXT, &index), |bytes| {
        Footer::decode(bytes, &CONTEXT, footer.frames_end)?
            .verify_index(bytes, &CONTEXT)
            .map(|index| index.to_vec())
    });
}

#[test]
fn a_damaged_manifest_is_refused() {
    refuses_all_damage(&sample_manifest().encode(), Manifest::decode);
    let without = Manifest {
        sealed: vec![],
        spare: None,
        ..sample_manifest()
    };
    refuses_all_damage(&without.encode(), Manifest::decode);
    let marked = Manifest {
        marks: vec![Mark::new("snapshot", ""), Mark::new("vote", "term 7")],
        ..sample_manifest()
    };
    refuses_all_damage(&marked.encode(), Manifest::decode);
    let longer = [sample_manifest().encode(), vec![0]].concat();
    assert!(matches!(
        Manifest::decode(&longer),
        Err(Defect::Truncated { .. })
    ));
}

#[test]
fn a_damaged_cursor_is_refused() {
    refuses_all_damage(&sample_cursor().encode(), CursorFile::decode);
    let longer = [sample_cursor().encode(), b"x".to_vec()].concat();
    assert!(matches!(
        CursorFile::decode(&longer),
        Err(Defect::Truncated { .. })
    ));
}

#[test]
fn a_damaged_watermark_is_refused() {
    refuses_all_damage(&sample_watermark().encode(), WatermarkFile::decode);
}

#[test]
fn damaged_producers_are_refused() {
    refuses_all_damage(&sample_producers().encode(), ProducersFile::decode);
    let longer = [sample_producers().encode(), vec![0; 24]].concat();
    assert!(matches!(
        ProducersFile::decode(&longer),
        Err(Defect::Truncated { .. })
    ));
}

#[test]
fn a_cursor_that_contradicts_itself_is_refused_under_a_right_checksum() {
    let with = |pending: Vec<Pending>| CursorFile {
        pending,
        ..sample_cursor()
    };
    let refused = Err(Defect::Malformed("cursor: pending records"));
    let below = with(vec![pending(76, 1, false)]);
    assert_eq!(CursorFile::decode(&below.encode()), refused);
    let twice = with(vec![pending(80, 1, false), pending(80, 1, true)]);
    assert_eq!(CursorFile::decode(&twice.encode()), refused);
    let last = with(vec![pending(NUMBER_MAX - 1, 1, false)]);
    assert_eq!(CursorFile::decode(&last.encode()), Ok(last));
    let beyond = with(vec![pending(NUMBER_MAX, 1, false)]);
    assert_eq!(CursorFile::decode(&beyond.encode()), refused);
    let many = |count: usize| (0..count as u64).map(|at| pending(80 + at, 1, false));
    let full = with(many(PENDING_MAX).collect());
    assert_eq!(CursorFile::decode(&full.encode()), Ok(full.clone()));
    // One more, put behind by hand.
    let mut bytes = full.encode();
    bytes.extend_from_slice(&[255; 16]);
    bytes[76..80].copy_from_slice(&(PENDING_MAX as u32 + 1).to_le_bytes());
    resum_around(&mut bytes, 0x4355_5253, CURSOR_BYTES);
    assert_eq!(CursorFile::decode(&bytes), refused);
    let mut bytes = sample_cursor().encode();
    bytes[CURSOR_BYTES] = 7; // A control character.
    resum_around(&mut bytes, 0x4355_5253, CURSOR_BYTES);
    assert_eq!(
        CursorFile::decode(&bytes),
        Err(Defect::Malformed("cursor name"))
    );
}

#[test]
fn producers_that_contradict_themselves_are_refused_under_a_right_checksum() {
    let refused = |change: fn(&mut ProducersFile)| {
        let mut file = sample_producers();
        change(&mut file);
        match ProducersFile::decode(&file.encode()) {
            Err(Defect::Malformed(what)) => what,
            other => panic!("{other:?}"),
        }
    };
    type Case<'a> = (fn(&mut ProducersFile), &'a str);
    let cases: [Case<'_>; 9] = [
        (|it| it.end_seq = 101, "producers: end"),
        (|it| it.producers.swap(0, 1), "producers: order"),
        (|it| it.producers.swap(1, 2), "producers: order"),
        (|it| it.producers[1].id = 2, "producers: order"),
        (
            |it| it.producers[0].forgotten = Some(5),
            "producers: order of numbers",
        ),
        (
            |it| it.producers[0].appends.swap(0, 1),
            "producers: seqs of an append",
        ),
        (
            |it| it.producers[0].appends[0].count = 0,
            "producers: seqs of an append",
        ),
        (
            |it| it.producers[0].appends[1].count = 5,
            "producers: seqs of an append",
        ),
        (
            |it| it.producers[0].appends[1].first_seq = u64::MAX,
            "producers: seqs of an append",
        ),
    ];
    for (number, (change, want)) in cases.into_iter().enumerate() {
        assert_eq!(refused(change), want, "case {number}");
    }
    // Lists of the right length that do not agree on how long each is.
    let mut bytes = sample_producers().encode();
    for (count, _) in [(1, "fewer"), (u32::MAX, "more")] {
        bytes[PRODUCERS_BYTES + 12..PRODUCERS_BYTES + 16].copy_from_slice(&count.to_le_bytes());
        resum_around(&mut bytes, 0x5052_4f44, PRODUCERS_BYTES);
        assert!(ProducersFile::decode(&bytes).is_err(), "{count}");
    }
}

/// Makes the checksum right that ends the fixed part and covers all but itself.
fn resum_around(bytes: &mut [u8], seed: u32, fixed_bytes: usize) {
    let at = fixed_bytes - 4;
    let sum = crc32c(crc32c(seed, &bytes[..at]), &bytes[fixed_bytes..]);
    bytes[at..fixed_bytes].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn zeros_are_called_zeros() {
    assert_eq!(
        SegmentHeader::decode(&[0; HEADER_BYTES]),
        Err(Defect::Zeroed)
    );
    assert_eq!(
        BatchHeader::decode(&[0; 99], &CONTEXT, 128),
        Err(Defect::Zeroed)
    );
    assert_eq!(
        Footer::decode(&[0; FOOTER_BYTES], &CONTEXT, 128),
        Err(Defect::Zeroed)
    );
    assert_eq!(Manifest::decode(&[0; MANIFEST_BYTES]), Err(Defect::Zeroed));
    assert_eq!(CursorFile::decode(&[0; 200]), Err(Defect::Zeroed));
    assert_eq!(WatermarkFile::decode(&[0; 200]), Err(Defect::Zeroed));
    assert_eq!(ProducersFile::decode(&[0; 200]), Err(Defect::Zeroed));
    assert!(cannot_be_header(&[0; 24]));
}

/// The seed with which the CRC of this many zero bytes is zero: the register run backwards.
fn seed_that_likes_zeros(len: usize) -> u32 {
    let mut register = u32::MAX;
    for _ in 0..len * 8 {
        let low = register >> 31;
        register = ((register ^ (0x82F6_3B78 * low)) << 1) | low;
    }
    let seed = register ^ u32::MAX;
    assert_eq!(crc32c(seed, &vec![0; len]), 0);
    seed
}

/// One salt in four billion makes the checksum of zeros zero at some place. The bits that are
/// always set refuse zeros there too.
#[test]
fn zeros_are_refused_even_where_their_checksum_is_zero() {
    let (batch_kind, record_kind) = (0x4254_4348, 0x5243_5244);
    let (header, _) = batch(&[Rec::value(b"")], None);
    let salted = |kind: u32, seed: u32, place: u64| {
        let salt = u64::from(kind ^ seed) ^ place;
        SegmentContext { salt, ..CONTEXT }
    };
    let context = salted(batch_kind, seed_that_likes_zeros(20), OFFSET);
    assert_eq!(
        BatchHeader::decode(&[0; 24], &context, OFFSET),
        Err(Defect::Zeroed)
    );
    let context = salted(record_kind, seed_that_likes_zeros(4), header.first_seq);
    let read = record::decode(&[0; 8], &context, &header, header.first_seq);
    assert_eq!(read.map(|_| ()), Err(Defect::Malformed("record marker")));
}

// Place ---------------------------------------------------------------------------------------------

#[test]
fn a_batch_at_another_offset_is_refused() {
    let (_, bytes) = batch(&rich_records(), None);
    for offset in (0..10_000)
        .chain((0..32).map(|bit| OFFSET ^ 1 << bit))
        .filter(|it| *it != OFFSET)
    {
        assert!(
            BatchHeader::decode(&bytes, &CONTEXT, offset).is_err(),
            "offset {offset}"
        );
    }
}

#[test]
fn frames_of_another_incarnation_of_the_file_are_refused() {
    let (header, bytes) = batch(&rich_records(), None);
    for bit in 0..64 {
        let stale = SegmentContext {
            salt: CONTEXT.salt ^ 1 << bit,
            ..CONTEXT
        };
        assert!(
            BatchHeader::decode(&bytes, &stale, OFFSET).is_err(),
            "salt bit {bit}"
        );
        // Even under a header that verifies, the records do not.
        let body = &bytes[BATCH_HEADER_BYTES..];
        assert!(
            Records::new(body, stale, header).next().unwrap().is_err(),
            "salt bit {bit}"
        );
    }
}

#[test]
fn records_under_another_seq_are_refused() {
    let (header, bytes) = batch(&rich_records(), None);
    let body = &bytes[BATCH_HEADER_BYTES..];
    for shift in (1..5000).chain((0..32).map(|bit| 1 << bit)) {
        let shifted = BatchHeader {
            first_seq: header.first_seq + shift,
            ..header
        };
        assert!(
            Records::new(body, CONTEXT, shifted)
                .next()
                .unwrap()
                .is_err(),
            "shifted by {shift}"
        );
    }
    // Nor does one record stand in for its neighbour.
    let same = [Rec::value(b"a"), Rec::value(b"b")];
    let (_, mut bytes) = batch(&same, None);
    let (first, second) = bytes[BATCH_HEADER_BYTES..].split_at_mut(RECORD_BYTES_MIN + 1);
    first.swap_with_slice(second);
    assert!(read(&bytes, &CONTEXT, OFFSET).is_err());
}

#[test]
fn a_footer_of_another_end_or_file_is_refused() {
    let (footer, index) = sample_footer();
    let bytes = footer.encode(&CONTEXT, &index);
    for frames_end in (128..10_000).filter(|it| *it != footer.frames_end) {
        assert!(Footer::decode(&bytes, &CONTEXT, frames_end).is_err());
    }
    let stale = SegmentContext { salt: 1, ..CONTEXT };
    assert!(Footer::decode(&bytes, &stale, footer.frames_end).is_err());
    assert!(footer.verify_index(&bytes, &stale).is_err());
}

// Values that no writer produces, under checksums that hold --------------------------------------------

/// Puts a right checksum on bytes that were changed.
fn resum(bytes: &mut [u8], seed: u32, end: usize) {
    let sum = crc32c(seed, &bytes[..end]);
    bytes[end..end + 4].copy_from_slice(&sum.to_le_bytes());
}

fn batch_seed() -> u32 {
    let x = CONTEXT.salt ^ OFFSET;
    x as u32 ^ (x >> 32) as u32 ^ 0x4254_4348
}

#[test]
fn a_batch_header_that_contradicts_itself_is_refused_under_a_right_checksum() {
    let (header, bytes) = batch(&rich_records(), None);
    let with = |at: usize, word: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        let sum = crc32c(batch_seed(), &bytes[4..24]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        BatchHeader::decode(&bytes, &CONTEXT, OFFSET)
    };
    let (pattern, sparse, watermark) = (0xA000_0000, 1 << 24, 1 << 25);
    let body_bytes = header.body_bytes;
    assert_eq!(with(20, pattern | header.count), Ok(header));
    for word in [
        header.count,                             // no pattern
        pattern | 1 << 26 | watermark,            // a packed watermark
        pattern | 1 << 30 | header.count,         // another pattern
        pattern | watermark | header.count,       // a watermark with records
        pattern,                                  // no records and no watermark
        pattern | watermark | sparse,             // a sparse watermark
        pattern | (body_bytes / 8 + 1),           // more records than the body can hold
        pattern | sparse | (body_bytes / 12 + 1), // also when sparse
        pattern | COUNT_MAX,
    ] {
        assert!(
            matches!(with(20, word), Err(Defect::Malformed(_))),
            "{word:#x}"
        );
    }
    // Its header goes on: for a later version to read. The one with a body has an annex.
    let extended = with(20, pattern | 1 << 27 | header.count);
    assert_eq!(extended, Err(Defect::UnknownExtension));
    let annex = with(20, pattern | watermark).expect("a header");
    assert_eq!((annex.count, annex.body_bytes), (0, body_bytes));
    let short = BatchHeader {
        body_bytes: 7,
        count: 0,
        ..header
    };
    let short = BatchHeader::decode(&short.encode(&CONTEXT, OFFSET), &CONTEXT, OFFSET);
    assert_eq!(short, Err(Defect::Malformed("batch counts")));
    assert_eq!(
        with(12, 2000),
        Err(Defect::Malformed("batch seq")),
        "durable below zero"
    );
    let high = SegmentContext {
        base_seq: u64::MAX - 4,
        ..CONTEXT
    };
    for (first, defect) in [(5, "batch seq"), (1, "batch counts")] {
        let mut bytes = bytes.clone();
        bytes[8..12].copy_from_slice(&u32::to_le_bytes(first));
        let sum = crc32c(batch_seed(), &bytes[4..24]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(
            BatchHeader::decode(&bytes, &high, OFFSET),
            Err(Defect::Malformed(defect))
        );
    }
}

#[test]
fn a_record_that_contradicts_itself_is_refused_under_a_right_checksum() {
    let (header, _) = batch(&[Rec::value(b"")], None);
    let decode = |meta: u32, rest: &[u8]| {
        let frame = [&meta.to_le_bytes()[..], rest].concat();
        let x = CONTEXT.salt ^ header.first_seq;
        let seed = x as u32 ^ (x >> 32) as u32 ^ 0x5243_5244;
        let frame = [&crc32c(seed, &frame).to_le_bytes()[..], &frame].concat();
        record::decode(&frame, &CONTEXT, &header, header.first_seq).map(|(_, bytes)| bytes)
    };
    let (key, tombstone, marker) = (1 << 27, 1 << 28, 1 << 31);
    assert_eq!(decode(marker | 1, b"v"), Ok(9));
    assert_eq!(decode(1, b"v"), Err(Defect::Malformed("record marker")));
    assert_eq!(
        decode(marker | tombstone, b""),
        Err(Defect::Malformed("tombstone"))
    );
    assert_eq!(
        decode(marker | tombstone | key | 1, b"\0\0v"),
        Err(Defect::Malformed("tombstone"))
    );
    assert_eq!(decode(marker | tombstone | key, b"\0\0"), Ok(10));
    assert!(matches!(
        decode(marker | 2, b"v"),
        Err(Defect::Truncated { .. })
    ));
    assert!(matches!(
        decode(marker | key, b"\xff\xff"),
        Err(Defect::Truncated { .. })
    ));
}

#[test]
fn sparse_records_must_rise() {
    for deltas in [[0, 0, 1, 2, 3], [5, 4, 6, 7, 8], [0, 1, 2, 3, 3]] {
        let (_, bytes) = batch(&rich_records(), Some(&deltas));
        assert!(
            matches!(
                read(&bytes, &CONTEXT, OFFSET),
                Err(Defect::SequenceGap { .. })
            ),
            "{deltas:?}"
        );
    }
}

#[test]
fn a_body_longer_or_shorter_than_its_records_is_refused() {
    let (header, bytes) = batch(&rich_records(), None);
    let body = &bytes[BATCH_HEADER_BYTES..];
    let longer = [body, &[0]].concat();
    let last = Records::new(&longer, CONTEXT, header).last();
    assert_eq!(last, Some(Err(Defect::Malformed("batch length"))));
    let one_more = BatchHeader {
        count: header.count + 1,
        ..header
    };
    assert!(matches!(
        Records::new(body, CONTEXT, one_more).last(),
        Some(Err(Defect::Truncated { .. }))
    ));
}

#[test]
fn later_versions_and_features_are_refused_by_name_and_optional_ones_read() {
    let sum_header = |bytes: &mut Vec<u8>| resum(bytes, 0x4845_4144, 124);
    let sum_manifest = |bytes: &mut Vec<u8>| resum(bytes, 0x4d41_4e49, 140);
    let sum_cursor = |bytes: &mut Vec<u8>| resum_around(bytes, 0x4355_5253, CURSOR_BYTES);
    let sum_producers = |bytes: &mut Vec<u8>| resum_around(bytes, 0x5052_4f44, PRODUCERS_BYTES);
    let header = |at: usize| {
        changed(
            sample_header().encode(),
            at,
            sum_header,
            SegmentHeader::decode,
        )
    };
    let manifest = |at: usize| {
        changed(
            sample_manifest().encode(),
            at,
            sum_manifest,
            Manifest::decode,
        )
    };
    let cursor = |at: usize| changed(sample_cursor().encode(), at, sum_cursor, CursorFile::decode);
    let sum_watermark = |bytes: &mut Vec<u8>| resum(bytes, 0x574d_524b, 52);
    let watermark = |at: usize| {
        changed(
            sample_watermark().encode(),
            at,
            sum_watermark,
            WatermarkFile::decode,
        )
    };
    assert_eq!(watermark(8), Err(Defect::UnknownVersion(0x81)));
    assert_eq!(watermark(15), Err(Defect::UnknownFeature(0x8000_0000)));
    for at in [10, 11] {
        assert_eq!(watermark(at), Ok(sample_watermark()), "byte {at}");
    }
    let producers = |at: usize| {
        let bytes = sample_producers().encode();
        changed(bytes, at, sum_producers, ProducersFile::decode)
    };
    assert_eq!(producers(8), Err(Defect::UnknownVersion(0x81)));
    assert_eq!(producers(15), Err(Defect::UnknownFeature(0x8000_0000)));
    for at in [PRODUCERS_BYTES + 25, PRODUCERS_BYTES + 31] {
        assert_eq!(producers(at), Ok(sample_producers()), "byte {at}");
    }
    assert_eq!(header(8), Err(Defect::UnknownVersion(0x81)));
    assert_eq!(manifest(8), Err(Defect::UnknownVersion(0x81)));
    assert_eq!(cursor(8), Err(Defect::UnknownVersion(0x81)));
    assert_eq!(header(15), Err(Defect::UnknownFeature(0x8000_0000)));
    assert_eq!(manifest(15), Err(Defect::UnknownFeature(0x8000_0000)));
    assert_eq!(cursor(15), Err(Defect::UnknownFeature(0x8000_0000)));
    // Reserved bytes, optional features, unknown flags.
    for at in [10, 11, 16, 19, 120, 123] {
        assert_eq!(header(at), Ok(sample_header()), "byte {at}");
    }
    for at in [21, 23] {
        assert_eq!(manifest(at), Ok(sample_manifest()), "byte {at}");
    }
    assert_eq!(cursor(73), Ok(sample_cursor()));
    // And damage is called damage, whatever it makes of the version.
    assert!(matches!(
        SegmentHeader::decode(&flip(&sample_header().encode(), 64)),
        Err(Defect::BadChecksum { .. })
    ));
}

/// Decodes bytes with the highest bit of one of them changed and the checksum made right again.
fn changed<T>(
    mut bytes: Vec<u8>,
    at: usize,
    sum: impl Fn(&mut Vec<u8>),
    decode: impl Fn(&[u8]) -> Result<T, Defect>,
) -> Result<T, Defect> {
    bytes[at] ^= 0x80;
    sum(&mut bytes);
    decode(&bytes)
}

#[test]
fn a_segment_header_of_no_origin_or_id_is_refused_under_a_right_checksum() {
    let sum = |bytes: &mut Vec<u8>| resum(bytes, 0x4845_4144, 124);
    let origin = changed(sample_header().encode(), 20, sum, SegmentHeader::decode);
    assert_eq!(origin, Err(Defect::Malformed("segment origin")));
    let nameless = SegmentHeader {
        id: SegmentId(0),
        ..sample_header()
    };
    assert_eq!(
        SegmentHeader::decode(&nameless.encode()),
        Err(Defect::Malformed("segment id"))
    );
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused_under_right_checksums() {
    let refused = |change: fn(&mut Manifest)| {
        let mut manifest = sample_manifest();
        change(&mut manifest);
        matches!(
            Manifest::decode(&manifest.encode()),
            Err(Defect::Malformed(_))
        )
    };
    assert!(!refused(|_| {}));
    assert!(refused(|it| it.tail.id = SegmentId(0)));
    assert!(refused(|it| it.sealed[1].id = SegmentId(0)));
    assert!(refused(|it| it.tail.id = it.next_segment_id));
    assert!(refused(|it| it.spare = Some(SpareEntry {
        id: SegmentId(14),
        salt: 0,
        recycled: false
    })));
    assert!(refused(|it| it.spare = Some(SpareEntry {
        id: it.tail.id,
        salt: 0,
        recycled: false
    })));
    assert!(refused(|it| it.sealed[0].id = it.sealed[1].id));
    assert!(refused(|it| it.sealed.swap(0, 1)));
    assert!(refused(|it| it.sealed[1].base_seq = 499));
    assert!(refused(|it| it.sealed[1].next_seq = 499));
    assert!(refused(|it| it.tail.base_seq = 899));
    assert!(refused(|it| it.sealed[0].frames_end = 127));
    // Gaps between segments are in order: rewind and compaction leave them.
    assert!(!refused(|it| it.sealed[1].base_seq = 700));
}

#[test]
fn counts_on_disk_allocate_nothing() {
    let mut manifest = sample_manifest().encode();
    manifest[80..84].copy_from_slice(&u32::MAX.to_le_bytes());
    resum(&mut manifest, 0x4d41_4e49, 140);
    assert!(matches!(
        Manifest::decode(&manifest),
        Err(Defect::Truncated { .. })
    ));

    let (footer, index) = sample_footer();
    let footer = Footer {
        entry_count: u32::MAX,
        ..footer
    };
    let bytes = footer.encode(&CONTEXT, &index);
    let needed_bytes = FOOTER_BYTES as u64 + u64::from(u32::MAX) * INDEX_ENTRY_BYTES as u64;
    let available_bytes = bytes.len() as u64;
    assert_eq!(
        footer.verify_index(&bytes, &CONTEXT),
        Err(Defect::Truncated {
            needed_bytes,
            available_bytes
        })
    );

    let header = BatchHeader {
        body_bytes: u32::MAX,
        first_seq: 1000,
        durable_seq: 1000,
        timestamp_ms: CONTEXT.base_timestamp_ms,
        count: COUNT_MAX,
        sparse: false,
        packed: false,
    };
    let bytes = header.encode(&CONTEXT, OFFSET);
    assert_eq!(BatchHeader::decode(&bytes, &CONTEXT, OFFSET), Ok(header));
    let first = Records::new(&[], CONTEXT, header).next().unwrap();
    assert!(matches!(first, Err(Defect::Truncated { .. })));
}

// Limits and cost -----------------------------------------------------------------------------------

#[test]
fn extreme_records_come_back() {
    let producer = Some(Producer {
        id: u64::MAX,
        epoch: u32::MAX - 1,
        number: u64::MAX,
    });
    let records = [
        Rec {
            key: Some(vec![0xff; KEY_BYTES_MAX]),
            ..Rec::default()
        },
        Rec {
            key: Some(vec![]),
            ..Rec::default()
        },
        Rec {
            key: Some(vec![]),
            ..Rec::value(b"")
        },
        Rec {
            timestamp_ms: Some(i64::MAX),
            ..Rec::value(b"")
        },
        Rec {
            timestamp_ms: Some(i64::MIN),
            ..Rec::value(b"")
        },
        Rec {
            producer,
            ..Rec::value(&[0; 100_000])
        },
    ];
    let (header, bytes) = batch(&records, None);
    let (_, read) = read(&bytes, &CONTEXT, OFFSET).unwrap();
    assert!(
        records
            .iter()
            .zip(&read)
            .all(|(was, is)| was.is(is, &header))
            && read.len() == 6
    );
}

/// The longest value needs no value that long to be stated: the length is read, and refused for
/// want of bytes. One more byte does not fit into its bits.
#[test]
fn the_longest_value_is_the_longest_that_its_bits_can_state() {
    let (header, _) = batch(&[Rec::value(b"")], None);
    let meta = 1u32 << 31 | VALUE_BYTES_MAX as u32;
    let frame = [&[0; 4][..], &meta.to_le_bytes()].concat();
    let needed_bytes = (RECORD_BYTES_MIN + VALUE_BYTES_MAX) as u64;
    assert_eq!(
        record::decode(&frame, &CONTEXT, &header, header.first_seq).map(|_| ()),
        Err(Defect::Truncated {
            needed_bytes,
            available_bytes: 8
        })
    );
    assert_eq!((VALUE_BYTES_MAX as u32 + 1).count_ones(), 1);
    assert_eq!(KEY_BYTES_MAX, usize::from(u16::MAX));
}

#[test]
fn times_and_seqs_at_the_edge_of_a_segment_come_back() {
    for (base_timestamp_ms, timestamp_ms, fits) in [
        (0, i64::from(i32::MAX), true),
        (0, i64::from(i32::MIN), true),
        (0, i64::from(i32::MAX) + 1, false),
        (0, i64::from(i32::MIN) - 1, false),
        (i64::MAX, i64::MAX, true),
        (i64::MIN, i64::MIN, true),
        (i64::MAX, i64::MIN, false),
        (i64::MIN, i64::MAX, false),
        (-1, i64::MAX, false),
    ] {
        let context = SegmentContext {
            base_timestamp_ms,
            ..CONTEXT
        };
        assert_eq!(
            BatchHeader::timestamp_fits(&context, timestamp_ms),
            fits,
            "{timestamp_ms}"
        );
        let first_seq = context.base_seq + u64::from(u32::MAX);
        let durable_seq = first_seq - u64::from(u32::MAX);
        let header = BatchHeader {
            body_bytes: 0,
            first_seq,
            durable_seq,
            timestamp_ms,
            count: 0,
            sparse: false,
            packed: false,
        };
        let back =
            BatchHeader::decode(&header.encode(&context, 1 << 40), &context, 1 << 40).unwrap();
        assert_eq!(
            back == header,
            fits,
            "{timestamp_ms} from {base_timestamp_ms}"
        );
    }
}

#[test]
fn framing_costs_what_the_page_says() {
    let cost = |count: usize, record: &Rec, payload_bytes: usize, deltas: Option<&[u32]>| {
        let (_, bytes) = batch(&vec![record.clone(); count], deltas);
        (bytes.len() - count * payload_bytes) as f64 / count as f64
    };
    let exact = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let plain = Rec::value(b"payload");
    assert!(exact(cost(1, &plain, 7, None), 32.0));
    for count in 1..200 {
        let each = cost(count, &plain, 7, None);
        assert!(exact(each, 8.0 + 24.0 / count as f64));
        assert!(
            count < 6 || each <= 12.0,
            "{each} bytes each in a batch of {count}"
        );
    }
    let keyed = Rec {
        key: Some(b"key".to_vec()),
        ..plain.clone()
    };
    assert!(exact(cost(1, &keyed, 10, None), 34.0));
    assert!(exact(
        cost(
            1,
            &Rec {
                timestamp_ms: Some(1),
                ..plain.clone()
            },
            7,
            None
        ),
        40.0
    ));
    let producer = Some(Producer {
        id: 1,
        epoch: 1,
        number: 1,
    });
    assert!(exact(
        cost(
            1,
            &Rec {
                producer,
                ..plain.clone()
            },
            7,
            None
        ),
        52.0
    ));
    assert!(exact(cost(1, &plain, 7, Some(&[0])), 36.0));
    assert!(exact(cost(6, &keyed, 10, None), 14.0));
    assert_eq!(batch(&[], None).1.len(), 24, "a watermark");
}

/// Makes the entries of a list longer, as a later version may: what it puts behind the known fields is
/// skipped.
fn with_longer_entries(list: &[u8], bytes_of_1: usize, longer: usize) -> Vec<u8> {
    let longer = |entry: &[u8]| [entry, &vec![0xAB; longer - bytes_of_1]].concat();
    list.chunks(bytes_of_1).flat_map(longer).collect()
}

#[test]
fn entries_that_a_later_version_made_longer_are_read_as_far_as_they_are_known() {
    let manifest = sample_manifest();
    let bytes = manifest.encode();
    let (head, entries) = bytes.split_at(MANIFEST_BYTES);
    let mut head = head.to_vec();
    let entries = with_longer_entries(entries, SEALED_BYTES, 80);
    head[10..12].copy_from_slice(&80u16.to_le_bytes());
    head[84..88].copy_from_slice(&crc32c(0x4d45_4e54, &entries).to_le_bytes());
    let crc = crc32c(0x4d41_4e49, &head[..140]);
    head[140..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Manifest::decode(&[head, entries].concat()), Ok(manifest));

    let producers = sample_producers();
    let bytes = producers.encode();
    let lists = PRODUCERS_BYTES + producers.producers.len() * PRODUCER_BYTES;
    let mut longer = bytes[..PRODUCERS_BYTES].to_vec();
    longer.extend(with_longer_entries(
        &bytes[PRODUCERS_BYTES..lists],
        PRODUCER_BYTES,
        40,
    ));
    longer.extend(with_longer_entries(&bytes[lists..], APPEND_BYTES, 48));
    longer[10..12].copy_from_slice(&[5, 6]);
    resum_around(&mut longer, 0x5052_4f44, PRODUCERS_BYTES);
    assert_eq!(ProducersFile::decode(&longer), Ok(producers));
    longer[10] = 3; // Smaller than what is known.
    longer.truncate(PRODUCERS_BYTES);
    longer[56..64].fill(0);
    resum_around(&mut longer, 0x5052_4f44, PRODUCERS_BYTES);
    let refused = Err(Defect::Malformed("size of an entry"));
    assert_eq!(ProducersFile::decode(&longer), refused);

    let cursor = sample_cursor();
    let bytes = cursor.encode();
    let pending = CURSOR_BYTES + cursor.name.len();
    let mut longer = bytes[..pending].to_vec();
    longer.extend(with_longer_entries(&bytes[pending..], PENDING_BYTES, 21));
    longer[74..76].copy_from_slice(&21u16.to_le_bytes());
    resum_around(&mut longer, 0x4355_5253, CURSOR_BYTES);
    assert_eq!(CursorFile::decode(&longer), Ok(cursor));

    let (footer, index) = sample_footer();
    let bytes = footer.encode(&CONTEXT, &index);
    let (head, entries) = bytes.split_at(FOOTER_BYTES);
    let mut head = head.to_vec();
    let long = with_longer_entries(entries, INDEX_ENTRY_BYTES, 12);
    let seed = |constant: u32| {
        let bound = CONTEXT.salt ^ footer.frames_end;
        (bound as u32) ^ ((bound >> 32) as u32) ^ constant
    };
    head[68..72].copy_from_slice(&crc32c(seed(0x494e_4458), &long).to_le_bytes());
    head[72..76].copy_from_slice(&12u32.to_le_bytes());
    let crc = crc32c(seed(0x464f_4f54), &head[..76]);
    head[76..].copy_from_slice(&crc.to_le_bytes());
    let whole = [head, long].concat();
    let back = Footer::decode(&whole, &CONTEXT, footer.frames_end).expect("a footer");
    assert_eq!(back, footer);
    assert_eq!(back.total_bytes(&whole), Ok(whole.len() as u64));
    assert_eq!(
        back.verify_index(&whole, &CONTEXT).expect("an index"),
        entries
    );
}

/// Lists of which a later version moved the counts have another length: that is no damage.
#[test]
fn what_is_unsupported_may_be_of_any_length() {
    let later = |mut bytes: Vec<u8>, seed: u32, fixed: usize| {
        bytes.extend_from_slice(b"more");
        bytes[8] = 2;
        resum_around(&mut bytes, seed, fixed);
        bytes
    };
    let producers = later(sample_producers().encode(), 0x5052_4f44, PRODUCERS_BYTES);
    assert_eq!(
        ProducersFile::decode(&producers),
        Err(Defect::UnknownVersion(2))
    );
    let cursor = later(sample_cursor().encode(), 0x4355_5253, CURSOR_BYTES);
    assert_eq!(CursorFile::decode(&cursor), Err(Defect::UnknownVersion(2)));
}

/// Numbers near 2^64 under right checksums made openings, appends, repairs and `verify` panic, or wrap
/// to 0 where overflow was not checked: a sum of what the disk says has to fit, whatever it says.
#[test]
fn numbers_beyond_the_bound_are_refused() {
    let refused = |result: Result<(), Defect>, what: &str| {
        assert!(
            matches!(result, Err(Defect::Malformed(_))),
            "{what}: {result:?}"
        );
    };
    type Edit<T> = (&'static str, fn(&mut T, u64));
    let header: [Edit<SegmentHeader>; 3] = [
        ("id", |it, to| it.id = SegmentId(to)),
        ("base seq", |it, to| it.base_seq = to),
        ("durable seq", |it, to| it.durable_seq = to),
    ];
    for (what, edit) in header {
        let mut it = sample_header();
        edit(&mut it, NUMBER_MAX);
        assert_eq!(
            SegmentHeader::decode(&it.encode()),
            Ok(it.clone()),
            "{what}"
        );
        edit(&mut it, NUMBER_MAX + 1);
        refused(SegmentHeader::decode(&it.encode()).map(drop), what);
    }
    let manifest: [Edit<Manifest>; 7] = [
        ("generation", |it, to| it.generation = to),
        ("head seq", |it, to| it.head_seq = to),
        ("next segment id", |it, to| {
            it.next_segment_id = SegmentId(to)
        }),
        ("durable seq", |it, to| it.durable_seq = to),
        ("durable end", |it, to| it.durable_end = to),
        ("tail base", |it, to| it.tail.base_seq = to),
        ("frames end", |it, to| {
            it.sealed[0].frames_end = to.saturating_sub(NUMBER_MAX - FRAMES_END_MAX)
        }),
    ];
    for (what, edit) in manifest {
        let mut it = sample_manifest();
        edit(&mut it, NUMBER_MAX);
        assert_eq!(Manifest::decode(&it.encode()), Ok(it.clone()), "{what}");
        edit(&mut it, NUMBER_MAX + 1);
        refused(Manifest::decode(&it.encode()).map(drop), what);
    }
    for number in [NUMBER_MAX + 1, u64::MAX] {
        let watermark = WatermarkFile {
            durable_seq: number,
            ..sample_watermark()
        };
        refused(
            WatermarkFile::decode(&watermark.encode()).map(drop),
            "watermark",
        );
        let cursor = CursorFile {
            as_of_seq: number,
            ..sample_cursor()
        };
        refused(CursorFile::decode(&cursor.encode()).map(drop), "cursor");
        let producers = ProducersFile {
            as_of_seq: number,
            ..sample_producers()
        };
        refused(
            ProducersFile::decode(&producers.encode()).map(drop),
            "producers",
        );
    }
    // The seq behind a batch's last record counts as well.
    let context = SegmentContext {
        base_seq: NUMBER_MAX - 3,
        ..CONTEXT
    };
    for (count, is_in) in [(3, true), (4, false)] {
        let header = BatchHeader {
            body_bytes: 100,
            first_seq: context.base_seq,
            durable_seq: context.base_seq,
            timestamp_ms: context.base_timestamp_ms,
            count,
            sparse: false,
            packed: false,
        };
        let found = BatchHeader::decode(&header.encode(&context, OFFSET), &context, OFFSET);
        assert_eq!(found.is_ok(), is_in, "{count}: {found:?}");
    }
}

#[test]
fn only_our_own_names_are_cursors() {
    for id in [1, 42, NUMBER_MAX] {
        assert_eq!(names::parse_cursor(&names::cursor(id)), Some(id));
        assert_eq!(names::parse_cursor_new(&names::cursor_new(id)), Some(id));
        assert_eq!(names::parse_cursor(&names::cursor_new(id)), None);
    }
    for name in [
        "",
        "1.cur",
        "00000000000000000000.cur",
        "04611686018427387905.cur",
        "00000000000000000001.seg",
    ] {
        assert_eq!(names::parse_cursor(name), None, "{name:?}");
    }
}

#[test]
fn only_our_own_names_are_segments() {
    for id in [1, 42, NUMBER_MAX] {
        let name = names::segment(SegmentId(id));
        assert_eq!(name.len(), 24);
        assert_eq!(names::parse_segment(&name), Some(SegmentId(id)));
    }
    for name in [
        "",
        ".seg",
        "1.seg",
        "00000000000000000000.seg",
        "04611686018427387905.seg",
        "18446744073709551615.seg",
        "18446744073709551616.seg",
        "99999999999999999999.seg",
        "+0000000000000000001.seg",
        "0000000000000000000a.seg",
        "00000000000000000001.SEG",
        "00000000000000000001.seg ",
        "00000000000000000001",
        "000000000000000000001.seg",
        "٠٠٠٠٠٠٠٠٠٠.seg",
    ] {
        assert_eq!(names::parse_segment(name), None, "{name:?}");
    }
}

// Round trips and chaos -----------------------------------------------------------------------------

fn any_producer() -> impl Strategy<Value = Option<Producer>> {
    let producer = (any::<u64>(), 0..u32::MAX, any::<u64>());
    proptest::option::of(producer.prop_map(|(id, epoch, number)| Producer { id, epoch, number }))
}

fn any_record() -> impl Strategy<Value = Rec> {
    let key = proptest::option::of(vec(any::<u8>(), 0..40));
    let value = proptest::option::weighted(0.8, vec(any::<u8>(), 0..200));
    (key, value, any::<Option<i64>>(), any_producer()).prop_map(
        |(key, value, timestamp_ms, producer)| {
            // No value makes a tombstone, and that needs a key.
            let key = if value.is_none() {
                key.or(Some(vec![]))
            } else {
                key
            };
            Rec {
                key,
                value,
                timestamp_ms,
                producer,
            }
        },
    )
}

/// Within the bound of all numbers.
fn number() -> std::ops::RangeInclusive<u64> {
    0..=NUMBER_MAX
}

fn any_header() -> impl Strategy<Value = SegmentHeader> {
    let predecessor = (1..=u64::MAX, any::<(u64, u64, u64, u32)>()).prop_map(|(id, rest)| {
        let (salt, frames_end, next_seq, checksum) = rest;
        Predecessor {
            id: SegmentId(id),
            salt,
            frames_end,
            next_seq,
            checksum,
        }
    });
    (
        any::<bool>(),
        any::<[u8; 16]>(),
        1..=NUMBER_MAX,
        (number(), any::<u64>(), any::<i64>(), number()),
        proptest::option::of(predecessor),
        proptest::option::of(0..u64::from(u32::MAX)),
    )
        .prop_map(|(copy, log_id, id, numbers, predecessor, copied)| {
            let (base_seq, salt, base_timestamp_ms, durable_seq) = numbers;
            let origin = if copy { Origin::Copy } else { Origin::Live };
            let (log_id, id) = (LogId(log_id), SegmentId(id));
            SegmentHeader {
                origin,
                log_id,
                id,
                base_seq,
                salt,
                base_timestamp_ms,
                predecessor,
                durable_seq,
                appends_from: copied.and_then(|count| base_seq.checked_add(count)),
                recycled: false,
                packed: false,
                sealed: false,
                packed_appends: false,
            }
        })
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    let entry = (
        0..1000u64,
        0..1000u64,
        any::<u64>(),
        128..=FRAMES_END_MAX,
        any::<(i64, u32, u32, (u32, bool))>(),
    );
    (
        vec(entry, 0..12),
        any::<[u8; 16]>(),
        (
            number(),
            any::<i64>(),
            number(),
            number(),
            number(),
            any::<bool>(),
        ),
        any::<(u64, Option<u64>, u16)>(),
    )
        .prop_map(
            |(entries, log_id, numbers, (tail_salt, spare_salt, more))| {
                let (generation, created_ms, head_seq, durable_seq, durable_end, clean) = numbers;
                let (mut seq, count) = (0, entries.len() as u64);
                let entries = entries.into_iter().enumerate();
                let sealed: Vec<_> = entries
                    .map(|(number, (gap, records, salt, frames_end, rest))| {
                        let base_seq = seq + gap;
                        seq = base_seq + records;
                        let (max_timestamp_ms, record_count, tombstone_count, keyed) = rest;
                        let (keyed_count, compacted) = keyed;
                        // Compaction gives ids out of order.
                        let id = SegmentId(count - number as u64);
                        SealedEntry {
                            id,
                            salt,
                            base_seq,
                            next_seq: seq,
                            frames_end,
                            max_timestamp_ms,
                            record_count,
                            tombstone_count,
                            keyed_count,
                            compacted,
                            packed: id.0.is_multiple_of(3),
                            far: id.0.is_multiple_of(5),
                        }
                    })
                    .collect();
                Manifest {
                    log_id: LogId(log_id),
                    incarnation: u32::from(more) << 16,
                    write_features: more.into(),
                    generation,
                    created_ms,
                    head_seq,
                    next_segment_id: SegmentId(count + 3 + u64::from(more)),
                    durable_seq,
                    durable_end,
                    clean,
                    has_ledger: more % 2 == 1,
                    sealed,
                    tail: TailEntry {
                        id: SegmentId(count + 1),
                        salt: tail_salt,
                        base_seq: seq,
                    },
                    marks: (0..more % 4)
                        .map(|number| Mark::new(number.to_string(), more.to_le_bytes()))
                        .collect(),
                    spare: spare_salt.map(|salt| SpareEntry {
                        id: SegmentId(count + 2),
                        salt,
                        recycled: false,
                    }),
                }
            },
        )
}

proptest! {
    #[test]
    fn segment_headers_come_back(header in any_header()) {
        prop_assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn dense_batches_come_back(records in vec(any_record(), 0..20)) {
        let (header, bytes) = batch(&records, None);
        let (back, read) = read(&bytes, &CONTEXT, OFFSET).unwrap();
        prop_assert_eq!(back, header);
        prop_assert_eq!(read.len(), records.len());
        for (number, (was, is)) in records.iter().zip(&read).enumerate() {
            prop_assert!(was.is(is, &header) && is.seq == header.first_seq + number as u64);
        }
    }

    #[test]
    fn sparse_batches_come_back(parts in vec((any_record(), 1..1_000_000u32), 1..20)) {
        let (records, steps): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let deltas: Vec<u32> = steps.iter().scan(0, |at, step| { *at += step; Some(*at - 1) }).collect();
        let (header, bytes) = batch(&records, Some(&deltas));
        let (back, read) = read(&bytes, &CONTEXT, OFFSET).unwrap();
        prop_assert_eq!(back, header);
        prop_assert_eq!(read.len(), records.len());
        for ((was, is), delta) in records.iter().zip(&read).zip(&deltas) {
            prop_assert!(was.is(is, &header) && is.seq == header.first_seq + u64::from(*delta));
        }
    }

    #[test]
    fn batch_headers_come_back(
        context in any::<(u64, u64, i64)>(), offset: u64, first: u32, durable: u32, time: i32,
        count in 0..=COUNT_MAX, sparse: bool, packed: bool, more: u32,
    ) {
        let (salt, base_seq, base_timestamp_ms) = context;
        let base_seq = base_seq / 8;
        let context = SegmentContext { salt, base_seq, base_timestamp_ms: base_timestamp_ms / 2, log_id: cairnlog::LogId([0; 16]) };
        let first_seq = base_seq + u64::from(first);
        let (sparse, packed) = (sparse && count > 0, packed && count > 0);
        let least = if packed { 40 } else { count * if sparse { 12 } else { 8 } };
        let header = BatchHeader {
            body_bytes: if count == 0 { 0 } else { least.saturating_add(more) },
            first_seq,
            durable_seq: first_seq.saturating_sub(durable.into()),
            timestamp_ms: context.base_timestamp_ms + i64::from(time),
            count,
            sparse,
            packed,
        };
        let bytes = header.encode(&context, offset);
        prop_assert!(!cannot_be_header(&bytes));
        prop_assert_eq!(BatchHeader::decode(&bytes, &context, offset), Ok(header));
    }

    #[test]
    fn footers_come_back(
        counts: [u32; 4], seqs in (number(), number()), times in any::<(i64, i64)>(), frames_end: u64,
        segment_checksum: u32, index in vec(any::<(u32, u32)>(), 0..50),
    ) {
        let index: Vec<_> =
            index.into_iter().map(|(seq_delta, offset)| IndexEntry { seq_delta, offset }).collect();
        let footer = Footer {
            entry_count: index.len() as u32,
            record_count: counts[1],
            tombstone_count: counts[2],
            keyed_count: counts[3],
            first_seq: seqs.0.min(seqs.1),
            next_seq: seqs.0.max(seqs.1),
            min_timestamp_ms: times.0,
            max_timestamp_ms: times.1,
            frames_end,
            segment_checksum,
        };
        let bytes = footer.encode(&CONTEXT, &index);
        let back = Footer::decode(&bytes, &CONTEXT, frames_end).unwrap();
        prop_assert_eq!(back, footer);
        let entries = back.verify_index(&bytes, &CONTEXT).unwrap();
        let read: Vec<_> = (0..index.len()).map(|number| IndexEntry::read(&entries, number)).collect();
        prop_assert_eq!(read, index);
    }

    #[test]
    fn manifests_come_back(manifest in any_manifest()) {
        prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn cursors_come_back(
        log_id: [u8; 16], incarnation: u32, numbers in (number(), number(), number(), number(), any::<i64>()), holds: bool, name in "\\PC{1,60}",
        deltas in vec((1..9u64, any::<u32>(), any::<bool>()), 0..20),
    ) {
        let (id, seq, as_of_seq, generation, updated_ms) = numbers;
        prop_assume!(name.len() <= NAME_BYTES_MAX);
        let seq = seq / 2;
        let mut at = seq;
        let pending = deltas.iter().map(|(step, count, acked)| {
            at += step;
            pending(at, *count, *acked)
        }).collect();
        let cursor = CursorFile {
            log_id: LogId(log_id), incarnation, id, seq, as_of_seq, generation, updated_ms, holds, name, pending,
        };
        prop_assert_eq!(CursorFile::decode(&cursor.encode()), Ok(cursor));
    }

    #[test]
    fn watermarks_come_back(log_id: [u8; 16], incarnation: u32, durable_seq in number(), generation in number()) {
        let watermark = WatermarkFile { log_id: LogId(log_id), incarnation, durable_seq, generation };
        prop_assert_eq!(WatermarkFile::decode(&watermark.encode()), Ok(watermark));
    }

    #[test]
    fn any_flipped_bit_of_any_batch_is_refused(records in vec(any_record(), 0..8), place: prop::sample::Index) {
        let (_, bytes) = batch(&records, None);
        let bit = place.index(bytes.len() * 8);
        prop_assert!(read(&flip(&bytes, bit), &CONTEXT, OFFSET).is_err());
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..400), salt: u64, base_seq: u64, offset: u64) {
        decode_everything(&bytes, salt, base_seq, offset);
    }

    /// Random bytes get past no checksum. Bytes that are almost right go further in.
    #[test]
    fn no_damage_makes_a_decoder_panic(
        records in vec(any_record(), 0..8), which in 0..6usize, sparse: bool,
        hits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut: prop::sample::Index,
    ) {
        let deltas: Vec<u32> = (0..records.len() as u32).collect();
        let (footer, index) = sample_footer();
        let mut bytes = match which {
            0 => sample_header().encode(),
            1 => batch(&records, (sparse && !records.is_empty()).then_some(&deltas[..])).1,
            2 => footer.encode(&CONTEXT, &index),
            3 => sample_manifest().encode(),
            4 => sample_watermark().encode(),
            5 => sample_producers().encode(),
            _ => sample_cursor().encode(),
        };
        for (place, byte) in hits {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        decode_everything(&bytes, CONTEXT.salt, CONTEXT.base_seq, OFFSET);
    }
}

/// Feeds bytes to every decoder, and to the inner ones as if the outer checksums had held.
fn decode_everything(bytes: &[u8], salt: u64, base_seq: u64, offset: u64) {
    let context = SegmentContext {
        salt,
        base_seq,
        base_timestamp_ms: base_seq as i64,
        log_id: LogId([0; 16]),
    };
    let _ = SegmentHeader::decode(bytes);
    let _ = Manifest::decode(bytes);
    let _ = CursorFile::decode(bytes);
    let _ = WatermarkFile::decode(bytes);
    let _ = ProducersFile::decode(bytes);
    let _ = read(bytes, &context, offset);
    let _ = cannot_be_header(bytes);
    for frames_end in [offset, 9500] {
        if let Ok(footer) = Footer::decode(bytes, &context, frames_end) {
            let _ = footer.verify_index(bytes, &context);
        }
    }
    let (footer, _) = sample_footer();
    let _ = footer.verify_index(bytes, &context);
    let _ = IndexEntry::read(bytes, bytes.len());
    for (count, sparse, first_seq) in [
        (3, false, base_seq),
        (COUNT_MAX, true, base_seq),
        (3, true, u64::MAX),
    ] {
        let body_bytes = bytes.len() as u32;
        let header = BatchHeader {
            body_bytes,
            first_seq,
            durable_seq: 0,
            timestamp_ms: i64::MAX,
            count,
            sparse,
            packed: false,
        };
        let mut records = Records::new(bytes, context, header);
        while let Some(Ok(_)) = records.next() {}
        assert!(records.consumed_bytes() <= bytes.len());
        assert!(
            records.next().is_none(),
            "a walk ends after its first defect"
        );
        let _ = record::decode(bytes, &context, &header, first_seq);
        if let Some(frame_bytes) = record::frame_bytes_unverified(bytes, sparse) {
            assert!((RECORD_BYTES_MIN..=bytes.len()).contains(&frame_bytes));
        }
    }
}

/// A packed gigabyte of zeros: what is stated is bounded by the format, and by what so few bytes can come
/// to, before there is memory for it.
#[test]
fn a_packed_batch_that_states_more_than_can_come_of_it_is_refused_before_it_is_unpacked() {
    let batch = BatchHeader {
        body_bytes: 0,
        first_seq: CONTEXT.base_seq,
        durable_seq: CONTEXT.base_seq,
        timestamp_ms: 0,
        count: 2,
        sparse: false,
        packed: true,
    };
    let right = PackedHead {
        codec: 1,
        append_count: 0,
        raw_bytes: 100,
        last_seq: batch.first_seq + 1,
        tombstone_count: 1,
        keyed_count: 1,
        min_timestamp_ms: 5,
        max_timestamp_ms: 5,
    };
    let decode = |head: &PackedHead, batch: &BatchHeader| {
        let body = head.encode(&[7; 20], batch, &CONTEXT, OFFSET);
        PackedHead::decode(&body, batch, &CONTEXT, OFFSET).map(|found| (found, body))
    };
    let (found, body) = decode(&right, &batch).expect("as it should be");
    assert_eq!(found, right);
    let wrong = [
        PackedHead {
            raw_bytes: 15,
            ..right
        },
        PackedHead {
            raw_bytes: (1 << 20) + 1,
            ..right
        },
        PackedHead {
            raw_bytes: u32::MAX,
            ..right
        },
        PackedHead {
            last_seq: batch.first_seq,
            ..right
        },
        PackedHead {
            last_seq: batch.first_seq + 2,
            ..right
        },
        PackedHead {
            tombstone_count: 2,
            ..right
        },
        PackedHead {
            keyed_count: 3,
            ..right
        },
        PackedHead {
            min_timestamp_ms: 6,
            ..right
        },
    ];
    for head in wrong {
        let malformed = Err(Defect::Malformed("head of a packed batch"));
        assert_eq!(decode(&head, &batch), malformed, "{head:?}");
    }
    let sparse = BatchHeader {
        sparse: true,
        ..batch
    };
    let gap = PackedHead {
        last_seq: batch.first_seq + 9,
        ..right
    };
    assert!(decode(&gap, &sparse).is_ok());
    // One record may be long, and not longer than a record can be.
    let one = BatchHeader { count: 1, ..batch };
    let long = PackedHead {
        raw_bytes: 1 << 27,
        last_seq: batch.first_seq,
        ..right
    };
    assert!(decode(&long, &one).is_ok());
    let too_long = PackedHead {
        raw_bytes: 1 << 28,
        ..long
    };
    assert!(decode(&too_long, &one).is_err());
    // And it has to come of the bytes that are there.
    let (_, lie) = decode(&long, &one).expect("within the format's bounds");
    if Compression::Lz4.is_built() {
        let refused = Defect::Malformed("length of packed records");
        assert_eq!(long.check(&lie), Err(refused));
        let garbage = Defect::Malformed("packed records");
        assert_eq!(right.unpack(&body, &batch, &mut [0; 100]), Err(garbage));
    } else {
        assert_eq!(right.check(&body), Err(Defect::CodecNotBuilt("lz4")));
    }
    let unknown = PackedHead {
        codec: 200,
        ..right
    };
    assert_eq!(unknown.check(&body), Err(Defect::UnknownCodec(200)));
    // A later way to store records is no damage.
    let mut later = body;
    later[6] = 1;
    let place = CONTEXT.salt ^ OFFSET;
    let sum = crc32c(
        place as u32 ^ (place >> 32) as u32 ^ 0x5041_434b,
        &later[4..],
    );
    later[..4].copy_from_slice(&sum.to_le_bytes());
    let found = PackedHead::decode(&later, &batch, &CONTEXT, OFFSET);
    assert_eq!(found, Err(Defect::UnknownExtension));
}
