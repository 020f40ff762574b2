//! Writing a whole segment aside: a copy that becomes true only when a manifest names it.
//!
//! Used by recovery (survivors), rewind, repair and compaction.

mod header;
mod pack;
mod seal;

pub(crate) use header::{copy_header, new_incarnation, new_log_id, tail_header};
pub(crate) use seal::{facts, sealing_under, tally_of};

use super::{
    Behind, Space, Summary, Tail, TailWriter, Tally, Unnamed, behind::Lane, summary::push_index,
};
use crate::{
    format::{
        BatchHeader, Compression, Footer, IndexEntry, RecordRef, SegmentContext, SegmentHeader,
        batch::BATCH_HEADER_BYTES,
        footer::INDEX_STEP_BYTES,
        manifest::SealedEntry,
        names,
        packed::{self, Room},
        record::{self, RecordParts},
        stated::{APPENDS_MAX, StatedAppend, state_append},
    },
    seal::{Key, KeyId, KeyRing},
    sync::Arc,
    types::Seq,
    vfs::{Dir, Syncs, Vfs, VfsFile, write_all_at, write_back_blocks},
};
use std::io;

/// Bytes gathered before they are written: by who writes as fast as can be, and by who does not, behind whose
/// every write the sync of an append may have to wait for as long as the disk takes.
const BUFFER_BYTES: usize = 256 * 1024;
const BUFFER_BYTES_PATIENT: usize = 64 * 1024;

/// Records share a batch until it has this many bytes: large enough to make the header cheap, small
/// enough to be walked quickly by a reader who looks for one record, and just what it takes for the
/// next batch to have an entry in the index.
const BATCH_TARGET_BYTES: usize = 4096;
const _: () = assert!(BATCH_TARGET_BYTES as u64 == INDEX_STEP_BYTES);
/// What a batch has at most, if it is shared: who reads one of its records reads all of it.
const SHARED_BATCH_BYTES_MAX: usize = 4 * BATCH_TARGET_BYTES;

/// What the records of a packed batch have at most, in bytes, if it is more than one: large enough for a
/// codec to see what they have in common, small enough to be unpacked for the sake of one.
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// Whether a batch of so many bytes that is to be packed takes so many more.
pub(crate) fn block_takes(batch_bytes: usize, more_bytes: usize) -> bool {
    batch_bytes + more_bytes <= BLOCK_BYTES_MAX
}

/// Whether a batch of so many bytes takes so many more.
pub(crate) fn batch_takes(batch_bytes: usize, more_bytes: usize) -> bool {
    batch_bytes < BATCH_TARGET_BYTES && batch_bytes + more_bytes <= SHARED_BATCH_BYTES_MAX
}

/// A segment under construction; nothing is left of one that is not finished.
#[derive(Debug)]
pub(crate) struct Builder {
    file: std::sync::Arc<dyn VfsFile>,
    /// Until it is finished.
    unnamed: Unnamed,
    /// If a thread of its own writes and syncs: the way to it.
    lane: Option<Lane>,
    header: SegmentHeader,
    context: SegmentContext,
    summary: Summary,
    index: Vec<IndexEntry>,
    /// Bytes not yet written; they start at `summary.end` once the open batch is counted.
    buffer: Vec<u8>,
    buffer_offset: u64,
    batch: Option<OpenBatch>,
    /// Whether batches are as large as those of appends, instead of ending where the caller says.
    filled: bool,
    /// What records are packed with.
    pack: Option<Compression>,
    room: Room,
    /// What they are sealed with, and the randomness for it.
    keys: KeyRing,
    vfs: std::sync::Arc<dyn Vfs>,
    sealing: Option<(KeyId, Key)>,
    /// Whether the next batch states the seq of each record.
    sparse_next: bool,
}

#[derive(Debug)]
struct OpenBatch {
    /// Where its header goes, in the buffer.
    start: usize,
    header: BatchHeader,
    next_seq: Seq,
    tally: Tally,
    gap_count: u32,
    /// Appends of producers in it, if it is to be sealed.
    appends: Vec<StatedAppend>,
}

impl OpenBatch {
    /// Whether stating the seq of each record, four bytes, costs less than a header at every gap.
    fn pays_sparse(&self) -> bool {
        let (gaps, records) = (self.gap_count as usize, self.tally.record_count as usize);
        gaps * BATCH_HEADER_BYTES > records * record::SEQ_DELTA_BYTES
    }
}

impl Builder {
    /// Creates the file. It must not exist. Records are sealed under the current key, if there is to be one
    /// and the header says so.
    pub(crate) fn create(dir: &Dir, header: SegmentHeader, keys: &KeyRing) -> io::Result<Self> {
        let sealing = header.sealed.then(|| keys.current()).flatten();
        if let (true, Some(id), None) = (header.sealed, keys.current_id(), &sealing) {
            return Err(io::Error::other(format!("key {id} is not to be had")));
        }
        let name = names::segment(header.id);
        // An orphan of an interrupted attempt may have the name; no manifest ever named it.
        dir.remove_if_there(&name)?;
        let file = dir.create_new(&name)?;
        let mut unnamed = Unnamed::new(dir);
        unnamed.add(header.id);
        let bytes = header.encode();
        Ok(Self {
            file,
            unnamed,
            lane: None,
            context: header.context(),
            summary: Summary::new(header.base_seq, &bytes),
            header,
            index: Vec::new(),
            buffer: bytes,
            buffer_offset: 0,
            batch: None,
            filled: false,
            pack: None,
            room: Room::default(),
            keys: keys.clone(),
            vfs: dir.vfs().clone(),
            sealing,
            sparse_next: false,
        })
    }

    /// Batches are filled up. Where records are missing, one states the seq of each if that is shorter
    /// than to begin another at every gap: for what is sealed, since a tail has no gaps.
    pub(crate) fn filled(mut self) -> Self {
        self.filled = true;
        self
    }

    /// Leaves writing and syncing to a thread: only it can tell how they went.
    pub(crate) fn behind(mut self, behind: &Behind) -> Self {
        self.lane = Some(behind.lane(self.header.id, self.file.clone()));
        self
    }

    /// Starts a new batch with the next record.
    pub(crate) fn end_batch(&mut self) -> io::Result<()> {
        let Some(batch) = self.batch.take() else {
            return Ok(());
        };
        match (self.sealing.take(), self.pack) {
            (Some(key), _) => self.end_sealed(key, batch),
            (None, Some(codec)) => self.end_packed(codec, batch),
            (None, None) => self.end_with(batch),
        }
    }

    fn end_with(&mut self, batch: OpenBatch) -> io::Result<()> {
        let OpenBatch {
            start,
            mut header,
            next_seq,
            tally,
            ..
        } = batch;
        let body_bytes = self.buffer.len() - start - BATCH_HEADER_BYTES;
        header.body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
        header.count = tally.record_count;
        let offset = self.summary.end;
        let encoded = header.encode(&self.context, offset);
        if let Some(slot) = self.buffer.get_mut(start..start + BATCH_HEADER_BYTES) {
            slot.copy_from_slice(&encoded);
        }
        push_index(&mut self.index, &self.context, &header, offset);
        let bytes = self.buffer.get(start..).unwrap_or_default();
        let one = std::iter::once(&header);
        self.summary
            .add(bytes, &self.context, one, next_seq, &tally);
        let enough = match self.lane {
            Some(_) => BUFFER_BYTES,
            None => BUFFER_BYTES_PATIENT,
        };
        if self.buffer.len() >= enough {
            self.write_out()
        } else {
            Ok(())
        }
    }

    /// Ends the open batch if the record cannot go into it.
    fn make_way(&mut self, record: &RecordRef<'_>) -> io::Result<()> {
        let Some(batch) = &mut self.batch else {
            return Ok(());
        };
        let gap = batch.next_seq != record.seq;
        batch.gap_count += u32::from(gap);
        let part = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let more_bytes = part(record.key) + part(record.value);
        let batch_bytes = self.buffer.len() - batch.start;
        let takes = match self.pack {
            Some(_) => block_takes(batch_bytes, more_bytes),
            None => batch_takes(batch_bytes, more_bytes),
        };
        let full = self.filled && !takes || batch.appends.len() == APPENDS_MAX;
        if full || (gap && !batch.header.sparse) {
            self.sparse_next = self.filled && batch.pays_sparse();
            self.end_batch()?;
        }
        Ok(())
    }

    /// Adds a record. Seqs must rise. `durable_seq` is what the batch states if the record begins one.
    pub(crate) fn add(&mut self, record: &RecordRef<'_>, durable_seq: Seq) -> io::Result<()> {
        self.make_way(record)?;
        let sparse = self.sparse_next;
        let batch = self.batch.get_or_insert_with(|| {
            let start = self.buffer.len();
            self.buffer.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
            let fits = BatchHeader::timestamp_fits(&self.context, record.timestamp_ms);
            let header = BatchHeader {
                body_bytes: 0,
                first_seq: record.seq,
                durable_seq: durable_seq.min(record.seq),
                timestamp_ms: if fits {
                    record.timestamp_ms
                } else {
                    self.context.base_timestamp_ms
                },
                count: 0,
                sparse,
                packed: false,
            };
            OpenBatch {
                start,
                header,
                next_seq: record.seq,
                tally: Tally::default(),
                gap_count: 0,
                appends: Vec::new(),
            }
        });
        let delta = record.seq.saturating_sub(batch.header.first_seq);
        let delta = u32::try_from(delta).unwrap_or(u32::MAX);
        let own_time = record.timestamp_ms != batch.header.timestamp_ms;
        let parts = RecordParts {
            key: record.key,
            value: record.value,
            timestamp_ms: own_time.then_some(record.timestamp_ms),
            producer: record.producer,
        };
        record::encode(
            &mut self.buffer,
            match self.pack.is_some() || self.sealing.is_some() {
                true => packed::inner(&self.context).salt,
                false => self.context.salt,
            },
            record.seq,
            batch.header.sparse.then_some(delta),
            &parts,
        );
        if let (Some(producer), true) = (record.producer, self.sealing.is_some()) {
            state_append(&mut batch.appends, producer, delta);
        }
        batch.tally.add_record(record);
        batch.next_seq = record.seq + 1;
        Ok(())
    }

    /// Bytes so far, those of the open batch included.
    pub(crate) fn frame_bytes(&self) -> u64 {
        let batch = self
            .batch
            .as_ref()
            .map_or(0, |batch| self.buffer.len() - batch.start);
        self.summary.end + batch as u64
    }

    /// Whether it has this many bytes by now.
    pub(crate) fn is_full(&self, segment_bytes: u64) -> bool {
        self.frame_bytes() >= segment_bytes
    }

    /// Whether a segment can state the record's seq: at most 2^32 above its base.
    pub(crate) fn reaches(&self, seq: Seq) -> bool {
        seq.saturating_sub(self.header.base_seq) <= u32::MAX.into()
    }

    /// Makes durable what was written so far, so that the end of the copy has little left to do and
    /// syncs beside it do not queue behind much.
    pub(crate) fn sync_written(&self) -> io::Result<()> {
        // DURABILITY: nothing is safer for it, as no manifest names the file; the device's queue stays
        // short.
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        // DURABILITY: after this line what was written survives; left to the thread, once that says so.
        match &self.lane {
            Some(lane) => lane.sync(),
            None => self.file.sync()?,
        }
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        let len = self.buffer.len() as u64;
        match &self.lane {
            Some(lane) => lane.write(&mut self.buffer, self.buffer_offset),
            None => {
                write_all_at(&*self.file, &self.buffer, self.buffer_offset)?;
                // The device begins at once: no sync finds much to do.
                let end = self.buffer_offset + len;
                write_back_blocks(&*self.file, self.buffer_offset, end)?;
            }
        }
        self.buffer_offset += len;
        self.buffer.clear();
        Ok(())
    }

    /// Writes and syncs what is left. The name is not yet durable: the caller syncs the directory.
    fn finish_frames(&mut self) -> io::Result<()> {
        self.end_batch()?;
        self.write_out()?;
        // DURABILITY: after this line the copy's frames survive, or once the thread says so; no manifest
        // names it yet.
        self.sync()
    }

    /// Finishes it as a sealed segment with a footer.
    pub(crate) fn seal(mut self) -> io::Result<SealedEntry> {
        self.end_batch()?;
        let footer = self.summary.footer(self.index.len());
        self.buffer
            .extend_from_slice(&footer.encode(&self.context, &self.index));
        self.finish_frames()?;
        self.unnamed.keep();
        Ok(self.summary.sealed_entry(self.header.id, &self.context))
    }

    /// Finishes it as the tail: appends go on behind it.
    pub(crate) fn into_tail(mut self) -> io::Result<TailWriter> {
        self.finish_frames()?;
        self.unnamed.keep();
        let name = names::segment(self.header.id);
        let file = self
            .unnamed
            .dir()
            .resting(&name, self.file.clone(), Syncs::Follow);
        let space = Arc::new(Space::new(file, self.summary.end));
        let tail = Tail::new(&self.header, space, &self.keys);
        Ok(TailWriter::new(Arc::new(tail), self.summary, self.index))
    }
}

/// Puts a footer behind the frames of a segment that is finished, and cuts off what lies behind it.
/// Derived data: if this fails, the index is rebuilt from the frames when it is needed.
pub(crate) fn write_footer(
    file: &dyn VfsFile,
    context: &SegmentContext,
    footer: &Footer,
    index: &[IndexEntry],
) -> io::Result<()> {
    let bytes = footer.encode(context, index);
    write_all_at(file, &bytes, footer.frames_end)?;
    file.set_len(footer.frames_end + bytes.len() as u64)?;
    // DURABILITY: after this line frames and footer of the finished segment survive.
    file.sync()
}
