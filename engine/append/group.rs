//! A group: the records of any number of callers, encoded one behind the other, to be written with
//! one positional write and made durable with one sync.
//!
//! Records are encoded when they are queued, because only then is their seq given. What the leader
//! alone can know, the durable watermark, is filled into the batch headers when the group is taken.

use super::{
    Producer,
    completion::Completion,
    packing::{Packer, Rewritten},
    record::NewRecord,
    sealing::{Seal, are_plain},
};
use crate::{
    format::{
        BatchHeader, Compression, SegmentHeader,
        batch::{ANNEX_BYTES_MIN, BATCH_HEADER_BYTES, COUNT_MAX, seal_annex},
        header::HEADER_BYTES,
        moves::{MOVES_KIND, Move},
        packed, record,
        stated::APPENDS_MAX,
    },
    options::Durability,
    segment::{Tail, Tally, batch_takes, block_takes},
    sync::Arc,
    types::Seq,
    vfs::Vfs,
};
use std::time::Duration;

/// What is queued for one segment, to be written as one.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) tail: Arc<Tail>,
    /// Set if the group begins its segment: then the header goes first.
    pub(super) begins: Option<Box<SegmentHeader>>,
    /// With it, the ledger as of the segment's base, as it will be stored; none if it knows nobody.
    pub(super) ledger: Option<Vec<u8>>,
    /// Where it goes in the file.
    pub(super) offset: u64,
    pub(super) buffer: Vec<u8>,
    /// Where each batch starts in the buffer; the last may still be open.
    pub(super) batches: Vec<(usize, BatchHeader)>,
    /// When the last of them was begun: the time of all who share it.
    batch_time_ms: i64,
    pub(super) first_seq: Seq,
    pub(super) next_seq: Seq,
    pub(super) tally: Tally,
    pub(super) payload_bytes: u64,
    /// The moves of cursors that it holds, each with the number of its batch.
    moves: Vec<(usize, Move)>,
    /// If its records are to be sealed: what else is known of them.
    pub(super) seal: Option<Box<Seal>>,
    /// What its records are packed with.
    pub(super) codec: Option<Compression>,
    /// If they are to be sealed or packed: the group as it is written, once it is finished.
    pub(super) rewritten: Option<Box<Rewritten>>,
    /// The durable watermark that its headers state, once it is taken.
    pub(super) states_seq: Seq,
    /// The highest level that one of its callers waits for.
    pub(super) wants: Durability,
    /// Whether a caller was not yet told anything, and so must be told if it fails. Records that
    /// are acknowledged as buffered are kept and tried again instead.
    pub(super) owes: bool,
    /// Records acknowledged as buffered.
    pub(super) buffered_count: usize,
    /// How long its write and its sync took, when they had ended, and how many callers were under way then.
    pub(super) disk_time: Duration,
    pub(super) synced_at: Duration,
    pub(super) company: usize,
    /// Whether it may take more callers.
    pub(super) open: bool,
    pub(super) done: Arc<Completion>,
}

impl Group {
    /// With nothing in it. What goes to this segment packed is packed with that.
    pub(super) fn new(tail: Arc<Tail>, codec: Option<Compression>) -> Self {
        let seal = tail.sealing.is_some().then(Box::default);
        let codec = codec.filter(|_| tail.packed_appends);
        let is_other = seal.is_some() || codec.is_some();
        Self {
            tail,
            begins: None,
            ledger: None,
            offset: 0,
            buffer: Vec::new(),
            batches: Vec::new(),
            batch_time_ms: 0,
            first_seq: 0,
            next_seq: 0,
            tally: Tally::default(),
            payload_bytes: 0,
            moves: Vec::new(),
            seal,
            codec,
            rewritten: is_other.then(Box::default),
            states_seq: 0,
            wants: Durability::Buffered,
            owes: false,
            buffered_count: 0,
            disk_time: Duration::ZERO,
            synced_at: Duration::ZERO,
            company: 0,
            open: true,
            done: Arc::default(),
        }
    }

    /// For what comes next, here: as a new one of the same segment, with room that need not be allocated again.
    pub(super) fn again(&mut self, offset: u64, next_seq: Seq) {
        (self.begins, self.ledger) = (None, None);
        self.offset = offset;
        self.buffer.clear();
        self.batches.clear();
        (self.first_seq, self.next_seq) = (next_seq, next_seq);
        (self.tally, self.payload_bytes) = (Tally::default(), 0);
        self.moves.clear();
        self.seal.iter_mut().for_each(|seal| seal.clear());
        (self.rewritten.iter_mut()).for_each(|written| written.forget());
        self.wants = Durability::Buffered;
        (self.owes, self.buffered_count) = (false, 0);
        self.open = true;
        // If nobody looks at it any more it serves again.
        match Arc::get_mut(&mut self.done) {
            Some(unshared) => *unshared = Completion::default(),
            None => self.done = Arc::default(),
        }
    }

    /// Has it begin its segment.
    pub(super) fn begin_segment(&mut self, header: SegmentHeader, ledger: Option<Vec<u8>>) {
        self.buffer.resize(HEADER_BYTES, 0);
        (self.begins, self.ledger) = (Some(Box::new(header)), ledger);
    }

    /// The largest of its buffers, in bytes.
    pub(super) fn buffer_capacity(&self) -> usize {
        let written = self.rewritten.as_ref();
        let written = written.map_or(0, |written| written.buffer.capacity());
        self.buffer.capacity().max(written)
    }

    /// Has it brought to this level at least.
    #[inline]
    pub(super) fn want(&mut self, level: Durability) {
        self.wants = match (self.wants, level) {
            (Durability::Durable, _) | (_, Durability::Durable) => Durability::Durable,
            (Durability::Written, _) | (_, Durability::Written) => Durability::Written,
            (Durability::Buffered, Durability::Buffered) => Durability::Buffered,
        };
    }

    /// Whether there is nothing in it that anybody has to be told of.
    pub(super) fn is_watermark(&self) -> bool {
        self.first_seq == self.next_seq && self.begins.is_none() && self.moves.is_empty()
    }

    /// What `write` makes of its bytes with so many zeros behind.
    pub(super) fn padded<T>(&mut self, zeros: usize, write: impl FnOnce(&[u8]) -> T) -> T {
        let buffer = self.stored_mut();
        let end = buffer.len();
        buffer.resize(end + zeros, 0);
        let written = write(buffer);
        buffer.truncate(end);
        written
    }

    /// Whether these records can share the last batch; else they begin one.
    #[inline]
    pub(super) fn batch_has_room(
        &self,
        body_bytes: usize,
        records: &[NewRecord<'_>],
        producer: Option<Producer>,
    ) -> bool {
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        self.batches.last().is_some_and(|(start, batch)| {
            let batch_bytes = self.buffer.len() - start;
            let takes = match self.codec {
                None => batch_takes(batch_bytes, body_bytes),
                // There are no more appends to be stated than records.
                Some(_) if producer.is_some() && batch.count as usize >= APPENDS_MAX => false,
                Some(_) => block_takes(batch_bytes, body_bytes),
            };
            batch.count > 0
                && takes
                && batch.count.saturating_add(count) <= COUNT_MAX
                && (self.seal.as_ref()).is_none_or(|seal| seal.takes(are_plain(records)))
        })
    }

    /// How long ago the last batch was begun; records that share it have its time.
    pub(super) fn batch_age_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.batch_time_ms)
    }

    /// Encodes records that belong together, in a batch that begins now or in the last one. The
    /// caller made sure that they fit the segment.
    pub(super) fn push(
        &mut self,
        records: &[NewRecord<'_>],
        producer: Option<Producer>,
        begin_at_ms: Option<i64>,
    ) {
        if let Some(now_ms) = begin_at_ms {
            self.begin_batch(now_ms);
            if let Some(seal) = &mut self.seal {
                let fits = BatchHeader::timestamp_fits(&self.tail.context, now_ms);
                seal.begin(self.batches.len() - 1, fits && are_plain(records));
            }
        }
        let context = self.tail.context;
        let salt = match self.seal {
            Some(_) => packed::inner(&context).salt,
            None => context.salt,
        };
        let Some((_, batch)) = self.batches.last_mut() else {
            return;
        };
        // A clock that jumped by weeks does not fit the batch's field: then each record has its own.
        let fits = BatchHeader::timestamp_fits(&context, self.batch_time_ms);
        let own_time = (!fits).then_some(self.batch_time_ms);
        for new in records {
            let parts = new.parts(own_time, producer);
            record::encode(&mut self.buffer, salt, self.next_seq, None, &parts);
            let time = parts.timestamp_ms.unwrap_or(batch.timestamp_ms);
            let (keyed, tombstone) = (parts.key.is_some(), parts.value.is_none());
            self.tally.add(keyed, tombstone, time);
            if let Some(seal) = &mut self.seal {
                let mut one = Tally::default();
                one.add(keyed, tombstone, time);
                seal.add(&one, producer, batch.count);
            }
            self.payload_bytes += new.payload_bytes();
            batch.count += 1;
            self.next_seq += 1;
        }
    }

    /// What a move takes more than its own bytes, at most.
    pub(super) const MOVE_FRAMING_BYTES: usize = BATCH_HEADER_BYTES + ANNEX_BYTES_MIN;

    /// Encodes a move of a cursor, in an annex that begins now or in the last one. The caller made sure
    /// that it fits the segment.
    pub(super) fn push_move(&mut self, entry: Move, now_ms: i64) {
        let goes_on = self.batches.last().is_some_and(|(start, batch)| {
            let batch_bytes = self.buffer.len() - start;
            let is_annex = batch.count == 0 && batch_bytes > BATCH_HEADER_BYTES;
            is_annex && batch_takes(batch_bytes, entry.entry_bytes())
        });
        if !goes_on {
            self.begin_batch(now_ms);
            self.buffer.extend_from_slice(&[0; 4]); // the checksum, once all else is there
            self.buffer.extend_from_slice(&MOVES_KIND.to_le_bytes());
        }
        entry.encode(&mut self.buffer);
        self.moves.push((self.batches.len() - 1, entry));
    }

    pub(super) fn has_moves(&self) -> bool {
        !self.moves.is_empty()
    }

    /// The moves in it, each with its batch, once that is finished.
    pub(super) fn moves(&self) -> impl Iterator<Item = (&Move, &BatchHeader)> {
        let batches = self.stored_batches();
        let batch = move |number: usize| batches.get(number).map(|(_, batch)| batch);
        let moves = self.moves.iter();
        moves.filter_map(move |(number, entry)| Some((entry, batch(*number)?)))
    }

    /// A watermark: a header alone, to state what is durable by now.
    pub(super) fn push_watermark(&mut self, now_ms: i64) {
        self.begin_batch(now_ms);
    }

    fn begin_batch(&mut self, now_ms: i64) {
        let context = self.tail.context;
        let fits = BatchHeader::timestamp_fits(&context, now_ms);
        let header = BatchHeader {
            body_bytes: 0,
            first_seq: self.next_seq,
            durable_seq: self.next_seq,
            timestamp_ms: if fits {
                now_ms
            } else {
                context.base_timestamp_ms
            },
            count: 0,
            sparse: false,
            packed: false,
        };
        self.batch_time_ms = now_ms;
        self.batches.push((self.buffer.len(), header));
        self.buffer.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
    }

    /// Makes what is written of what is queued: fills in the headers, each stating `durable_seq`.
    pub(super) fn finish(
        &mut self,
        durable_seq: Seq,
        vfs: &dyn Vfs,
        packer: &mut Option<Box<Packer>>,
    ) {
        self.states_seq = durable_seq;
        self.rewrite(vfs, packer);
        let (context, group_offset) = (self.tail.context, self.offset);
        let (buffer, batches) = self.stored_parts();
        let mut end = buffer.len();
        for (start, header) in batches.iter_mut().rev() {
            let body_bytes = end - *start - BATCH_HEADER_BYTES;
            header.body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
            header.durable_seq = durable_seq.min(header.first_seq);
            let (context, offset) = (&context, group_offset + *start as u64);
            if header.count == 0
                && let Some(annex) = buffer.get_mut(*start + BATCH_HEADER_BYTES..end)
                && !annex.is_empty()
            {
                seal_annex(annex, context, offset);
            }
            let encoded = header.encode(context, offset);
            if let Some(slot) = buffer.get_mut(*start..*start + BATCH_HEADER_BYTES) {
                slot.copy_from_slice(&encoded);
            }
            end = *start;
        }
    }

    /// Its batches, and where they are in the file.
    pub(super) fn batches(&self) -> impl ExactSizeIterator<Item = (u64, &BatchHeader)> + Clone {
        let batches = self.stored_batches().iter();
        batches.map(|(start, batch)| (self.offset + *start as u64, batch))
    }

    /// The bytes of its batches, without the segment's header.
    pub(super) fn frames(&self) -> &[u8] {
        let start = if self.begins.is_some() {
            HEADER_BYTES
        } else {
            0
        };
        self.stored().get(start..).unwrap_or_default()
    }
}
