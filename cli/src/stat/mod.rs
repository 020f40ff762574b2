//! `cairn stat`: a picture of the log: what there is, and that for scripts. `draw` shows it to people.

mod draw;

use crate::{
    cursor,
    exit::{About, Failure, In, Outcome},
    keys::{self, KeysInUse},
    open, output, stream,
};
use cairnlog::{
    CursorInfo, Inspected, SegmentId, Seq,
    format::{Manifest, SEALED_FEATURE, SegmentHeader, names},
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
};

pub const EXAMPLES: &str = "\
Each column of the bar is a share of the log's bytes; neighbouring segments differ in shade, and dots
are space allocated ahead. Takes no lock and writes nothing. Where something does not verify, the
picture is of what does, and it ends with 3.

Dirty is what `cairn compact` may shrink: sealed segments with keys that were never compacted.

Examples:
  cairn stat orders.log
  cairn stat orders.log --keys
  cairn stat orders.log --json";

#[derive(Args, Debug)]
pub struct StatArgs {
    /// The directory of the log
    dir: PathBuf,
    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
    /// List every segment, however many there are
    #[arg(long)]
    all: bool,
    /// Tell under which keys the records are sealed, and how much under each: reads all of the log
    #[arg(long)]
    keys: bool,
}

/// A segment file.
struct Segment {
    id: SegmentId,
    state: &'static str,
    seqs: Range<Seq>,
    record_count: u64,
    tombstone_count: u64,
    /// Bytes up to the end of the frames, and of the file.
    frame_bytes: u64,
    file_bytes: u64,
    newest_ms: Option<i64>,
}

struct Picture {
    manifest: Manifest,
    segments: Vec<Segment>,
    proven_seq: Seq,
    next_seq: Seq,
    quarantine_bytes: u64,
    /// Why the rest cannot be shown, if there is a rest.
    whole: Outcome,
    /// The cursors; none if they cannot be told.
    cursors: Option<Vec<CursorInfo>>,
    /// Under which keys the log is; none if that was not asked, or cannot be told.
    keys: Option<KeysInUse>,
}

pub fn run(args: &StatArgs) -> Outcome {
    let picture = look(&args.dir, args.keys)?;
    if args.json {
        stream::json(&picture.json())?;
        return picture.whole;
    }
    let mut out = stream::pretty();
    picture.draw(&mut out, args)?;
    out.flush()?;
    picture.whole
}

fn look(dir: &Path, with_keys: bool) -> Outcome<Picture> {
    let reader = open::read_only(dir)?;
    let path = dir.join(names::MANIFEST);
    let bytes = fs::read(&path).about(path.display())?;
    // `read_only` just read it: if it does not decode now, it was replaced by something else.
    let manifest = Manifest::decode(&bytes)
        .map_err(|defect| Failure::Said(format!("{}: {defect}", path.display())))?;
    let mut segments: Vec<Segment> = Vec::new();
    for entry in &manifest.sealed {
        segments.push(Segment {
            id: entry.id,
            state: if entry.far { "far" } else { "sealed" },
            seqs: entry.base_seq..entry.next_seq,
            record_count: entry.record_count.into(),
            tombstone_count: entry.tombstone_count.into(),
            frame_bytes: entry.frames_end,
            file_bytes: file_bytes(dir, entry.id),
            newest_ms: (entry.record_count > 0).then_some(entry.max_timestamp_ms),
        });
    }
    let next_seq = reader.clone().including_written().end_seq();
    segments.push(unsealed(
        dir,
        manifest.tail.id,
        "tail",
        manifest.tail.base_seq,
    )?);
    if let Some(spare) = &manifest.spare {
        // After a rotation the spare is the tail, until the next commit says so.
        let spare = match header(dir, spare.id) {
            Some(header) => {
                if let Some(before) = segments.last_mut() {
                    before.state = "full";
                }
                unsealed(dir, spare.id, "tail", header.base_seq)?
            }
            None => unsealed(dir, spare.id, "spare", next_seq)?,
        };
        segments.push(spare);
    }
    let in_use = with_keys.then(|| reader.keys_in_use().in_log(dir));
    let (keys, told) = match in_use.transpose() {
        Ok(keys) => (keys, Ok(())),
        Err(failure) => (None, Err(failure)),
    };
    Ok(Picture {
        manifest,
        segments,
        proven_seq: reader.end_seq(),
        next_seq,
        whole: open::check_end(&reader, dir).and(told),
        quarantine_bytes: bytes_in(&dir.join(names::QUARANTINE)),
        cursors: open::existing()?.cursors(dir).ok(),
        keys,
    })
}

fn file_bytes(dir: &Path, id: SegmentId) -> u64 {
    fs::metadata(dir.join(names::segment(id))).map_or(0, |meta| meta.len())
}

fn header(dir: &Path, id: SegmentId) -> Option<SegmentHeader> {
    use io::Read;
    let mut head = Vec::new();
    let file = fs::File::open(dir.join(names::segment(id))).ok()?;
    file.take(cairnlog::format::header::HEADER_BYTES as u64)
        .read_to_end(&mut head)
        .ok()?;
    SegmentHeader::decode(&head).ok()
}

/// A segment that the manifest knows no numbers of: they are counted.
fn unsealed(dir: &Path, id: SegmentId, state: &'static str, base_seq: Seq) -> Outcome<Segment> {
    let mut segment = Segment {
        id,
        state,
        seqs: base_seq..base_seq,
        record_count: 0,
        tombstone_count: 0,
        frame_bytes: 0,
        file_bytes: file_bytes(dir, id),
        newest_ms: None,
    };
    let mut batch_count = 0;
    let counted = open::options()?.inspect(dir, id, |item| match item {
        Inspected::Header(_) => {
            segment.frame_bytes = cairnlog::format::header::HEADER_BYTES as u64;
        }
        Inspected::Batch { offset, header } => {
            segment.frame_bytes = offset + header.batch_bytes();
            batch_count = u64::from(header.count);
        }
        // Its records are not shown, and what stands beside them says as much.
        Inspected::Packed {
            head,
            defect: Some(_),
            ..
        } => {
            let facts = head.facts();
            segment.record_count += batch_count;
            segment.tombstone_count += u64::from(facts.tombstone_count);
            segment.seqs.end = head.next_seq();
            segment.newest_ms = segment.newest_ms.max(Some(facts.max_timestamp_ms));
        }
        Inspected::Record { record, .. } => {
            segment.record_count += 1;
            segment.tombstone_count += u64::from(record.value.is_none());
            segment.seqs.end = record.seq + 1;
            segment.newest_ms = segment.newest_ms.max(Some(record.timestamp_ms));
        }
        _ => {}
    });
    match counted.in_log(dir) {
        // What is wrong is told behind the picture.
        Err(Failure::Engine(error, _)) if !dir.join(names::segment(id)).exists() => {
            segment.state = "gone";
            drop(error);
        }
        counted => counted?,
    }
    Ok(segment)
}

fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.filter_map(|entry| entry.ok()?.metadata().ok());
    sizes.map(|meta| meta.len()).sum()
}

impl Picture {
    fn record_count(&self) -> u64 {
        self.segments.iter().map(|part| part.record_count).sum()
    }

    /// Whether records are sealed in it, or may be.
    fn is_sealing(&self) -> bool {
        self.manifest.write_features & SEALED_FEATURE != 0
    }

    /// Records that are still in a file and yet below the head.
    fn hidden_count(&self) -> u64 {
        let head_seq = self.manifest.head_seq;
        let straddling = self
            .segments
            .iter()
            .filter(|part| part.seqs.contains(&head_seq));
        straddling.map(|part| head_seq - part.seqs.start).sum()
    }

    /// Bytes of frames in sealed segments, and those of them that are dirty.
    fn sealed_bytes(&self) -> (u64, u64) {
        let sealed = &self.manifest.sealed;
        let dirty = sealed.iter().filter(|entry| entry.is_dirty());
        (
            sealed.iter().map(|entry| entry.frames_end).sum(),
            dirty.map(|entry| entry.frames_end).sum(),
        )
    }

    fn file_bytes(&self) -> u64 {
        self.segments.iter().map(|part| part.file_bytes).sum()
    }

    fn json(&self) -> Value {
        let segment = |part: &Segment| {
            json!({
                "id": part.id.0,
                "state": part.state,
                "first_seq": part.seqs.start,
                "next_seq": part.seqs.end,
                "record_count": part.record_count,
                "tombstone_count": part.tombstone_count,
                "frame_bytes": part.frame_bytes,
                "file_bytes": part.file_bytes,
                "newest_timestamp_ms": part.newest_ms,
            })
        };
        let (sealed_bytes, dirty_bytes) = self.sealed_bytes();
        let cursors = self.cursors.as_ref();
        let cursors: Option<Vec<Value>> =
            cursors.map(|cursors| cursors.iter().map(cursor::cursor_json).collect());
        let marks: Vec<Value> = (self.manifest.marks.iter())
            .map(|mark| json!({ "name": mark.name, "value_hex": output::hex(&mark.value) }))
            .collect();
        json!({
            "log_id": self.manifest.log_id.to_string(),
            "created_ms": self.manifest.created_ms,
            "generation": self.manifest.generation,
            "clean": self.manifest.clean,
            "head_seq": self.manifest.head_seq,
            "proven_seq": self.proven_seq,
            "next_seq": self.next_seq,
            "record_count": self.record_count(),
            "file_bytes": self.file_bytes(),
            "sealed_bytes": sealed_bytes,
            "dirty_bytes": dirty_bytes,
            "quarantine_bytes": self.quarantine_bytes,
            "segments": self.segments.iter().map(segment).collect::<Vec<_>>(),
            "cursors": cursors,
            "marks": marks,
            "sealing": self.is_sealing(),
            "keys_in_use": self.keys.as_ref().map(keys::in_use_json),
        })
    }
}
