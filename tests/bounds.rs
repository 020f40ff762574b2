//! Is each bound of the format where the page says, and not one beside it?
//!
//! Of each of these the suite said that there is a bound, and would not have noticed one that was off by one,
//! turned round, or meant for somebody else.

use cairnlog::format::{
    BatchHeader, Manifest, NUMBER_MAX, SegmentContext,
    batch::Records,
    cursor::{Pending, ROUND_MAX},
    footer::Footer,
    manifest::{SealedEntry, SpareEntry, TailEntry},
    moves::{MOVE_BYTES, Move, moves},
    names,
    packed::PackedHead,
    piece::{PIECE_HEADER_BYTES, Piece},
    producers::{AppendEntry, EPOCH_CURSOR, ProducerEntry, ProducersFile},
    record::{self, Producer, RecordParts},
};
use cairnlog::{Compression, Defect, LogId, SegmentId};

const CONTEXT: SegmentContext = SegmentContext {
    salt: 0x0123_4567_89ab_cdef,
    base_seq: 1000,
    base_timestamp_ms: 1_700_000_000_000,
    log_id: LogId([0; 16]),
};
const OFFSET: u64 = 4242;

fn header(count: u32) -> BatchHeader {
    BatchHeader {
        body_bytes: 4096,
        first_seq: CONTEXT.base_seq,
        durable_seq: CONTEXT.base_seq,
        timestamp_ms: CONTEXT.base_timestamp_ms,
        count,
        sparse: false,
        packed: false,
    }
}

fn value(value: &[u8]) -> RecordParts<'_> {
    RecordParts {
        key: None,
        value: Some(value),
        timestamp_ms: None,
        producer: None,
    }
}

/// The frames of a batch, as they go into a packed one.
fn frames(context: &SegmentContext, values: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for (seq, bytes) in (CONTEXT.base_seq..).zip(values) {
        record::encode(&mut out, context.salt, seq, None, &value(bytes));
    }
    out
}

/// Bytes in which no codec finds anything.
#[cfg(feature = "lz4")]
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(byte).take(len).collect()
}

#[test]
fn is_a_time_out_of_reach_stored_as_the_nearest_within() {
    let base = CONTEXT.base_timestamp_ms;
    for (distance, stored) in [
        (1_i64 << 40, i32::MAX),
        (i64::from(i32::MAX) + 1, i32::MAX),
        (-(1_i64 << 40), i32::MIN),
        (i64::from(i32::MIN) - 1, i32::MIN),
        (-1, -1),
    ] {
        let batch = BatchHeader {
            timestamp_ms: base + distance,
            ..header(1)
        };
        let found = BatchHeader::decode(&batch.encode(&CONTEXT, OFFSET), &CONTEXT, OFFSET);
        let found = found.unwrap().timestamp_ms - base;
        assert_eq!(found, i64::from(stored), "{distance}");
    }
}

#[test]
fn is_it_counted_how_far_a_batch_was_read() {
    let body = frames(&CONTEXT, &[b"one", b"", b"three"]);
    let mut records = Records::new(&body, CONTEXT, header(3));
    let mut ends = vec![records.consumed_bytes()];
    while let Some(record) = records.next() {
        record.unwrap();
        ends.push(records.consumed_bytes());
    }
    assert_eq!(ends, [0, 11, 19, 32]);
}

/// The number of what a cursor's consumer appends is a seq. That of a producer is its own business.
#[test]
fn is_only_a_cursors_number_a_seq() {
    let cursor = (EPOCH_CURSOR, NUMBER_MAX);
    for (epoch, number, is_in) in [
        (cursor.0, cursor.1, true),
        (cursor.0, cursor.1 + 1, false),
        (cursor.0, u64::MAX, false),
        (1, u64::MAX, true),
    ] {
        let producer = Producer {
            id: 1,
            epoch,
            number,
        };
        let parts = RecordParts {
            producer: Some(producer),
            ..value(b"v")
        };
        let (mut frame, batch) = (Vec::new(), header(1));
        record::encode(&mut frame, CONTEXT.salt, batch.first_seq, None, &parts);
        let found = record::decode(&frame, &CONTEXT, &batch, batch.first_seq);
        assert_eq!(found.is_ok(), is_in, "record: {epoch} {number}");
        let append = AppendEntry {
            number,
            first_seq: 40,
            count: 1,
        };
        let entry = ProducerEntry {
            id: 1,
            epoch,
            forgotten: None,
            appends: vec![append],
        };
        let ledger = ProducersFile {
            log_id: LogId([7; 16]),
            incarnation: 1,
            as_of_seq: 100,
            end_seq: 100,
            tail_id: SegmentId(9),
            producers: vec![entry],
        };
        let found = ProducersFile::decode(&ledger.encode());
        assert_eq!(found.is_ok(), is_in, "ledger: {epoch} {number}");
    }
}

#[test]
fn where_the_seqs_of_a_footer_end() {
    let with = |first_seq, next_seq| {
        let footer = Footer {
            entry_count: 0,
            record_count: 80,
            tombstone_count: 3,
            keyed_count: 50,
            first_seq,
            next_seq,
            min_timestamp_ms: -1,
            max_timestamp_ms: 99,
            frames_end: 9500,
            segment_checksum: 0x1234_5678,
        };
        let bytes = footer.encode(&CONTEXT, &[]);
        Footer::decode(&bytes, &CONTEXT, 9500).map(|found| assert_eq!(found, footer))
    };
    for (first_seq, next_seq) in [(0, 0), (5, 5), (5, 6), (5, NUMBER_MAX)] {
        assert_eq!(with(first_seq, next_seq), Ok(()), "{first_seq} {next_seq}");
    }
    for (first_seq, next_seq) in [(6, 5), (5, NUMBER_MAX + 1), (5, u64::MAX)] {
        let refused = Err(Defect::Malformed("footer"));
        assert_eq!(with(first_seq, next_seq), refused, "{first_seq} {next_seq}");
    }
}

#[test]
fn what_is_a_piece_of_a_large_value() {
    let decode = |first_seq, offset, value_bytes, len| {
        let piece = Piece {
            first_seq,
            offset,
            value_bytes,
        };
        let value = [&piece.encode()[..], &vec![7; len]].concat();
        Piece::decode(&value).map(|(found, bytes)| found == piece && bytes.len() == len)
    };
    let last = NUMBER_MAX - 1;
    for (first_seq, offset, value_bytes, len) in [
        (None, 0, None, 9),
        (None, 0, Some(9), 9),
        (Some(4), 7, Some(9), 2),
        (Some(last), 7, None, 2),
        (Some(4), NUMBER_MAX, None, 2),
        (Some(4), last - 2, Some(last), 2),
    ] {
        let found = decode(first_seq, offset, value_bytes, len);
        assert_eq!(found, Some(true), "{first_seq:?} {offset} {value_bytes:?}");
    }
    for (first_seq, offset, value_bytes, len) in [
        (Some(last + 1), 7, None, 2),
        (Some(4), NUMBER_MAX + 1, None, 2),
        (Some(4), last - 1, Some(last + 1), 2),
        // It does not begin at its beginning, or end at its end.
        (None, 7, None, 2),
        (None, 7, Some(9), 2),
        (None, 0, Some(9), 8),
        (Some(4), 7, Some(8), 2),
    ] {
        let found = decode(first_seq, offset, value_bytes, len);
        assert_eq!(found, None, "{first_seq:?} {offset} {value_bytes:?}");
    }
    assert!(Piece::decode(&[0; PIECE_HEADER_BYTES]).is_none());
}

fn pending(seq: u64, not_before_ms: i64) -> Pending {
    Pending {
        seq,
        delivery_count: 3,
        acked: seq.is_multiple_of(2),
        done_by_move: seq.is_multiple_of(3),
        round: ROUND_MAX,
        not_before_ms,
    }
}

/// The body of an annex with these entries; its checksum is not looked at here.
fn annex(entries: &[Vec<u8>]) -> Vec<u8> {
    [vec![0; 8], entries.concat()].concat()
}

fn encoded(entry: &Move) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    assert_eq!(bytes.len(), entry.entry_bytes());
    bytes
}

#[test]
fn do_moves_of_cursors_come_back_whatever_they_hold() {
    let mut all = Vec::new();
    for (number, (holds, anew)) in
        (1..).zip([(false, false), (true, false), (false, true), (true, true)])
    {
        for list in [
            vec![],
            vec![pending(50, 0), pending(51, 0)],
            vec![pending(50, 7), pending(60, 0)],
        ] {
            all.push(Move {
                cursor: number,
                generation: number + 10,
                seq: 50,
                holds,
                anew,
                pending: list,
            });
        }
    }
    let bytes = annex(&all.iter().map(encoded).collect::<Vec<_>>());
    let found: Result<Vec<Move>, _> = moves(&bytes).collect();
    assert_eq!(found, Ok(all));
}

#[test]
fn which_moves_of_cursors_no_writer_writes() {
    let right = Move {
        cursor: 1,
        generation: 2,
        seq: 50,
        holds: true,
        anew: false,
        pending: vec![pending(50, 0), pending(NUMBER_MAX - 1, 0)],
    };
    let read = |bytes: &[u8]| moves(&annex(&[bytes.to_vec()])).collect::<Result<Vec<Move>, _>>();
    let bytes = encoded(&right);
    assert_eq!(read(&bytes), Ok(vec![right.clone()]));
    let refused = Err(Defect::Malformed("move of a cursor"));
    for seqs in [[49, 60], [60, 60], [61, 60], [60, NUMBER_MAX]] {
        let entry = Move {
            pending: seqs.map(|seq| pending(seq, 0)).to_vec(),
            ..right.clone()
        };
        assert_eq!(read(&encoded(&entry)), refused, "{seqs:?}");
    }
    // A later version's head and entries may be longer, and nobody's are shorter: in words of 8 bytes.
    let stating = |head_words: u8, pending_words: u8, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let entry_bytes = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&entry_bytes.to_le_bytes());
        (bytes[4], bytes[5]) = (head_words, pending_words);
        read(&bytes)
    };
    assert_eq!(stating(4, 2, &bytes), Ok(vec![right.clone()]));
    let (head, list) = bytes.split_at(MOVE_BYTES);
    let longer = [head, &[9; 8], list].concat();
    assert_eq!(stating(5, 2, &longer), Ok(vec![right.clone()]));
    let (first, second) = list.split_at(16);
    let longer = [head, first, &[0; 16], second, &[0; 16]].concat();
    assert_eq!(stating(4, 4, &longer), Ok(vec![right]));
    assert_eq!(stating(3, 2, &bytes), refused);
    assert_eq!(stating(4, 1, &bytes), refused);
    assert_eq!(stating(4, 3, &bytes), refused, "no whole number of them");
}

#[test]
fn which_segments_does_a_manifest_name() {
    let sealed = |id| SealedEntry {
        id: SegmentId(id),
        salt: 1,
        base_seq: 0,
        next_seq: 0,
        frames_end: 4096,
        max_timestamp_ms: 0,
        record_count: 0,
        tombstone_count: 0,
        keyed_count: 0,
        compacted: false,
        packed: false,
        far: false,
    };
    let manifest = Manifest {
        log_id: LogId([7; 16]),
        incarnation: 1,
        write_features: 0,
        generation: 0,
        created_ms: 0,
        head_seq: 0,
        next_segment_id: SegmentId(9),
        durable_seq: 0,
        durable_end: 0,
        clean: false,
        has_ledger: false,
        sealed: vec![sealed(2), sealed(4)],
        tail: TailEntry {
            id: SegmentId(5),
            salt: 1,
            base_seq: 0,
        },
        marks: Vec::new(),
        spare: Some(SpareEntry {
            id: SegmentId(7),
            salt: 1,
            recycled: false,
        }),
    };
    let named = (0..10).filter(|id| manifest.names(SegmentId(*id)));
    assert!(named.eq([2, 4, 5, 7]));
    let without = Manifest {
        spare: None,
        ..manifest
    };
    assert!(!without.names(SegmentId(7)));
}

#[test]
fn which_names_are_those_of_cursors() {
    for id in [1, 42, NUMBER_MAX] {
        let name = names::cursor_alt(id);
        assert_eq!(names::parse_cursor_alt(&name), Some(id));
        assert_eq!(names::parse_cursor(&name), None);
        assert_eq!(names::parse_cursor_alt(&names::cursor(id)), None);
    }
    assert_eq!(names::parse_cursor_alt("1.alt"), None);
}

/// Packed, if that saves an eighth: of one record whatever its size, of more up to 1 MiB.
#[cfg(feature = "lz4")]
#[test]
fn what_is_worth_packing() {
    use cairnlog::format::{
        packed,
        packed::{RAW_BYTES_MAX, Room},
        record::RECORD_BYTES_MIN,
    };
    let facts = PackedHead {
        codec: 0,
        append_count: 0,
        raw_bytes: 0,
        last_seq: CONTEXT.base_seq,
        tombstone_count: 0,
        keyed_count: 0,
        min_timestamp_ms: 0,
        max_timestamp_ms: 0,
    };
    let inner = packed::inner(&CONTEXT);
    let pack = |values: &[&[u8]]| {
        let raw = frames(&inner, values);
        let (batch, count) = (
            header(u32::try_from(values.len()).unwrap()),
            values.len() as u64,
        );
        let facts = PackedHead {
            last_seq: CONTEXT.base_seq + count - 1,
            ..facts
        };
        let (mut body, place) = (Vec::new(), (&CONTEXT, OFFSET));
        let what = (&batch, &facts, &[][..]);
        packed::encode(
            &mut body,
            &raw,
            Compression::Lz4,
            what,
            place,
            &mut Room::default(),
        )?;
        let head = PackedHead::decode(&body, &batch, &CONTEXT, OFFSET).unwrap();
        let mut out = vec![0; head.raw_bytes as usize];
        head.unpack(&body, &batch, &mut out).unwrap();
        assert!(out == raw);
        Some((raw.len(), body.len()))
    };
    assert_eq!(pack(&[&noise(4000)]), None);
    // The more noise, the less is saved: it ends at the eighth exactly.
    let mostly = |noisy: usize| [noise(noisy), vec![0; 4000 - noisy]].concat();
    let worth = (0..4000).map_while(|noisy| pack(&[&mostly(noisy)]));
    let (raw_bytes, packed_bytes) = worth.last().unwrap();
    assert_eq!(packed_bytes, raw_bytes - raw_bytes / 8);
    let room = RAW_BYTES_MAX as usize - 2 * RECORD_BYTES_MIN;
    let (half, rest) = (vec![0; room / 2], vec![0; room - room / 2]);
    assert!(pack(&[&half, &rest]).is_some());
    assert!(pack(&[&half, &rest, b""]).is_none());
    assert!(pack(&[&[&half[..], &rest[..], &half[..]].concat()]).is_some());
}

/// Appends of producers that a packed batch states: of its records, in their order, and within its body; and they
/// count where it is asked whether packing pays.
#[cfg(feature = "lz4")]
#[test]
fn which_appends_a_packed_batch_states() {
    use cairnlog::format::{
        packed::{Room, encode},
        record::Producer,
        stated::{APPEND_BYTES, APPENDS_MAX, StatedAppend},
    };
    let inner = cairnlog::format::packed::inner(&CONTEXT);
    let values = [&[b'x'; 500][..]; 4];
    let (raw, batch) = (frames(&inner, &values), header(4));
    let facts = PackedHead {
        codec: 0,
        append_count: 0,
        raw_bytes: 0,
        last_seq: CONTEXT.base_seq + 3,
        tombstone_count: 0,
        keyed_count: 0,
        min_timestamp_ms: 0,
        max_timestamp_ms: 0,
    };
    let of = |first_delta: u32, count| StatedAppend {
        producer: Producer {
            id: 7,
            epoch: 1,
            number: first_delta.into(),
        },
        first_delta,
        count,
    };
    let pack = |appends: &[StatedAppend]| {
        let (mut body, what) = (b"before".to_vec(), (&batch, &facts, appends));
        let (codec, place) = (Compression::Lz4, (&CONTEXT, OFFSET));
        let done = encode(&mut body, &raw, codec, what, place, &mut Room::default());
        assert!(done.is_some() || body == b"before");
        done.map(|()| body.split_off(6))
    };
    let decode = |body: &[u8]| PackedHead::decode(body, &batch, &CONTEXT, OFFSET);
    let none = pack(&[]).unwrap();
    assert_eq!(decode(&none).unwrap().append_count, 0);
    for right in [
        &[of(0, 4)][..],
        &[of(0, 1), of(1, 2)],
        &[of(1, 1), of(3, 1)],
    ] {
        let body = pack(right).unwrap();
        assert_eq!(body.len(), none.len() + right.len() * APPEND_BYTES);
        let head = decode(&body).unwrap();
        assert_eq!(usize::from(head.append_count), right.len());
        let mut out = vec![0; raw.len()];
        head.unpack(&body, &batch, &mut out).unwrap();
        assert!(out == raw);
    }
    for wrong in [
        &[of(0, 5)][..],
        &[of(4, 1)],
        &[of(0, 0)],
        &[of(2, 1), of(1, 1)],
    ] {
        let malformed = Err(Defect::Malformed("head of a packed batch"));
        assert_eq!(decode(&pack(wrong).unwrap()), malformed, "{wrong:?}");
    }
    // More of them than the body has room for.
    let head = PackedHead {
        append_count: 2,
        ..decode(&none).unwrap()
    };
    let short = head.encode(&[0; 2 * APPEND_BYTES - 1], &batch, &CONTEXT, OFFSET);
    assert!(decode(&short).is_err());
    assert_eq!(pack(&[of(0, 1); 70]), None, "less than an eighth is saved");
    assert_eq!(pack(&[of(0, 1); APPENDS_MAX + 1]), None);
}

#[test]
fn is_the_last_seq_of_a_packed_batch_below_the_bound() {
    for (last_seq, is_in) in [(NUMBER_MAX - 1, true), (NUMBER_MAX, false)] {
        let batch = BatchHeader {
            first_seq: last_seq - 1,
            ..header(2)
        };
        let head = PackedHead {
            codec: 1,
            append_count: 0,
            raw_bytes: 100,
            last_seq,
            tombstone_count: 0,
            keyed_count: 0,
            min_timestamp_ms: 0,
            max_timestamp_ms: 0,
        };
        let body = head.encode(&[7; 20], &batch, &CONTEXT, OFFSET);
        let found = PackedHead::decode(&body, &batch, &CONTEXT, OFFSET);
        assert_eq!(found.is_ok(), is_in, "{last_seq}");
    }
}

#[test]
fn is_a_codec_called_by_its_name() {
    for (codec, name, is_built) in [
        (Compression::Lz4, "lz4", cfg!(feature = "lz4")),
        (Compression::Zstd, "zstd", cfg!(feature = "zstd")),
    ] {
        assert_eq!((codec.name(), codec.to_string().as_str()), (name, name));
        assert_eq!(codec.is_built(), is_built);
    }
}

/// How much is missing is told of the least that is: first of the head, then of what it states.
#[test]
fn what_is_told_of_a_record_that_is_cut_off() {
    let parts = RecordParts {
        key: Some(b"key"),
        timestamp_ms: Some(4),
        ..value(b"value")
    };
    let (mut frame, batch) = (Vec::new(), header(1));
    record::encode(&mut frame, CONTEXT.salt, batch.first_seq, None, &parts);
    assert_eq!(frame.len(), 26);
    for (available_bytes, needed_bytes) in [(0, 8), (7, 8), (8, 18), (17, 18), (18, 26), (25, 26)] {
        let cut = &frame[..usize::try_from(available_bytes).unwrap()];
        let told = record::decode(cut, &CONTEXT, &batch, batch.first_seq);
        let missing = Defect::Truncated {
            needed_bytes,
            available_bytes,
        };
        assert_eq!(told, Err(missing));
    }
}
