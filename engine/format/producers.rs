//! What the log remembers of its producers, as of one seq. Layout: `format.md`, "Producers".

use super::{NUMBER_MAX, Owner, VERSION, at, check_numbers, check_preamble, check_whole};
use super::{checksum, entry_bytes, fixed, is_later, u32_at, u64_at};
use crate::{
    error::Defect,
    types::{LogId, SegmentId, Seq},
};

/// The size of the file without its lists, in bytes.
pub const PRODUCERS_BYTES: usize = 72;
/// The size of the entry of one producer in bytes.
pub const PRODUCER_BYTES: usize = 32;
/// The size of the entry of one append in bytes.
pub const APPEND_BYTES: usize = 24;
/// The most bytes of a file: no checksum covers the counts alone, so this bounds what they make read.
pub const FILE_BYTES_MAX: u64 = 1 << 26;
/// The epoch under which cursors move: their entries are told from applications' by it.
pub const EPOCH_CURSOR: u32 = u32::MAX;
const MAGIC: [u8; 8] = *b"CAIRNPRO";
const SEED: u32 = 0x5052_4f44;
const FORGOTTEN: u32 = 1;

/// The producers as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducersFile {
    /// The log it belongs to.
    pub log_id: LogId,
    /// Which continuation of it; 0 if that is not stated.
    pub incarnation: u32,
    /// Every append below is accounted for; what lies above is learned from the records.
    pub as_of_seq: Seq,
    /// What lies at or above was rewound once `tail_id` is the tail; `as_of_seq` if nothing was.
    pub end_seq: Seq,
    /// The segment that is the tail from the commit on for which this was written.
    pub tail_id: SegmentId,
    /// The producers: applications' in the order of their ids, then cursors' in theirs.
    pub producers: Vec<ProducerEntry>,
}

/// What is remembered of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its id; with [`EPOCH_CURSOR`], that of a cursor.
    pub id: u64,
    /// The newest incarnation that was seen.
    pub epoch: u32,
    /// The highest number of that incarnation whose append is not remembered any more.
    pub forgotten: Option<u64>,
    /// Its latest appends, oldest first.
    pub appends: Vec<AppendEntry>,
}

/// One append of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendEntry {
    /// The producer's number for it; for a cursor, the position that it moved to.
    pub number: u64,
    /// Its first seq.
    pub first_seq: Seq,
    /// Its records.
    pub count: u32,
}

impl AppendEntry {
    /// The seq after its last record.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.first_seq.saturating_add(self.count.into())
    }
}

impl ProducersFile {
    /// The producers as stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
        let append_count = self.producers.iter().map(|it| it.appends.len()).sum();
        let mut out = Vec::with_capacity(
            PRODUCERS_BYTES + self.producers.len() * PRODUCER_BYTES + append_count * APPEND_BYTES,
        );
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]); // entries of the sizes of version 1
        out.extend_from_slice(&0u32.to_le_bytes()); // required features
        out.extend_from_slice(&self.log_id.0);
        for field in [self.as_of_seq, self.end_seq, self.tail_id.0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&count(self.producers.len()));
        out.extend_from_slice(&count(append_count));
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&[0; 4]); // the checksum, once all else is there
        for producer in &self.producers {
            let flags = if producer.forgotten.is_some() {
                FORGOTTEN
            } else {
                0
            };
            out.extend_from_slice(&producer.id.to_le_bytes());
            out.extend_from_slice(&producer.epoch.to_le_bytes());
            out.extend_from_slice(&count(producer.appends.len()));
            out.extend_from_slice(&producer.forgotten.unwrap_or(0).to_le_bytes());
            out.extend_from_slice(&flags.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
        for append in self.producers.iter().flat_map(|it| &it.appends) {
            out.extend_from_slice(&append.number.to_le_bytes());
            out.extend_from_slice(&append.first_seq.to_le_bytes());
            out.extend_from_slice(&append.count.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
        let crc = crc(&out).to_le_bytes();
        if let Some(slot) = out.get_mut(68..PRODUCERS_BYTES) {
            slot.copy_from_slice(&crc);
        }
        out
    }

    /// How long the file is that begins with these bytes, by what they say. That of a later version may
    /// say it elsewhere: all of it is needed to see that it is one, and no damage.
    pub(crate) fn stated_bytes(head: &[u8]) -> u64 {
        if is_later(head) {
            return FILE_BYTES_MAX;
        }
        let (producer_count, append_count) = (u32_at(head, 56), u32_at(head, 60));
        let (producer_size, append_size) = sizes(head);
        let lists = u64::from(producer_count) * producer_size.unwrap_or(PRODUCER_BYTES) as u64
            + u64::from(append_count) * append_size.unwrap_or(APPEND_BYTES) as u64;
        (PRODUCERS_BYTES as u64 + lists).min(FILE_BYTES_MAX)
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// The first [`Defect`] found. Lists that are shorter or longer than stated are one.
    pub fn decode(file: &[u8]) -> Result<Self, Defect> {
        let head: &[u8; PRODUCERS_BYTES] = fixed(file)?;
        check_preamble(head, MAGIC)?;
        let (producer_count, append_count) = (u32_at(head, 56), u32_at(head, 60));
        let (producer_size, append_size) = sizes(head);
        let producers_bytes =
            u64::from(producer_count) * producer_size.unwrap_or(PRODUCER_BYTES) as u64;
        let needed_bytes = PRODUCERS_BYTES as u64
            + producers_bytes
            + u64::from(append_count) * append_size.unwrap_or(APPEND_BYTES) as u64;
        check_whole(file, needed_bytes, (u32_at(head, 68), crc(file)))?;
        let (producer_size, append_size) = (producer_size?, append_size?);
        let lists = file.get(PRODUCERS_BYTES..).unwrap_or_default();
        let (producers, appends) = lists
            .split_at_checked(usize::try_from(producers_bytes).unwrap_or(usize::MAX))
            .unwrap_or_default();
        let stated = producers.chunks_exact(producer_size);
        let stated: u64 = stated.map(|entry| u64::from(u32_at(entry, 12))).sum();
        if stated != u64::from(append_count) {
            return Err(Defect::Malformed("producers: count of appends"));
        }
        let mut appends = appends.chunks_exact(append_size).map(AppendEntry::read);
        let read = |bytes: &[u8]| ProducerEntry::read(bytes, &mut appends);
        let found = Self {
            log_id: LogId(at(head, 16)),
            as_of_seq: u64_at(head, 32),
            end_seq: u64_at(head, 40),
            tail_id: SegmentId(u64_at(head, 48)),
            incarnation: u32_at(head, 64),
            producers: producers.chunks_exact(producer_size).map(read).collect(),
        };
        found.check()?;
        Ok(found)
    }

    /// Whose it is.
    pub(crate) fn owner(&self) -> Owner {
        Owner {
            log_id: self.log_id,
            incarnation: self.incarnation,
        }
    }

    /// The rules between fields, which a checksum cannot hold.
    fn check(&self) -> Result<(), Defect> {
        // What producers call their appends is theirs; what cursors do is a seq.
        let numbers = [self.as_of_seq, self.end_seq, self.tail_id.0];
        check_numbers(&numbers, "producers: a number is too large")?;
        let cursors = self.producers.iter().filter(|it| it.epoch == EPOCH_CURSOR);
        if (cursors.flat_map(|it| &it.appends)).any(|append| append.number > NUMBER_MAX) {
            return Err(Defect::Malformed("producers: a cursor's seq is too large"));
        }
        if self.end_seq > self.as_of_seq {
            return Err(Defect::Malformed("producers: end"));
        }
        let key = |it: &ProducerEntry| (it.epoch == EPOCH_CURSOR, it.id);
        let mut pairs = self.producers.windows(2);
        if pairs.any(|pair| matches!(pair, [a, b] if key(a) >= key(b))) {
            return Err(Defect::Malformed("producers: order"));
        }
        for producer in &self.producers {
            let (mut number, mut floor) = (producer.forgotten, 0);
            for append in &producer.appends {
                let rises = number.is_none_or(|before| before < append.number);
                let end = append.first_seq.checked_add(append.count.into());
                let fits = end.is_some_and(|end| end <= self.as_of_seq);
                if append.count == 0 || !fits || append.first_seq < floor {
                    return Err(Defect::Malformed("producers: seqs of an append"));
                }
                if !rises && producer.epoch != EPOCH_CURSOR {
                    return Err(Defect::Malformed("producers: order of numbers"));
                }
                (number, floor) = (Some(append.number), append.next_seq());
            }
        }
        Ok(())
    }
}

impl ProducerEntry {
    /// Takes as many appends as it states and as there are.
    fn read(bytes: &[u8], appends: &mut impl Iterator<Item = AppendEntry>) -> Self {
        let count = usize::try_from(u32_at(bytes, 12)).unwrap_or(usize::MAX);
        Self {
            id: u64_at(bytes, 0),
            epoch: u32_at(bytes, 8),
            forgotten: (u32_at(bytes, 24) & FORGOTTEN != 0).then(|| u64_at(bytes, 16)),
            appends: appends.take(count).collect(),
        }
    }
}

impl AppendEntry {
    fn read(bytes: &[u8]) -> Self {
        Self {
            number: u64_at(bytes, 0),
            first_seq: u64_at(bytes, 8),
            count: u32_at(bytes, 16),
        }
    }
}

/// The sizes of the entries of producers and of appends.
fn sizes(head: &[u8]) -> (Result<usize, Defect>, Result<usize, Defect>) {
    let [producer_words, append_words] = at::<2>(head, 10).map(usize::from);
    let producer_size = entry_bytes(8 * producer_words, PRODUCER_BYTES);
    (producer_size, entry_bytes(8 * append_words, APPEND_BYTES))
}

/// Over everything but the checksum itself, which stands behind the fixed part.
fn crc(file: &[u8]) -> u32 {
    let head = file.get(..68).unwrap_or_default();
    let lists = file.get(PRODUCERS_BYTES..).unwrap_or_default();
    checksum::crc32c(checksum::crc32c(SEED, head), lists)
}
