//! The worked examples: arguments to facts, facts to bytes, bytes back to facts.

use super::blocks::{Block, blocks, file};
use cairnlog::format::batch::Records;
use cairnlog::format::batch::{check_annex, encode_annex};
use cairnlog::format::cursor::{CursorFile, Pending};
use cairnlog::format::footer::{FOOTER_BYTES, Footer, INDEX_ENTRY_BYTES, IndexEntry};
use cairnlog::format::header::{Origin, Predecessor};
use cairnlog::format::manifest::{SealedEntry, SpareEntry, TailEntry};
use cairnlog::format::marks::{Mark, decode_marks, encode_marks};
use cairnlog::format::moves::{MOVES_KIND, Move, moves};
use cairnlog::format::packed::{self, HEAD_BYTES, PackedHead};
use cairnlog::format::piece::Piece;
use cairnlog::format::producers::{AppendEntry, ProducerEntry, ProducersFile};
use cairnlog::format::record::{self, Producer, RecordParts};
use cairnlog::format::sealed::{self, Sealing, StatedAppend};
use cairnlog::format::{
    BatchHeader, Compression, Manifest, SegmentContext, SegmentHeader, StoredHead, WatermarkFile,
    crc32c,
};
use cairnlog::{Key, KeyId, LogId, SegmentId};

type Outcome<T = ()> = Result<T, String>;

/// The arguments of a block; every one must be asked for, so that none can be untrue.
struct Args<'a> {
    block: &'a Block,
    asked: std::cell::RefCell<Vec<String>>,
}

impl<'a> Args<'a> {
    fn new(block: &'a Block) -> Self {
        Self {
            block,
            asked: std::cell::RefCell::default(),
        }
    }

    fn maybe(&self, name: &str) -> Option<&'a str> {
        self.asked.borrow_mut().push(name.to_owned());
        self.block.text(name)
    }

    fn text(&self, name: &str) -> Outcome<&'a str> {
        self.maybe(name)
            .ok_or_else(|| format!("{}: no {name}", self.block.tag))
    }

    fn number<T: TryFrom<i128>>(&self, name: &str) -> Outcome<T> {
        number(self.text(name)?)
    }

    fn flag(&self, name: &str) -> Outcome<bool> {
        match self.text(name)? {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(format!("neither set nor not: {other}")),
        }
    }

    fn numbers(&self, name: &str) -> Outcome<Vec<u64>> {
        self.text(name)?.split([',', '@']).map(number).collect()
    }

    fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        let text = self.maybe(name)?.strip_prefix('"')?.strip_suffix('"')?;
        Some(text.as_bytes())
    }

    fn finish(&self) -> Outcome {
        let asked = self.asked.borrow();
        match self
            .block
            .names()
            .find(|name| !asked.iter().any(|it| it == name))
        {
            Some(name) => Err(format!("{}: what is {name}?", self.block.tag)),
            None => Ok(()),
        }
    }
}

pub fn number<T: TryFrom<i128>>(text: &str) -> Outcome<T> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let small = parsed.ok().and_then(|number| T::try_from(number).ok());
    small.ok_or_else(|| format!("not a number here: {text}"))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, page: T, code: T) -> Outcome {
    if page == code {
        Ok(())
    } else {
        Err(format!(
            "{what}: format.md says {page:x?}, the code {code:x?}"
        ))
    }
}

fn well<T, E: std::fmt::Display>(result: Result<T, E>) -> Outcome<T> {
    result.map_err(|error| error.to_string())
}

/// What the examples that were seen so far say about those that follow.
#[derive(Default)]
struct Seen {
    segments: Vec<(SegmentHeader, u64)>,
    batch: Option<(BatchHeader, SegmentContext)>,
    body: Vec<u8>,
    records_left: u32,
}

/// Compares every example with the encoder and feeds it to the decoder.
pub fn check(spec: &str) -> Outcome {
    let mut seen = Seen::default();
    let mut found = blocks(spec)?;
    // The page shows the interesting header first; headers are needed before what they govern.
    found.sort_by_key(|block| block.tag != "segment-header");
    for block in &found {
        let args = Args::new(block);
        let name = args.maybe("file");
        match block.tag.as_str() {
            "segment-header" => segment_header(&args, &mut seen)?,
            "batch-header" => batch_header(&args, name, &mut seen)?,
            "record" => record(&args, name, &mut seen)?,
            "annex" => annex(&args, &seen)?,
            "packed-batch" => packed_batch(&args, &mut seen)?,
            "sealed-batch" => sealed_batch(&args, &mut seen)?,
            "footer" => footer(&args, name, &seen)?,
            "manifest" => manifest(&args)?,
            "marks" => marks(&args)?,
            "producers" => producers(&args)?,
            "cursor" => cursor(&args)?,
            "watermark" => watermark(&args)?,
            "piece" => piece(&args)?,
            other => return Err(format!("an example of what? {other}")),
        }
        args.finish()?;
    }
    same("records left", 0, seen.records_left)
}

fn segment_header(args: &Args, seen: &mut Seen) -> Outcome {
    let predecessor = match args.text("predecessor")? {
        "none" => None,
        _ => match args.numbers("predecessor")?[..] {
            [id, salt, frames_end, next_seq, checksum] => Some(Predecessor {
                id: SegmentId(id),
                salt,
                frames_end,
                next_seq,
                checksum: u32::try_from(checksum).map_err(|_| "checksum")?,
            }),
            _ => return Err("five numbers make a predecessor".into()),
        },
    };
    let header = SegmentHeader {
        origin: if args.text("origin")? == "live" {
            Origin::Live
        } else {
            Origin::Copy
        },
        log_id: log_id(args)?,
        id: SegmentId(args.number("id")?),
        base_seq: args.number("base_seq")?,
        salt: args.number("salt")?,
        base_timestamp_ms: args.number("base_timestamp_ms")?,
        predecessor,
        durable_seq: args.number("durable_seq")?,
        appends_from: None,
        recycled: false,
        packed: false,
        sealed: false,
        packed_appends: false,
    };
    same("file of a segment", args.number("file")?, header.id.0)?;
    same("segment header", &args.block.bytes, &header.encode())?;
    same(
        "segment header",
        &header,
        &well(SegmentHeader::decode(&args.block.bytes))?,
    )?;
    seen.segments.push((header, 128));
    Ok(())
}

fn log_id(args: &Args) -> Outcome<LogId> {
    let digits = args.text("log")?;
    let bytes = super::blocks::unhex(digits).and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(LogId)
        .ok_or_else(|| format!("not a log id: {digits}"))
}

fn of_file<'a>(seen: &'a mut Seen, name: &str) -> Outcome<&'a mut (SegmentHeader, u64)> {
    let mut segments = seen.segments.iter_mut();
    segments
        .find(|(header, _)| header.id.0.to_string() == name)
        .ok_or_else(|| format!("no header of file {name}"))
}

fn batch_header(args: &Args, name: Option<&str>, seen: &mut Seen) -> Outcome {
    same("records left", 0, seen.records_left)?;
    let offset = args.number("offset")?;
    let batch = BatchHeader {
        body_bytes: args.number("body_bytes")?,
        first_seq: args.number("first_seq")?,
        durable_seq: args.number("durable_seq")?,
        timestamp_ms: args.number("timestamp_ms")?,
        count: args.number("count")?,
        sparse: args.maybe("sparse").is_some(),
        packed: args.maybe("packed").is_some(),
    };
    let context = match name {
        Some(name) => {
            let (header, end) = of_file(seen, name)?;
            same("offset of a batch", offset, *end)?;
            *end += batch.batch_bytes();
            header.context()
        }
        None => SegmentContext {
            salt: args.number("salt")?,
            base_seq: args.number("base_seq")?,
            base_timestamp_ms: args.number("base_timestamp_ms")?,
            log_id: LogId([0; 16]),
        },
    };
    if batch.first_seq < context.base_seq || batch.durable_seq > batch.first_seq {
        return Err("a batch's seqs".into());
    }
    let bytes = &args.block.bytes[..];
    same("batch header", bytes, &batch.encode(&context, offset))?;
    same(
        "batch header",
        batch,
        well(BatchHeader::decode(bytes, &context, offset))?,
    )?;
    seen.batch = Some((batch, context));
    seen.body.clear();
    seen.records_left = batch.count;
    Ok(())
}

fn record(args: &Args, name: Option<&str>, seen: &mut Seen) -> Outcome {
    let (batch, context) = seen.batch.ok_or("a record without a batch")?;
    if let Some(name) = name {
        same(
            "file of a record",
            context.salt,
            of_file(seen, name)?.0.salt,
        )?;
    } else {
        same("salt of a record", args.number("salt")?, context.salt)?;
    }
    let producer = match args
        .maybe("producer")
        .map(|_| args.numbers("producer"))
        .transpose()?
    {
        None => None,
        Some(numbers) => match numbers[..] {
            [id, epoch, number] => {
                let epoch = u32::try_from(epoch).map_err(|_| "epoch")?;
                Some(Producer { id, epoch, number })
            }
            _ => return Err("three numbers make a producer".into()),
        },
    };
    let own_time = args.maybe("timestamp_ms");
    let parts = RecordParts {
        key: args.bytes("key"),
        value: args.bytes("value"),
        timestamp_ms: own_time.map(|_| args.number("timestamp_ms")).transpose()?,
        producer,
    };
    same(
        "a tombstone",
        args.maybe("tombstone").is_some(),
        parts.value.is_none(),
    )?;
    let delta = args.maybe("delta");
    let delta = delta.map(|_| args.number::<u32>("delta")).transpose()?;
    let seq = args.number("seq")?;
    let mut encoded = Vec::new();
    record::encode(&mut encoded, context.salt, seq, delta, &parts);
    same("record", &args.block.bytes, &encoded)?;

    seen.body.extend_from_slice(&encoded);
    seen.records_left = seen
        .records_left
        .checked_sub(1)
        .ok_or("a record too many")?;
    let mut records = Records::new(&seen.body, context, batch).collect::<Vec<_>>();
    if seen.records_left > 0 {
        records.pop(); // The one that is still missing.
    }
    let decoded = well(records.pop().ok_or("no record")?)?;
    same("seq", seq, decoded.seq)?;
    same("key", parts.key, decoded.key)?;
    same("value", parts.value, decoded.value)?;
    same("producer", parts.producer, decoded.producer)?;
    same(
        "time",
        parts.timestamp_ms.unwrap_or(batch.timestamp_ms),
        decoded.timestamp_ms,
    )
}

/// Two records of these values, the second by a producer, under a key whose bytes are all its number.
fn sealed_batch(args: &Args, seen: &mut Seen) -> Outcome {
    let (batch, context) = seen.batch.ok_or("sealed records without a batch")?;
    same("salt of a sealed batch", args.number("salt")?, context.salt)?;
    let context = SegmentContext {
        log_id: log_id(args)?,
        ..context
    };
    let offset = args.number("offset")?;
    let number: u8 = args.number("key_id")?;
    let nonce: Vec<u8> = (args.numbers("nonce")?.iter())
        .map(|byte| u8::try_from(*byte).unwrap_or(0))
        .collect();
    let sealing = Sealing {
        key_id: KeyId(number.into()),
        key: Key::new([number; 32]),
        nonce: nonce.try_into().map_err(|_| "a nonce has 12 bytes")?,
    };
    let by = producer(args)?.ok_or("who appended the second record?")?;
    let (inner, mut raw) = (packed::inner(&context), Vec::new());
    for (seq, (value, producer)) in (batch.first_seq..).zip([("value", None), ("then", Some(by))]) {
        let parts = RecordParts {
            key: None,
            value: args.bytes(value),
            timestamp_ms: None,
            producer,
        };
        record::encode(&mut raw, inner.salt, seq, None, &parts);
    }
    let facts = PackedHead {
        codec: 0,
        append_count: 1,
        raw_bytes: args.number("raw_bytes")?,
        last_seq: batch.next_seq() - 1,
        tombstone_count: 0,
        keyed_count: 0,
        min_timestamp_ms: batch.timestamp_ms,
        max_timestamp_ms: batch.timestamp_ms,
    };
    let append = StatedAppend {
        producer: by,
        first_delta: 1,
        count: 1,
    };
    let bytes = &args.block.bytes[..];
    same(
        "body of a sealed batch",
        batch.body_bytes as usize,
        bytes.len(),
    )?;
    let head = well(StoredHead::decode(bytes, &batch, &context, offset))?;
    same("facts of a sealed batch", facts, *head.facts())?;
    same("key of a sealed batch", Some(sealing.key_id), head.key_id())?;
    let mut encoded = Vec::new();
    let known = (&batch, &facts, &[append][..]);
    let done = sealed::encode(
        &mut encoded,
        &raw,
        (None, true),
        &sealing,
        known,
        (&context, offset),
    );
    if done.is_some() {
        same("sealed batch", bytes, &encoded)?;
    }
    seen.records_left = 0;
    Ok(())
}

/// Whom the arguments name.
fn producer(args: &Args) -> Outcome<Option<Producer>> {
    if args.maybe("producer").is_none() {
        return Ok(None);
    }
    match args.numbers("producer")?[..] {
        [id, epoch, number] => Ok(Some(Producer {
            id,
            epoch: u32::try_from(epoch).map_err(|_| "epoch")?,
            number,
        })),
        _ => Err("three numbers make a producer".into()),
    }
}

fn packed_batch(args: &Args, seen: &mut Seen) -> Outcome {
    let (batch, context) = seen.batch.ok_or("packed records without a batch")?;
    same("salt of a packed batch", args.number("salt")?, context.salt)?;
    let offset = args.number("offset")?;
    let producer = producer(args)?;
    let head = PackedHead {
        codec: args.number("codec")?,
        append_count: producer.is_some().into(),
        raw_bytes: args.number("raw_bytes")?,
        last_seq: args.number("last_seq")?,
        tombstone_count: args.number("tombstone_count")?,
        keyed_count: args.number("keyed_count")?,
        min_timestamp_ms: args.number("min_timestamp_ms")?,
        max_timestamp_ms: args.number("max_timestamp_ms")?,
    };
    let bytes = &args.block.bytes[..];
    same(
        "body of a packed batch",
        batch.body_bytes as usize,
        bytes.len(),
    )?;
    let encoded = head.encode(&bytes[HEAD_BYTES..], &batch, &context, offset);
    same("packed batch", bytes, &encoded)?;
    same(
        "packed batch",
        head,
        well(PackedHead::decode(bytes, &batch, &context, offset))?,
    )?;
    if let Some(producer) = producer {
        let (mut stated, first_delta) = (Vec::new(), 0);
        let count = batch.count;
        let append = StatedAppend {
            producer,
            first_delta,
            count,
        };
        append.encode(&mut stated);
        same(
            "stated append",
            &bytes[bytes.len() - stated.len()..],
            &stated,
        )?;
    }
    // All of its records have this value, and its producer if it has one.
    let (inner, mut raw) = (packed::inner(&context), Vec::new());
    let parts = RecordParts {
        key: None,
        value: args.bytes("value"),
        timestamp_ms: None,
        producer,
    };
    for seq in batch.first_seq..=head.last_seq {
        record::encode(&mut raw, inner.salt, seq, None, &parts);
    }
    let mut unpacked = vec![0; raw.len()];
    same("unpacked bytes", head.raw_bytes as usize, raw.len())?;
    if Compression::Lz4.is_built() {
        well(head.unpack(bytes, &batch, &mut unpacked))?;
        same("unpacked records", &raw, &unpacked)?;
    }
    seen.records_left = 0;
    Ok(())
}

fn footer(args: &Args, name: Option<&str>, seen: &Seen) -> Outcome {
    let numbers = args.numbers("index")?;
    let index: Vec<IndexEntry> = numbers
        .chunks_exact(2)
        .map(|pair| IndexEntry {
            seq_delta: pair[0] as u32,
            offset: pair[1] as u32,
        })
        .collect();
    let footer = Footer {
        entry_count: index.len() as u32,
        record_count: args.number("record_count")?,
        tombstone_count: args.number("tombstone_count")?,
        keyed_count: args.number("keyed_count")?,
        first_seq: args.number("first_seq")?,
        next_seq: args.number("next_seq")?,
        min_timestamp_ms: args.number("min_timestamp_ms")?,
        max_timestamp_ms: args.number("max_timestamp_ms")?,
        frames_end: args.number("frames_end")?,
        segment_checksum: args.number("segment_checksum")?,
    };
    let of_segment = |(header, _): &&(SegmentHeader, u64)| {
        Some(header.id.0.to_string()) == name.map(str::to_owned)
    };
    let (header, end) = seen
        .segments
        .iter()
        .find(of_segment)
        .ok_or("a footer without a segment")?;
    same("end of the frames", footer.frames_end, *end)?;
    let context = header.context();
    same(
        "footer",
        &args.block.bytes,
        &footer.encode(&context, &index),
    )?;
    let decoded = well(Footer::decode(
        &args.block.bytes,
        &context,
        footer.frames_end,
    ))?;
    same("footer", footer, decoded)?;
    let entries = well(decoded.verify_index(&args.block.bytes, &context))?;
    same(
        "bytes of the index",
        args.block.bytes.len(),
        FOOTER_BYTES + index.len() * INDEX_ENTRY_BYTES,
    )?;
    let read: Vec<_> = (0..index.len())
        .map(|number| IndexEntry::read(&entries, number))
        .collect();
    same("index", index, read)
}

fn manifest(args: &Args) -> Outcome {
    let (tail, spare) = (args.numbers("tail")?, args.numbers("spare")?);
    let sealed = match args.numbers("sealed")?[..] {
        [
            id,
            salt,
            base_seq,
            next_seq,
            frames_end,
            max_timestamp_ms,
            records,
            tombstones,
            keyed,
            compacted,
        ] => SealedEntry {
            id: SegmentId(id),
            salt,
            base_seq,
            next_seq,
            frames_end,
            max_timestamp_ms: max_timestamp_ms as i64,
            record_count: records as u32,
            tombstone_count: tombstones as u32,
            keyed_count: keyed as u32,
            compacted: compacted == 1,
            packed: false,
            far: false,
        },
        _ => return Err("ten numbers make a sealed segment".into()),
    };
    let manifest = Manifest {
        log_id: log_id(args)?,
        incarnation: args.number("incarnation")?,
        write_features: 0,
        generation: args.number("generation")?,
        created_ms: args.number("created_ms")?,
        head_seq: args.number("head_seq")?,
        next_segment_id: SegmentId(args.number("next_segment_id")?),
        durable_seq: args.number("durable_seq")?,
        durable_end: args.number("durable_end")?,
        clean: args.flag("clean")?,
        has_ledger: args.flag("has_ledger")?,
        sealed: vec![sealed],
        tail: TailEntry {
            id: SegmentId(tail[0]),
            salt: tail[1],
            base_seq: tail[2],
        },
        marks: Vec::new(),
        spare: Some(SpareEntry {
            id: SegmentId(spare[0]),
            salt: spare[1],
            recycled: false,
        }),
    };
    same("file of the manifest", args.text("file")?, "MANIFEST")?;
    same("manifest", &args.block.bytes, &manifest.encode())?;
    same(
        "manifest",
        &manifest,
        &well(Manifest::decode(&args.block.bytes))?,
    )
}

fn marks(args: &Args) -> Outcome {
    let value = args.bytes("value").ok_or("a mark without a value")?;
    let marks = [Mark::new(args.text("name")?, value)];
    same("marks", &args.block.bytes, &encode_marks(&marks))?;
    same(
        "marks",
        &marks[..],
        &well(decode_marks(&args.block.bytes))?[..],
    )
}

fn producers(args: &Args) -> Outcome {
    let small = |number: u64| u32::try_from(number).map_err(|_| "a small number");
    let ([id, epoch], [number, first_seq, count]) =
        (&args.numbers("producer")?[..], &args.numbers("append")?[..])
    else {
        return Err("two numbers make a producer, three an append".into());
    };
    let append = AppendEntry {
        number: *number,
        first_seq: *first_seq,
        count: small(*count)?,
    };
    let producer = ProducerEntry {
        id: *id,
        epoch: small(*epoch)?,
        forgotten: None,
        appends: vec![append],
    };
    let file = ProducersFile {
        log_id: log_id(args)?,
        incarnation: args.number("incarnation")?,
        as_of_seq: args.number("as_of_seq")?,
        end_seq: args.number("end_seq")?,
        tail_id: SegmentId(args.number("tail")?),
        producers: vec![producer],
    };
    same("producers", &args.block.bytes, &file.encode())?;
    let decoded = well(ProducersFile::decode(&args.block.bytes))?;
    same("producers", file, decoded)
}

fn pending(args: &Args) -> Outcome<Vec<Pending>> {
    let numbers = args.numbers("pending")?;
    let pending = numbers.chunks_exact(3).map(|it| Pending {
        seq: it[0],
        delivery_count: it[1] as u32,
        acked: it[2] & 1 != 0,
        done_by_move: it[2] & 2 != 0,
        round: (it[2] >> 8) as u32,
        not_before_ms: 0,
    });
    Ok(pending.collect())
}

/// The moves in the body of the batch before.
fn annex(args: &Args, seen: &Seen) -> Outcome {
    let (batch, context) = seen.batch.ok_or("an annex without a batch")?;
    let offset = args.number("offset")?;
    same("salt of an annex", args.number("salt")?, context.salt)?;
    let entry = Move {
        cursor: args.number("cursor")?,
        generation: args.number("generation")?,
        seq: args.number("seq")?,
        holds: args.flag("holds")?,
        anew: args.flag("anew")?,
        pending: pending(args)?,
    };
    let (bytes, mut content) = (&args.block.bytes[..], Vec::new());
    entry.encode(&mut content);
    let body = encode_annex(MOVES_KIND, &content, &context, offset);
    same("annex", bytes, &body)?;
    same("body of a batch", bytes.len(), batch.body_bytes as usize)?;
    let kind = well(check_annex(bytes, &context, offset))?;
    same("kind of an annex", kind, Some(MOVES_KIND))?;
    let decoded: Result<Vec<Move>, _> = moves(bytes).collect();
    same("moves", vec![entry], well(decoded)?)
}

fn cursor(args: &Args) -> Outcome {
    let cursor = CursorFile {
        log_id: log_id(args)?,
        incarnation: args.number("incarnation")?,
        id: args.number("id")?,
        seq: args.number("seq")?,
        as_of_seq: args.number("as_of_seq")?,
        generation: args.number("generation")?,
        updated_ms: args.number("updated_ms")?,
        holds: args.flag("holds")?,
        name: String::from_utf8_lossy(args.bytes("name").ok_or("no name")?).into_owned(),
        pending: pending(args)?,
    };
    same("cursor", &args.block.bytes, &cursor.encode())?;
    same(
        "cursor",
        &cursor,
        &well(CursorFile::decode(&args.block.bytes))?,
    )
}

fn watermark(args: &Args) -> Outcome {
    let watermark = WatermarkFile {
        log_id: log_id(args)?,
        incarnation: args.number("incarnation")?,
        durable_seq: args.number("durable_seq")?,
        generation: args.number("generation")?,
    };
    same("file of the watermark", args.text("file")?, "WATERMARK")?;
    same("watermark", &args.block.bytes, &watermark.encode())?;
    same(
        "watermark",
        &watermark,
        &well(WatermarkFile::decode(&args.block.bytes))?,
    )
}

/// A header, and the bytes of the value in it.
fn piece(args: &Args) -> Outcome {
    let number = |name| args.maybe(name).map(number).transpose();
    let bytes = args.bytes("bytes").ok_or("a piece without bytes")?;
    let piece = Piece {
        first_seq: number("first_seq")?,
        offset: args.number("offset")?,
        value_bytes: number("value_bytes")?,
    };
    let encoded = [&piece.encode(), bytes].concat();
    same("piece", &args.block.bytes, &encoded)?;
    same(
        "piece",
        Some((piece, bytes)),
        Piece::decode(&args.block.bytes),
    )
}

/// The examples make a log: what one says of another is true of it.
pub fn check_agreement(spec: &str) -> Outcome {
    let found = blocks(spec)?;
    let manifest = well(Manifest::decode(&file(&found, "MANIFEST")))?;
    let [entry] = manifest.sealed[..] else {
        return Err("one segment is sealed".into());
    };
    let (first, second) = (file(&found, "1"), file(&found, "2"));
    let sealed = well(SegmentHeader::decode(&first))?;
    let tail = well(SegmentHeader::decode(&second))?;
    let frames = first
        .get(..entry.frames_end as usize)
        .ok_or("segment 1 is too short")?;
    let behind = &first[frames.len()..];
    let footer = well(Footer::decode(behind, &sealed.context(), entry.frames_end))?;
    same(
        "checksum of segment 1",
        footer.segment_checksum,
        crc32c(0, frames),
    )?;
    let expected = Predecessor {
        id: sealed.id,
        salt: sealed.salt,
        frames_end: entry.frames_end,
        next_seq: entry.next_seq,
        checksum: footer.segment_checksum,
    };
    same("predecessor of segment 2", tail.predecessor, Some(expected))?;
    let of_entry = (
        entry.id,
        entry.salt,
        entry.base_seq,
        entry.next_seq,
        entry.max_timestamp_ms,
    );
    let of_file = (
        sealed.id,
        sealed.salt,
        sealed.base_seq,
        footer.next_seq,
        footer.max_timestamp_ms,
    );
    same("entry of segment 1", of_entry, of_file)?;
    let of_entry = (entry.record_count, entry.tombstone_count);
    same(
        "counts of segment 1",
        of_entry,
        (footer.record_count, footer.tombstone_count),
    )?;
    let of_tail = (manifest.tail.id, manifest.tail.salt, manifest.tail.base_seq);
    same(
        "entry of segment 2",
        of_tail,
        (tail.id, tail.salt, tail.base_seq),
    )?;
    same("log id", [sealed.log_id, tail.log_id], [manifest.log_id; 2])?;
    same("what follows in segment 2", tail.base_seq, entry.next_seq)?;
    let ledger = well(ProducersFile::decode(&file(&found, "PRODUCERS")))?;
    let cursor = well(CursorFile::decode(&file(&found, "cursor")))?;
    same(
        "log id",
        [ledger.log_id, cursor.log_id],
        [manifest.log_id; 2],
    )?;
    let of_ledger = (ledger.as_of_seq, ledger.tail_id);
    same("base of the tail", of_ledger, (tail.base_seq, tail.id))?;
    same(
        "what the cursor counts",
        cursor.as_of_seq,
        manifest.durable_seq,
    )
}
