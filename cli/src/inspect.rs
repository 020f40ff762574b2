//! `cairn inspect`: a segment file, frame by frame.

use crate::{
    exit::{self, About, Failure, In, Outcome},
    open, output, stream,
};
use cairnlog::{
    Defect, Inspected, SegmentId, SegmentInfo,
    format::{
        BatchHeader, RecordRef, SegmentHeader, StoredHead,
        batch::BATCH_HEADER_BYTES,
        footer::{FOOTER_BYTES, INDEX_ENTRY_BYTES},
        header::{HEADER_BYTES, Origin},
        names,
        packed::HEAD_BYTES,
        sealed::SEALED_HEAD_BYTES,
    },
};
use clap::Args;
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

pub const EXAMPLES: &str = "\
Shows what is in the file, whether or not the log names it, in the order of the offsets. format.md
describes every structure. `cairn stat` lists the segments.

Examples:
  cairn inspect orders.log 1
  cairn inspect orders.log 1 --no-records
  cairn inspect orders.log 00000000000000000001.seg --json | tail -n 1";

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// The directory of the log
    dir: PathBuf,
    /// The segment: its number, or the name of its file
    #[arg(value_parser = segment)]
    segment: SegmentId,
    /// Leave the records out: headers, batches, footer and what does not verify
    #[arg(long)]
    no_records: bool,
    /// Print an object a line
    #[arg(long)]
    json: bool,
}

fn segment(text: &str) -> Result<SegmentId, String> {
    let named = names::parse_segment(text);
    let number = || text.parse().ok().filter(|id| *id != 0).map(SegmentId);
    named.or_else(number).ok_or_else(|| {
        "a number from 1, or a name such as 00000000000000000001.seg, was expected".into()
    })
}

/// One line: where, how long, what, and the rest of it.
struct Line {
    offset: u64,
    /// `None`: it reaches to whatever comes next, or to the end of its batch.
    bytes: Option<u64>,
    kind: &'static str,
    facts: Value,
    text: String,
}

pub fn run(args: &InspectArgs) -> Outcome {
    let path = args.dir.join(names::segment(args.segment));
    match fs::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_far(args) => {
            let dir = exit::quoted(&args.dir);
            let which = format!("`cairn stat {dir}` lists those of a log");
            let text = format!(
                "inspect: there is no segment {} in {dir}; {which}",
                args.segment
            );
            return Err(Failure::Said(text));
        }
        // Where it is, or that nobody said where, the engine tells.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => drop(opened.about(path.display())?),
    }
    let mut out = stream::pretty();
    let mut told: io::Result<()> = Ok(());
    let mut pending: Option<Line> = None;
    let mut batch_end = 0;
    // Not before there is something to be shown.
    let mut head = (!args.json).then(|| format!("{:>12} {:>12}  what", "offset", "bytes"));
    let mut tell = |line: Line| {
        if told.is_ok() {
            let headed = (head.take()).map_or(Ok(()), |head| writeln!(out, "{}", head.dimmed()));
            told = headed.and_then(|()| line.tell(&mut out, args.json));
        }
    };
    let walked = open::options()?.inspect(&args.dir, args.segment, |item| {
        let next = Line::new(&item);
        if let Some(mut before) = pending.take() {
            if before.bytes.is_none() {
                // Records of a packed batch have the offsets that they would have if it were not.
                let end = match item {
                    Inspected::Batch { .. } | Inspected::Footer { .. } => batch_end,
                    _ => next.offset.min(batch_end),
                };
                before.bytes = Some(end.saturating_sub(before.offset));
            }
            tell(before);
        }
        match &item {
            Inspected::Batch { offset, header } => batch_end = offset + header.batch_bytes(),
            Inspected::Packed { offset, head, .. } => {
                batch_end = offset + BATCH_HEADER_BYTES as u64 + u64::from(head.facts().raw_bytes);
            }
            _ => {}
        }
        if !(args.no_records && matches!(item, Inspected::Record { .. })) {
            pending = Some(next);
        }
    });
    if let Some(mut last) = pending.take() {
        last.bytes = last.bytes.or(Some(batch_end.saturating_sub(last.offset)));
        tell(last);
    }
    told?;
    out.flush()?;
    walked.in_log(&args.dir)
}

/// Whether the log has let go of the segment.
fn is_far(args: &InspectArgs) -> bool {
    let reader = open::read_only(&args.dir);
    let segments = reader.and_then(|reader| reader.segments().in_log(&args.dir));
    let is_it = |it: &SegmentInfo| it.is_far && it.id == args.segment;
    segments.is_ok_and(|segments| segments.iter().any(is_it))
}

impl Line {
    fn new(item: &Inspected<'_>) -> Self {
        match item {
            Inspected::Header(header) => Self::header(header),
            Inspected::Batch { offset, header } => Self::batch(*offset, header),
            Inspected::Packed {
                offset,
                head,
                defect,
            } => Self::stored(*offset, head, *defect),
            Inspected::Record { offset, record } => Self::record(*offset, record),
            Inspected::Unverified {
                offset,
                end_offset,
                defect,
            } => Self {
                offset: *offset,
                bytes: Some(end_offset - offset),
                kind: "unverified",
                facts: json!({ "defect": defect.to_string() }),
                text: defect.to_string(),
            },
            Inspected::Footer { offset, footer } => Self {
                offset: *offset,
                bytes: Some(
                    (FOOTER_BYTES + footer.entry_count as usize * INDEX_ENTRY_BYTES) as u64,
                ),
                kind: "footer",
                facts: json!({
                    "entry_count": footer.entry_count,
                    "record_count": footer.record_count,
                    "tombstone_count": footer.tombstone_count,
                    "keyed_count": footer.keyed_count,
                    "first_seq": footer.first_seq,
                    "next_seq": footer.next_seq,
                    "min_timestamp_ms": footer.min_timestamp_ms,
                    "max_timestamp_ms": footer.max_timestamp_ms,
                    "segment_checksum": footer.segment_checksum,
                }),
                text: format!(
                    "seq {}..{}, {} records, {} tombstones, {} with a key, {} index entries, \
                     segment checksum {:#010x}",
                    footer.first_seq,
                    footer.next_seq,
                    footer.record_count,
                    footer.tombstone_count,
                    footer.keyed_count,
                    footer.entry_count,
                    footer.segment_checksum
                ),
            },
            Inspected::Zeros { offset, end_offset } => Self {
                offset: *offset,
                bytes: Some(end_offset - offset),
                kind: "zeros",
                facts: json!({}),
                text: "allocated ahead".to_owned(),
            },
            _ => Self {
                offset: 0,
                bytes: Some(0),
                kind: "unknown",
                facts: json!({}),
                text: String::new(),
            },
        }
    }

    fn header(header: &SegmentHeader) -> Self {
        let origin = match header.origin {
            Origin::Live => "live",
            Origin::Copy => "copy",
        };
        let mut text = format!(
            "segment {}, {origin}, base seq {}, durable seq {}, salt {:#018x}, log {}, begun {}",
            header.id,
            header.base_seq,
            header.durable_seq,
            header.salt,
            header.log_id,
            output::time(header.base_timestamp_ms)
        );
        if let Some(before) = &header.predecessor {
            text += &format!(
                ", after segment {} that ends at offset {} seq {}",
                before.id, before.frames_end, before.next_seq
            );
        }
        Self {
            offset: 0,
            bytes: Some(HEADER_BYTES as u64),
            kind: "header",
            facts: json!({
                "segment": header.id.0,
                "origin": origin,
                "base_seq": header.base_seq,
                "durable_seq": header.durable_seq,
                "salt": format!("{:016x}", header.salt),
                "log_id": header.log_id.to_string(),
                "base_timestamp_ms": header.base_timestamp_ms,
                "predecessor": header.predecessor.map(|before| json!({
                    "segment": before.id.0,
                    "frames_end": before.frames_end,
                    "next_seq": before.next_seq,
                    "checksum": before.checksum,
                })),
            }),
            text,
        }
    }

    fn batch(offset: u64, header: &BatchHeader) -> Self {
        let watermark = header.count == 0;
        let mut text = format!("seq {}..{}", header.first_seq, header.next_seq());
        if watermark {
            text = format!("next seq {}", header.first_seq);
        }
        let annex = watermark && header.body_bytes > 0;
        text += &format!(
            ", body of {} bytes, durable seq {}, {}",
            header.body_bytes,
            header.durable_seq,
            output::time(header.timestamp_ms)
        );
        if header.sparse {
            text += ", sparse";
        }
        if header.packed {
            text += ", packed";
        }
        Self {
            offset,
            bytes: Some(BATCH_HEADER_BYTES as u64),
            kind: match (watermark, annex) {
                (_, true) => "annex",
                (true, false) => "watermark",
                (false, _) => "batch",
            },
            facts: json!({
                "first_seq": header.first_seq,
                "record_count": header.count,
                "body_bytes": header.body_bytes,
                "durable_seq": header.durable_seq,
                "timestamp_ms": header.timestamp_ms,
                "sparse": header.sparse,
                "packed": header.packed,
            }),
            text,
        }
    }

    fn stored(offset: u64, stored: &StoredHead, defect: Option<Defect>) -> Self {
        let head = stored.facts();
        let mut text = format!(
            "codec {}, {} bytes of records when unpacked, last seq {}, {} tombstones, {} with a key",
            head.codec, head.raw_bytes, head.last_seq, head.tombstone_count, head.keyed_count
        );
        let mut facts = json!({
            "codec": head.codec,
            "append_count": head.append_count,
            "raw_bytes": head.raw_bytes,
            "last_seq": head.last_seq,
            "tombstone_count": head.tombstone_count,
            "keyed_count": head.keyed_count,
            "min_timestamp_ms": head.min_timestamp_ms,
            "max_timestamp_ms": head.max_timestamp_ms,
        });
        let (mut kind, mut bytes) = ("packed", HEAD_BYTES);
        if let StoredHead::Sealed(sealed) = stored {
            (kind, bytes) = ("sealed", SEALED_HEAD_BYTES);
            text += &format!(
                "; {} under key {}",
                sealed
                    .cipher()
                    .map_or_else(String::new, |it| it.to_string()),
                sealed.key_id
            );
            facts["cipher"] = sealed.cipher.into();
            facts["key_id"] = sealed.key_id.0.into();
        }
        if let Some(defect) = defect {
            text += &format!("; {defect}");
            facts["defect"] = defect.to_string().into();
        }
        Self {
            offset: offset + BATCH_HEADER_BYTES as u64,
            bytes: Some(bytes as u64),
            kind,
            facts,
            text,
        }
    }

    fn record(offset: u64, record: &RecordRef<'_>) -> Self {
        let mut text = format!("seq {}", record.seq);
        let mut facts = json!({ "seq": record.seq, "timestamp_ms": record.timestamp_ms });
        if let Some(key) = record.key {
            text += &format!(", key {}", preview(key));
            facts["key_bytes"] = key.len().into();
        }
        match record.value {
            Some(value) => {
                text += &format!(", value {}", preview(value));
                facts["value_bytes"] = value.len().into();
            }
            None => {
                text += ", tombstone";
                facts["tombstone"] = true.into();
            }
        }
        Self {
            offset,
            bytes: None,
            kind: "record",
            facts,
            text,
        }
    }

    fn tell(self, out: &mut impl Write, json: bool) -> io::Result<()> {
        let bytes = self.bytes.unwrap_or(0);
        if json {
            let mut object = json!({ "offset": self.offset, "bytes": bytes, "kind": self.kind });
            if let (Some(object), Value::Object(facts)) = (object.as_object_mut(), self.facts) {
                object.extend(facts);
            }
            return writeln!(out, "{object}");
        }
        let kind = match self.kind {
            "unverified" => self.kind.red().to_string(),
            "record" => format!("  {}", self.kind),
            "zeros" => self.kind.dimmed().to_string(),
            _ => self.kind.cyan().to_string(),
        };
        writeln!(out, "{:>12} {bytes:>12}  {kind} {}", self.offset, self.text)
    }
}

/// The size of bytes and how they begin.
fn preview(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    let start = bytes.get(..SHOWN).unwrap_or(bytes);
    let rest = if bytes.len() > SHOWN { "…" } else { "" };
    format!("{} bytes \"{}\"{rest}", bytes.len(), start.escape_ascii())
}
