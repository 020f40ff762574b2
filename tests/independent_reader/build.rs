//! Logs made byte by byte with the encoders: what a writer leaves behind, and what it never would.

use cairnlog::format::footer::{Footer, IndexEntry};
use cairnlog::format::header::{Origin, Predecessor};
use cairnlog::format::manifest::{Manifest, SealedEntry, SpareEntry, TailEntry};
use cairnlog::format::record::{self, Producer, RecordParts};
use cairnlog::format::{BatchHeader, SegmentHeader, crc32c, names};
use cairnlog::{LogId, SegmentId};
use std::path::Path;

pub const LOG: LogId = LogId(*b"the log of tests");
pub const TIME: i64 = 1_700_000_000_000;

/// A record to be; `seq` counts only in a sparse batch.
#[derive(Clone, Debug, Default)]
pub struct Rec {
    pub seq: u64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: Option<i64>,
    pub producer: Option<Producer>,
}

/// A record with this value and nothing else.
pub fn rec(value: &str) -> Rec {
    Rec {
        value: Some(value.into()),
        ..Rec::default()
    }
}

/// A segment file that grows batch by batch.
#[derive(Clone, Debug)]
pub struct Seg {
    pub header: SegmentHeader,
    pub bytes: Vec<u8>,
    pub next_seq: u64,
    index: Vec<IndexEntry>,
    counts: [u32; 3],
    times: Vec<i64>,
}

impl Seg {
    pub fn new(id: u64, base_seq: u64) -> Self {
        Self::with(SegmentHeader {
            origin: Origin::Live,
            log_id: LOG,
            id: SegmentId(id),
            base_seq,
            salt: salt(id),
            base_timestamp_ms: TIME,
            predecessor: None,
            durable_seq: base_seq,
            appends_from: None,
            recycled: false,
            packed: false,
            sealed: false,
            packed_appends: false,
        })
    }

    pub fn with(header: SegmentHeader) -> Self {
        let (bytes, next_seq) = (header.encode(), header.base_seq);
        Self {
            header,
            bytes,
            next_seq,
            index: Vec::new(),
            counts: [0; 3],
            times: Vec::new(),
        }
    }

    /// The segment that continues this one.
    pub fn follow(&self, id: u64, durable_seq: u64) -> Self {
        Self::with(SegmentHeader {
            predecessor: Some(self.as_predecessor()),
            durable_seq,
            ..Self::new(id, self.next_seq).header
        })
    }

    pub fn as_predecessor(&self) -> Predecessor {
        Predecessor {
            id: self.header.id,
            salt: self.header.salt,
            frames_end: self.bytes.len() as u64,
            next_seq: self.next_seq,
            checksum: crc32c(0, &self.bytes),
        }
    }

    /// Adds a batch that follows the one before.
    pub fn batch(self, durable_seq: u64, records: &[Rec]) -> Self {
        let first_seq = self.next_seq;
        self.batch_at(first_seq, durable_seq, false, records)
    }

    /// Adds a batch of records that carry their own seqs.
    pub fn sparse(self, first_seq: u64, durable_seq: u64, records: &[Rec]) -> Self {
        self.batch_at(first_seq, durable_seq, true, records)
    }

    pub fn batch_at(
        mut self,
        first_seq: u64,
        durable_seq: u64,
        sparse: bool,
        records: &[Rec],
    ) -> Self {
        let context = self.header.context();
        let (mut body, mut seq) = (Vec::new(), first_seq);
        let timestamp_ms = TIME + 1;
        for rec in records {
            seq = if sparse { rec.seq } else { seq };
            let delta = sparse.then(|| (seq - first_seq) as u32);
            let parts = RecordParts {
                key: rec.key.as_deref(),
                value: rec.value.as_deref(),
                timestamp_ms: rec.timestamp_ms,
                producer: rec.producer,
            };
            record::encode(&mut body, context.salt, seq, delta, &parts);
            seq += 1;
            self.counts[0] += 1;
            self.counts[1] += u32::from(rec.value.is_none());
            self.counts[2] += u32::from(rec.key.is_some());
            self.times.push(rec.timestamp_ms.unwrap_or(timestamp_ms));
        }
        let header = BatchHeader {
            body_bytes: body.len() as u32,
            first_seq,
            durable_seq,
            timestamp_ms,
            count: records.len() as u32,
            sparse,
            packed: false,
        };
        let offset = self.bytes.len();
        if !records.is_empty() && self.index.is_empty() {
            let seq_delta = (first_seq - context.base_seq) as u32;
            self.index.push(IndexEntry {
                seq_delta,
                offset: offset as u32,
            });
        }
        self.bytes
            .extend_from_slice(&header.encode(&context, offset as u64));
        self.bytes.extend_from_slice(&body);
        self.next_seq = seq;
        self
    }

    /// The entry of this segment once it is sealed.
    pub fn entry(&self) -> SealedEntry {
        SealedEntry {
            id: self.header.id,
            salt: self.header.salt,
            base_seq: self.header.base_seq,
            next_seq: self.next_seq,
            frames_end: self.bytes.len() as u64,
            max_timestamp_ms: self.times.iter().copied().max().unwrap_or(0),
            record_count: self.counts[0],
            tombstone_count: self.counts[1],
            keyed_count: self.counts[2],
            compacted: false,
            packed: false,
            far: false,
        }
    }

    /// The file with its footer.
    pub fn with_footer(&self) -> Vec<u8> {
        let footer = Footer {
            entry_count: self.index.len() as u32,
            record_count: self.counts[0],
            tombstone_count: self.counts[1],
            keyed_count: self.counts[2],
            first_seq: self.header.base_seq,
            next_seq: self.next_seq,
            min_timestamp_ms: self.times.iter().copied().min().unwrap_or(0),
            max_timestamp_ms: self.times.iter().copied().max().unwrap_or(0),
            frames_end: self.bytes.len() as u64,
            segment_checksum: crc32c(0, &self.bytes),
        };
        [
            &self.bytes[..],
            &footer.encode(&self.header.context(), &self.index),
        ]
        .concat()
    }

    /// The file with preallocated zeros behind the frames.
    pub fn with_zeros(&self) -> Vec<u8> {
        zeros_behind(self.bytes.clone())
    }
}

pub fn salt(id: u64) -> u64 {
    0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(id)
}

pub fn zeros_behind(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len() + 4096, 0);
    bytes
}

/// A log's manifest: some sealed segments, a tail, a spare with the next id.
pub fn manifest(sealed: &[&Seg], tail: &Seg) -> Manifest {
    let spare_id = tail.header.id.0 + 1;
    Manifest {
        log_id: LOG,
        incarnation: 5,
        write_features: 0,
        generation: 1,
        created_ms: TIME,
        head_seq: 0,
        next_segment_id: SegmentId(spare_id + 1),
        durable_seq: tail.header.base_seq,
        durable_end: 0,
        clean: false,
        has_ledger: false,
        sealed: sealed.iter().map(|seg| seg.entry()).collect(),
        tail: TailEntry {
            id: tail.header.id,
            salt: tail.header.salt,
            base_seq: tail.header.base_seq,
        },
        marks: Vec::new(),
        spare: Some(SpareEntry {
            id: SegmentId(spare_id),
            salt: salt(spare_id),
            recycled: false,
        }),
    }
}

/// Writes a log's files; the spare is blank unless a file is given for it.
pub fn write(dir: &Path, manifest: &Manifest, files: &[(u64, &[u8])]) {
    std::fs::write(dir.join(names::MANIFEST), manifest.encode()).unwrap();
    if let Some(spare) = manifest.spare {
        std::fs::write(dir.join(names::segment(spare.id)), [0; 4096]).unwrap();
    }
    for (id, bytes) in files {
        std::fs::write(dir.join(names::segment(SegmentId(*id))), bytes).unwrap();
    }
}
