//! The byte and bit tables of `format.md`: each field where the encoder puts it.

use super::examples::number;
use super::tables::{table, tables};
use cairnlog::format::batch::{ANNEX_BYTES_MIN, BATCH_HEADER_BYTES, COUNT_MAX, encode_annex};
use cairnlog::format::cursor::{CURSOR_BYTES, CursorFile, Pending, WAITING_BYTES};
use cairnlog::format::footer::{FOOTER_BYTES, Footer, INDEX_ENTRY_BYTES, IndexEntry};
use cairnlog::format::header::{HEADER_BYTES, Origin, Predecessor};
use cairnlog::format::manifest::{
    MANIFEST_BYTES, SEALED_BYTES, SealedEntry, SpareEntry, TailEntry,
};
use cairnlog::format::marks::{MARK_BYTES, MARKS_HEAD_BYTES, Mark, encode_marks};
use cairnlog::format::moves::{MOVE_BYTES, Move};
use cairnlog::format::packed::{HEAD_BYTES, PackedHead};
use cairnlog::format::piece::{PIECE_HEADER_BYTES, Piece};
use cairnlog::format::producers::{
    APPEND_BYTES, AppendEntry, PRODUCER_BYTES, PRODUCERS_BYTES, ProducerEntry, ProducersFile,
};
use cairnlog::format::record::{Producer, RECORD_BYTES_MIN, RecordParts, VALUE_BYTES_MAX, encode};
use cairnlog::format::sealed::{self, FACTS_BYTES, SEALED_HEAD_BYTES, SealedHead, StatedAppend};
use cairnlog::format::watermark::WATERMARK_BYTES;
use cairnlog::format::{
    BatchHeader, Manifest, SegmentContext, SegmentHeader, VERSION, WatermarkFile,
};
use cairnlog::{KeyId, LogId, SegmentId};
use std::ops::Range;

type Outcome<T = ()> = Result<T, String>;

/// One row of a byte table.
struct Field<'a> {
    range: Range<usize>,
    name: &'a str,
    meaning: &'a str,
}

/// A structure, once as it is and once for each field with that field changed.
struct Layout {
    size: usize,
    bytes: Vec<u8>,
    changed: Vec<(&'static str, Vec<u8>)>,
}

/// Byte tables: contiguous, as long as the structure, each field where the encoder puts it.
pub fn check_layouts(spec: &str) -> Outcome {
    let page = tables(spec, &["Offset", "Size", "Field"]);
    let code = [
        header(),
        batch(),
        annex(),
        record(),
        packed(),
        sealed_batch(),
        stated_append(),
        footer(),
        index_entry(),
        manifest(),
        sealed(),
        marks(),
        one_mark(),
        producers(),
        producer_entry(),
        append_entry(),
        cursor(),
        pending(),
        one_move(),
        watermark(),
        piece(),
    ];
    if page.len() != code.len() {
        return Err(format!("{} byte tables", page.len()));
    }
    for (rows, layout) in page.iter().zip(code) {
        let mut fields: Vec<Field> = Vec::new();
        for row in rows {
            let [offset, size, name, meaning, ..] = row[..] else {
                return Err(format!("{row:?}"));
            };
            let (offset, size): (usize, usize) = (number(offset)?, number(size)?);
            if offset != fields.last().map_or(0, |field| field.range.end) {
                return Err(format!("{name} does not start where its neighbour ends"));
            }
            fields.push(Field {
                range: offset..offset + size,
                name,
                meaning,
            });
        }
        let end = fields.last().map_or(0, |field| field.range.end);
        if end != layout.size {
            return Err(format!(
                "a table of {end} bytes for a structure of {}",
                layout.size
            ));
        }
        fields
            .iter()
            .try_for_each(|field| check_field(field, &fields, &layout))?;
    }
    check_bits(spec)?;
    check_optional_fields(spec)
}

fn check_field(field: &Field, fields: &[Field], layout: &Layout) -> Outcome {
    let bytes = &layout.bytes[field.range.clone()];
    let holds = match field.name {
        "magic" => bytes == field.meaning.trim_matches('`').as_bytes(),
        "version" => {
            bytes == VERSION.to_le_bytes() && field.meaning.starts_with(&VERSION.to_string())
        }
        // The sizes of entries: 0 is that of version 1.
        "reserved" | "required_features" | "optional_features" | "entry_bytes"
        | "producer_words" | "append_words" | "pending_bytes" | "head_words" | "pending_words" => {
            bytes.iter().all(|byte| *byte == 0)
        }
        name if name.contains("checksum")
            && name != "segment_checksum"
            && name != "predecessor_checksum" =>
        {
            bytes.iter().any(|byte| *byte != 0)
        }
        name => {
            let mut changed = layout.changed.iter().filter(|(it, _)| *it == name);
            let (_, other) = changed
                .next()
                .ok_or_else(|| format!("the code has no field {name}"))?;
            let pairs = layout.bytes.iter().zip(other).enumerate();
            let moved: Vec<usize> = pairs
                .filter(|(_, (a, b))| a != b)
                .map(|(at, _)| at)
                .collect();
            let own = |at: &usize| field.range.contains(at);
            let checksum = |at: &usize| {
                let mut fields = fields.iter().filter(|it| it.name.ends_with("checksum"));
                fields.any(|it| it.range.contains(at))
            };
            // Every byte of a field changes, so that its size is proved too.
            moved.iter().filter(|at| own(at)).count() == field.range.len()
                && moved
                    .iter()
                    .all(|at| own(at) || checksum(at) || *at >= layout.size)
        }
    };
    if holds {
        Ok(())
    } else {
        Err(format!("{} is not at {:?}", field.name, field.range))
    }
}

const ALL: u64 = u64::MAX;
pub const CONTEXT: SegmentContext = SegmentContext {
    salt: 0x0123_4567_89ab_cdef,
    base_seq: 0,
    base_timestamp_ms: 0,
    log_id: LogId([0; 16]),
};

/// Encodes a value as it is and with one field changed at a time. `$change` sets bits only where
/// the value has zeros, in every byte of the field.
macro_rules! layout {
    ($size:expr, $value:expr, $encode:expr, { $($name:literal: $change:expr),* $(,)? }) => {{
        let value = $value;
        let encode = $encode;
        let bytes = encode(&value);
        let changed = vec![$(($name, {
            let mut other = value.clone();
            let change: fn(&mut _) = $change;
            change(&mut other);
            encode(&other)
        })),*];
        Layout { size: $size, bytes, changed }
    }};
}

fn header() -> Layout {
    let predecessor = Predecessor {
        id: SegmentId(1),
        salt: 0,
        frames_end: 0,
        next_seq: 0,
        checksum: 0,
    };
    let value = SegmentHeader {
        origin: Origin::Live,
        log_id: LogId([0; 16]),
        id: SegmentId(1),
        base_seq: 0,
        salt: 0,
        base_timestamp_ms: 0,
        predecessor: Some(predecessor),
        durable_seq: 0,
        appends_from: None,
        recycled: false,
        packed: false,
        sealed: false,
        packed_appends: false,
    };
    fn of(header: &mut SegmentHeader) -> &mut Predecessor {
        header.predecessor.as_mut().unwrap()
    }
    let mut layout = layout!(HEADER_BYTES, value, SegmentHeader::encode, {
        "log_id": |it: &mut SegmentHeader| it.log_id = LogId([1; 16]),
        "id": |it: &mut SegmentHeader| it.id = SegmentId(ALL - 1),
        "base_seq": |it: &mut SegmentHeader| it.base_seq = ALL,
        "salt": |it: &mut SegmentHeader| it.salt = ALL,
        "base_timestamp_ms": |it: &mut SegmentHeader| it.base_timestamp_ms = -1,
        "predecessor_id": |it: &mut SegmentHeader| of(it).id = SegmentId(ALL - 1),
        "predecessor_salt": |it: &mut SegmentHeader| of(it).salt = ALL,
        "predecessor_frames_end": |it: &mut SegmentHeader| of(it).frames_end = ALL,
        "predecessor_next_seq": |it: &mut SegmentHeader| of(it).next_seq = ALL,
        "predecessor_checksum": |it: &mut SegmentHeader| of(it).checksum = u32::MAX,
        "durable_seq": |it: &mut SegmentHeader| it.durable_seq = ALL,
        "copied": |it: &mut SegmentHeader| it.appends_from = Some(u64::from(u32::MAX) - 1),
    });
    // Of the bytes of these one changes: their words are turned over.
    turn_over(&mut layout, "flags", 10..12);
    turn_over(&mut layout, "origin", 20..24);
    layout
}

fn batch() -> Layout {
    let value = BatchHeader {
        body_bytes: 0,
        first_seq: 0,
        durable_seq: 0,
        timestamp_ms: 0,
        count: 1,
        sparse: false,
        packed: false,
    };
    let first = SegmentContext {
        base_seq: u32::MAX.into(),
        ..CONTEXT
    };
    let mut layout = layout!(
        BATCH_HEADER_BYTES, value, |it: &BatchHeader| it.encode(&CONTEXT, 128).to_vec(), {
        "body_bytes": |it: &mut BatchHeader| it.body_bytes = u32::MAX,
        "timestamp_delta": |it: &mut BatchHeader| it.timestamp_ms = -1,
    });
    // Two deltas of one seq: seen apart by moving the base along.
    let far = BatchHeader {
        first_seq: u32::MAX.into(),
        durable_seq: u32::MAX.into(),
        ..value
    };
    layout
        .changed
        .push(("first_seq_delta", far.encode(&CONTEXT, 128).to_vec()));
    let behind = BatchHeader {
        durable_seq: 0,
        ..far
    };
    layout
        .changed
        .push(("durable_distance", behind.encode(&first, 128).to_vec()));
    let shape = layout
        .bytes
        .iter()
        .enumerate()
        .map(|(at, byte)| if at >= 20 { !byte } else { *byte });
    layout.changed.push(("shape", shape.collect()));
    layout
}

pub fn frame(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    timestamp_ms: Option<i64>,
    producer: Option<Producer>,
) -> Vec<u8> {
    let mut out = Vec::new();
    encode(
        &mut out,
        CONTEXT.salt,
        7,
        None,
        &RecordParts {
            key,
            value,
            timestamp_ms,
            producer,
        },
    );
    out
}

fn annex() -> Layout {
    layout!(ANNEX_BYTES_MIN, 0, |kind: &u32| encode_annex(*kind, &[], &CONTEXT, 128), {
        "kind": |it: &mut u32| *it = u32::MAX,
    })
}

fn record() -> Layout {
    let bytes = frame(None, Some(b""), None, None);
    let meta = bytes
        .iter()
        .enumerate()
        .map(|(at, byte)| if at >= 4 { !byte } else { *byte })
        .collect();
    Layout {
        size: RECORD_BYTES_MIN,
        bytes,
        changed: vec![("meta", meta)],
    }
}

fn packed() -> Layout {
    let batch = BatchHeader {
        body_bytes: 0,
        first_seq: 0,
        durable_seq: 0,
        timestamp_ms: 0,
        count: 1,
        sparse: true,
        packed: true,
    };
    let value = PackedHead {
        codec: 0,
        append_count: 0,
        raw_bytes: 0,
        last_seq: 0,
        tombstone_count: 0,
        keyed_count: 0,
        min_timestamp_ms: 0,
        max_timestamp_ms: 0,
    };
    let encode = |it: &PackedHead| it.encode(&[], &batch, &CONTEXT, 128);
    layout!(HEAD_BYTES, value, encode, {
        "codec": |it: &mut PackedHead| it.codec = u8::MAX,
        "append_count": |it: &mut PackedHead| it.append_count = u8::MAX,
        "raw_bytes": |it: &mut PackedHead| it.raw_bytes = u32::MAX,
        "last_delta": |it: &mut PackedHead| it.last_seq = u32::MAX.into(),
        "tombstone_count": |it: &mut PackedHead| it.tombstone_count = u32::MAX,
        "keyed_count": |it: &mut PackedHead| it.keyed_count = u32::MAX,
        "min_timestamp_ms": |it: &mut PackedHead| it.min_timestamp_ms = -1,
        "max_timestamp_ms": |it: &mut PackedHead| it.max_timestamp_ms = -1,
    })
}

fn sealed_batch() -> Layout {
    let batch = BatchHeader {
        body_bytes: 0,
        first_seq: 0,
        durable_seq: 0,
        timestamp_ms: 0,
        count: 1,
        sparse: true,
        packed: true,
    };
    let value = SealedHead {
        facts: PackedHead {
            codec: 0,
            append_count: 0,
            raw_bytes: 0,
            last_seq: 0,
            tombstone_count: 0,
            keyed_count: 0,
            min_timestamp_ms: 0,
            max_timestamp_ms: 0,
        },
        cipher: 0,
        has_facts: true,
        key_id: KeyId(0),
        nonce: [0; 12],
    };
    let encode = |it: &SealedHead| {
        let mut bytes = it.encode(&batch);
        bytes[0] = 1; // The checksum is of all of the body, and written when that is there.
        bytes
    };
    layout!(SEALED_HEAD_BYTES + FACTS_BYTES, value, encode, {
        "codec": |it: &mut SealedHead| it.facts.codec = u8::MAX,
        "cipher": |it: &mut SealedHead| it.cipher = u8::MAX,
        "flags": |it: &mut SealedHead| it.has_facts = false,
        "append_count": |it: &mut SealedHead| it.facts.append_count = u8::MAX,
        "key_id": |it: &mut SealedHead| it.key_id = KeyId(u64::MAX),
        "nonce": |it: &mut SealedHead| it.nonce = [u8::MAX; 12],
        "raw_bytes": |it: &mut SealedHead| it.facts.raw_bytes = u32::MAX,
        "last_delta": |it: &mut SealedHead| it.facts.last_seq = u32::MAX.into(),
        "tombstone_count": |it: &mut SealedHead| it.facts.tombstone_count = u32::MAX,
        "keyed_count": |it: &mut SealedHead| it.facts.keyed_count = u32::MAX,
        "min_timestamp_ms": |it: &mut SealedHead| it.facts.min_timestamp_ms = -1,
        "max_timestamp_ms": |it: &mut SealedHead| it.facts.max_timestamp_ms = -1,
    })
}

fn stated_append() -> Layout {
    let value = StatedAppend {
        producer: Producer {
            id: 0,
            epoch: 0,
            number: 0,
        },
        first_delta: 0,
        count: 0,
    };
    let encode = |it: &StatedAppend| {
        let mut bytes = Vec::new();
        it.encode(&mut bytes);
        bytes
    };
    layout!(sealed::APPEND_BYTES, value, encode, {
        "producer_id": |it: &mut StatedAppend| it.producer.id = ALL,
        "producer_number": |it: &mut StatedAppend| it.producer.number = ALL,
        "producer_epoch": |it: &mut StatedAppend| it.producer.epoch = u32::MAX,
        "first_delta": |it: &mut StatedAppend| it.first_delta = u32::MAX,
        "count": |it: &mut StatedAppend| it.count = u32::MAX,
    })
}

const FOOTER: Footer = Footer {
    entry_count: 0,
    record_count: 0,
    tombstone_count: 0,
    keyed_count: 0,
    first_seq: 0,
    next_seq: 0,
    min_timestamp_ms: 0,
    max_timestamp_ms: 0,
    frames_end: 0,
    segment_checksum: 0,
};

fn footer() -> Layout {
    layout!(FOOTER_BYTES, FOOTER, |it: &Footer| it.encode(&CONTEXT, &[]), {
        "entry_count": |it: &mut Footer| it.entry_count = u32::MAX,
        "record_count": |it: &mut Footer| it.record_count = u32::MAX,
        "tombstone_count": |it: &mut Footer| it.tombstone_count = u32::MAX,
        "keyed_count": |it: &mut Footer| it.keyed_count = u32::MAX,
        "first_seq": |it: &mut Footer| it.first_seq = ALL,
        "next_seq": |it: &mut Footer| it.next_seq = ALL,
        "min_timestamp_ms": |it: &mut Footer| it.min_timestamp_ms = -1,
        "max_timestamp_ms": |it: &mut Footer| it.max_timestamp_ms = -1,
        "frames_end": |it: &mut Footer| it.frames_end = ALL,
        "segment_checksum": |it: &mut Footer| it.segment_checksum = u32::MAX,
    })
}

fn index_entry() -> Layout {
    let value = IndexEntry {
        seq_delta: 0,
        offset: 0,
    };
    let encode = |it: &IndexEntry| FOOTER.encode(&CONTEXT, &[*it])[FOOTER_BYTES..].to_vec();
    layout!(INDEX_ENTRY_BYTES, value, encode, {
        "seq_delta": |it: &mut IndexEntry| it.seq_delta = u32::MAX,
        "offset": |it: &mut IndexEntry| it.offset = u32::MAX,
    })
}

fn empty_manifest() -> Manifest {
    Manifest {
        log_id: LogId([0; 16]),
        incarnation: 0,
        write_features: 0,
        generation: 0,
        created_ms: 0,
        head_seq: 0,
        next_segment_id: SegmentId(0),
        durable_seq: 0,
        durable_end: 0,
        clean: false,
        has_ledger: false,
        sealed: Vec::new(),
        tail: TailEntry {
            id: SegmentId(0),
            salt: 0,
            base_seq: 0,
        },
        spare: None,
        marks: Vec::new(),
    }
}

fn manifest() -> Layout {
    let mut layout = layout!(MANIFEST_BYTES, empty_manifest(), Manifest::encode, {
        "log_id": |it: &mut Manifest| it.log_id = LogId([1; 16]),
        "incarnation": |it: &mut Manifest| it.incarnation = u32::MAX,
        "write_features": |it: &mut Manifest| it.write_features = u32::MAX,
        "generation": |it: &mut Manifest| it.generation = ALL,
        "created_ms": |it: &mut Manifest| it.created_ms = -1,
        "head_seq": |it: &mut Manifest| it.head_seq = ALL,
        "next_segment_id": |it: &mut Manifest| it.next_segment_id = SegmentId(ALL),
        "durable_seq": |it: &mut Manifest| it.durable_seq = ALL,
        "durable_end": |it: &mut Manifest| it.durable_end = ALL,
        "spare_id": |it: &mut Manifest| it.spare = Some(SpareEntry { id: SegmentId(ALL), salt: 0, recycled: false }),
        "spare_salt": |it: &mut Manifest| it.spare = Some(SpareEntry { id: SegmentId(0), salt: ALL, recycled: false }),
        "tail_id": |it: &mut Manifest| it.tail.id = SegmentId(ALL),
        "tail_salt": |it: &mut Manifest| it.tail.salt = ALL,
        "tail_base_seq": |it: &mut Manifest| it.tail.base_seq = ALL,
    });
    // A few bits and one small count: their words are turned over, and proved by the example.
    for (name, range) in [("flags", 20..24), ("sealed_count", 80..84)] {
        turn_over(&mut layout, name, range);
    }
    layout
}

fn sealed() -> Layout {
    let value = SealedEntry {
        id: SegmentId(0),
        salt: 0,
        base_seq: 0,
        next_seq: 0,
        frames_end: 0,
        max_timestamp_ms: 0,
        record_count: 0,
        tombstone_count: 0,
        keyed_count: 0,
        compacted: false,
        packed: false,
        far: false,
    };
    let encode = |it: &SealedEntry| {
        Manifest {
            sealed: vec![*it],
            ..empty_manifest()
        }
        .encode()[MANIFEST_BYTES..]
            .to_vec()
    };
    let mut layout = layout!(SEALED_BYTES, value, encode, {
        "id": |it: &mut SealedEntry| it.id = SegmentId(ALL),
        "salt": |it: &mut SealedEntry| it.salt = ALL,
        "base_seq": |it: &mut SealedEntry| it.base_seq = ALL,
        "next_seq": |it: &mut SealedEntry| it.next_seq = ALL,
        "frames_end": |it: &mut SealedEntry| it.frames_end = ALL,
        "max_timestamp_ms": |it: &mut SealedEntry| it.max_timestamp_ms = -1,
        "record_count": |it: &mut SealedEntry| it.record_count = u32::MAX,
        "tombstone_count": |it: &mut SealedEntry| it.tombstone_count = u32::MAX,
        "keyed_count": |it: &mut SealedEntry| it.keyed_count = u32::MAX,
    });
    // One bit: its word is turned over, and proved by the example.
    let bytes = layout.bytes.iter().enumerate();
    let other = bytes.map(|(at, byte)| if (60..64).contains(&at) { !byte } else { *byte });
    layout.changed.push(("flags", other.collect()));
    layout
}

fn marks() -> Layout {
    let bytes = encode_marks(&[Mark::new("a", "b")]);
    layout_of(MARKS_HEAD_BYTES, bytes, &[("marks_bytes", 4..8)])
}

fn one_mark() -> Layout {
    let bytes = encode_marks(&[Mark::new("a", "b")])[MARKS_HEAD_BYTES..].to_vec();
    let sizes = [
        ("mark_bytes", 0..4),
        ("name_bytes", 4..6),
        ("value_bytes", 6..8),
    ];
    layout_of(MARK_BYTES, bytes, &sizes)
}

/// A structure of sizes: their words are turned over, and proved by the example.
fn layout_of(size: usize, bytes: Vec<u8>, fields: &[(&'static str, Range<usize>)]) -> Layout {
    let changed = Vec::new();
    let mut layout = Layout {
        size,
        bytes,
        changed,
    };
    for (name, range) in fields {
        turn_over(&mut layout, name, range.clone());
    }
    layout
}

fn piece() -> Layout {
    let encode = |it: &Piece| it.encode().to_vec();
    layout!(PIECE_HEADER_BYTES, Piece::default(), encode, {
        "first": |it: &mut Piece| it.first_seq = Some(ALL),
        "offset": |it: &mut Piece| it.offset = ALL,
        "end": |it: &mut Piece| it.value_bytes = Some(ALL),
    })
}

fn no_producers() -> ProducersFile {
    ProducersFile {
        log_id: LogId([0; 16]),
        incarnation: 0,
        as_of_seq: 0,
        end_seq: 0,
        tail_id: SegmentId(0),
        producers: Vec::new(),
    }
}

fn producers() -> Layout {
    let mut layout = layout!(PRODUCERS_BYTES, no_producers(), ProducersFile::encode, {
        "log_id": |it: &mut ProducersFile| it.log_id = LogId([1; 16]),
        "incarnation": |it: &mut ProducersFile| it.incarnation = u32::MAX,
        "as_of_seq": |it: &mut ProducersFile| it.as_of_seq = ALL,
        "end_seq": |it: &mut ProducersFile| it.end_seq = ALL,
        "tail_id": |it: &mut ProducersFile| it.tail_id = SegmentId(ALL),
    });
    for (name, range) in [("producer_count", 56..60), ("append_count", 60..64)] {
        turn_over(&mut layout, name, range);
    }
    layout
}

fn no_producer() -> ProducerEntry {
    ProducerEntry {
        id: 0,
        epoch: 0,
        forgotten: None,
        appends: Vec::new(),
    }
}

fn producer_entry() -> Layout {
    let encode = |it: &ProducerEntry| {
        let producers = vec![it.clone()];
        let file = ProducersFile {
            producers,
            ..no_producers()
        };
        file.encode()[PRODUCERS_BYTES..].to_vec()
    };
    let value = ProducerEntry {
        forgotten: Some(0),
        ..no_producer()
    };
    let mut layout = layout!(PRODUCER_BYTES, value, encode, {
        "id": |it: &mut ProducerEntry| it.id = ALL,
        "epoch": |it: &mut ProducerEntry| it.epoch = u32::MAX,
        "forgotten_number": |it: &mut ProducerEntry| it.forgotten = Some(ALL),
    });
    for (name, range) in [("append_count", 12..16), ("flags", 24..28)] {
        turn_over(&mut layout, name, range);
    }
    layout
}

fn append_entry() -> Layout {
    let value = AppendEntry {
        number: 0,
        first_seq: 0,
        count: 0,
    };
    let encode = |it: &AppendEntry| {
        let producers = vec![ProducerEntry {
            appends: vec![*it],
            ..no_producer()
        }];
        let file = ProducersFile {
            producers,
            ..no_producers()
        };
        file.encode()[PRODUCERS_BYTES + PRODUCER_BYTES..].to_vec()
    };
    layout!(APPEND_BYTES, value, encode, {
        "number": |it: &mut AppendEntry| it.number = ALL,
        "first_seq": |it: &mut AppendEntry| it.first_seq = ALL,
        "count": |it: &mut AppendEntry| it.count = u32::MAX,
    })
}

/// A word of which the code sets only some bits: turned over, and proved by the example.
fn turn_over(layout: &mut Layout, name: &'static str, range: Range<usize>) {
    let bytes = layout.bytes.iter().enumerate();
    let other = bytes.map(|(at, byte)| if range.contains(&at) { !byte } else { *byte });
    layout.changed.push((name, other.collect()));
}

fn pending() -> Layout {
    let value = Pending {
        not_before_ms: 1,
        ..Pending::default()
    };
    let encode = |it: &Pending| {
        let cursor = CursorFile {
            pending: vec![*it],
            ..plain_cursor()
        };
        cursor.encode()[CURSOR_BYTES + 1..].to_vec()
    };
    let mut layout = layout!(WAITING_BYTES, value, encode, {
        "seq": |it: &mut Pending| it.seq = ALL,
        "delivery_count": |it: &mut Pending| it.delivery_count = u32::MAX,
        "not_before_ms": |it: &mut Pending| it.not_before_ms = -2,
    });
    turn_over(&mut layout, "flags", 12..16);
    layout
}

fn one_move() -> Layout {
    let encode = |it: &Move| {
        let mut out = Vec::new();
        it.encode(&mut out);
        out
    };
    let mut layout = layout!(MOVE_BYTES, Move::default(), encode, {
        "cursor_id": |it: &mut Move| it.cursor = ALL,
        "generation": |it: &mut Move| it.generation = ALL,
        "seq": |it: &mut Move| it.seq = ALL,
    });
    // The length is that of what is there: the example proves it.
    for (name, range) in [("move_bytes", 0..4), ("flags", 6..8)] {
        turn_over(&mut layout, name, range);
    }
    layout
}

fn cursor() -> Layout {
    let mut layout = layout!(CURSOR_BYTES, plain_cursor(), CursorFile::encode, {
        "log_id": |it: &mut CursorFile| it.log_id = LogId([1; 16]),
        "incarnation": |it: &mut CursorFile| it.incarnation = u32::MAX,
        "id": |it: &mut CursorFile| it.id = ALL,
        "seq": |it: &mut CursorFile| it.seq = ALL,
        "as_of_seq": |it: &mut CursorFile| it.as_of_seq = ALL,
        "generation": |it: &mut CursorFile| it.generation = ALL,
        "updated_ms": |it: &mut CursorFile| it.updated_ms = -1,
    });
    for (name, range) in [
        ("name_bytes", 10..12),
        ("flags", 72..74),
        ("pending_count", 76..80),
    ] {
        turn_over(&mut layout, name, range);
    }
    layout
}

fn plain_cursor() -> CursorFile {
    CursorFile {
        log_id: LogId([0; 16]),
        incarnation: 0,
        id: 0,
        seq: 0,
        as_of_seq: 0,
        generation: 0,
        updated_ms: 0,
        holds: false,
        name: "n".into(),
        pending: Vec::new(),
    }
}

fn watermark() -> Layout {
    let value = WatermarkFile {
        log_id: LogId([0; 16]),
        incarnation: 0,
        durable_seq: 0,
        generation: 0,
    };
    layout!(WATERMARK_BYTES, value, WatermarkFile::encode, {
        "log_id": |it: &mut WatermarkFile| it.log_id = LogId([1; 16]),
        "incarnation": |it: &mut WatermarkFile| it.incarnation = u32::MAX,
        "durable_seq": |it: &mut WatermarkFile| it.durable_seq = ALL,
        "generation": |it: &mut WatermarkFile| it.generation = ALL,
    })
}

/// Bit tables: all 32 bits, each where the encoder sets it.
fn check_bits(spec: &str) -> Outcome {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let stored = |count: u32, sparse: bool, packed: bool| {
        let header = BatchHeader {
            body_bytes: 0,
            first_seq: 0,
            durable_seq: 0,
            timestamp_ms: 0,
            count,
            sparse,
            packed,
        };
        word(&header.encode(&CONTEXT, 128), 20)
    };
    let shape = |count: u32, sparse: bool| stored(count, sparse, false);
    let meta = |frame: Vec<u8>| word(&frame, 4);
    let bare = meta(frame(None, Some(b""), None, None));
    let producer = Producer {
        id: 1,
        epoch: 2,
        number: 3,
    };
    let shapes: [(&str, u32); 6] = [
        ("count", shape(COUNT_MAX, false) ^ (shape(1, false) & !1)),
        ("sparse", shape(1, true) ^ shape(1, false)),
        ("watermark", shape(0, false) ^ shape(1, false) ^ 1),
        ("packed", stored(1, false, true) ^ shape(1, false)),
        // No encoder sets it: the decoder knows it.
        ("extended", 1 << 27),
        ("pattern", 0xF << 28),
    ];
    let metas: [(&str, u32); 6] = [
        ("value_bytes", VALUE_BYTES_MAX as u32),
        ("key", meta(frame(Some(b""), Some(b""), None, None)) ^ bare),
        ("tombstone", meta(frame(None, None, None, None)) ^ bare),
        (
            "timestamp",
            meta(frame(None, Some(b""), Some(1), None)) ^ bare,
        ),
        (
            "producer",
            meta(frame(None, Some(b""), None, Some(producer))) ^ bare,
        ),
        ("marker", bare),
    ];
    check_words(&table(spec, &["Bits of `shape"])?, &shapes)?;
    check_words(&table(spec, &["Bits of `meta"])?, &metas)?;
    let pattern = table(spec, &["Bits of `shape"])?;
    let says = pattern
        .iter()
        .any(|row| row[2].starts_with(&format!("{:04b}:", shape(1, false) >> 28)));
    if says {
        Ok(())
    } else {
        Err("the pattern is another".into())
    }
}

fn check_words(rows: &[Vec<&str>], bits: &[(&str, u32)]) -> Outcome {
    if rows.len() != bits.len() {
        return Err(format!("{} rows of bits", rows.len()));
    }
    for (row, (name, mask)) in rows.iter().zip(bits) {
        let (low, high) = row[0].split_once('–').unwrap_or((row[0], row[0]));
        let (low, high): (u32, u32) = (number(low)?, number(high)?);
        let of_page = (0..32)
            .filter(|bit| (low..=high).contains(bit))
            .fold(0, |word, bit| word | 1 << bit);
        if of_page != *mask || row[1] != *name || high > 31 {
            return Err(format!("bits {} are not {name}: {mask:#010x}", row[0]));
        }
    }
    Ok(())
}

/// The fields that a record has only if it needs them, in their order and size.
fn check_optional_fields(spec: &str) -> Outcome {
    let rows = table(spec, &["Size", "Field", "There if"])?;
    let sizes = rows
        .iter()
        .filter_map(|row| number(row[0]).ok().map(|size: usize| (row[1], size)));
    let mut delta = Vec::new();
    let parts = RecordParts {
        key: None,
        value: Some(b""),
        timestamp_ms: None,
        producer: None,
    };
    encode(&mut delta, CONTEXT.salt, 7, Some(u32::MAX), &parts);
    let producer = Producer {
        id: ALL,
        epoch: u32::MAX,
        number: ALL,
    };
    let with_producer = frame(None, None, None, Some(producer)).len() - RECORD_BYTES_MIN;
    let expected = [
        ("seq_delta", delta.len() - RECORD_BYTES_MIN),
        (
            "key_bytes",
            frame(Some(b""), None, None, None).len() - RECORD_BYTES_MIN,
        ),
        (
            "timestamp_ms",
            frame(None, None, Some(0), None).len() - RECORD_BYTES_MIN,
        ),
        ("producer_id", size_of_val(&producer.id)),
        ("producer_epoch", size_of_val(&producer.epoch)),
        (
            "producer_number",
            with_producer - size_of_val(&producer.id) - size_of_val(&producer.epoch),
        ),
    ];
    if sizes.eq(expected) {
        Ok(())
    } else {
        Err("the optional fields of a record".into())
    }
}
