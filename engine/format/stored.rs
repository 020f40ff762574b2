//! Records that are stored otherwise than as they are: packed, or sealed. What both have in common: a head
//! that says what has to be known without them, and one checksum over all of it.

use super::{BatchHeader, SegmentContext, at, check_crc, checksum, checksum::Kind, fixed};
use super::{
    Producer,
    packed::PackedHead,
    sealed::{Opener, SealedHead},
    stated::StatedAppend,
    u32_at,
};
use crate::{error::Defect, seal::KeyId, seal::KeyRing, types::Seq};
use bytes::BytesMut;

/// The head of a batch whose shape says `packed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredHead {
    /// A codec made its body.
    Packed(PackedHead),
    /// It is under a key.
    Sealed(SealedHead),
}

impl StoredHead {
    /// Checks the body of a batch at this offset, without its records, and reads its head.
    ///
    /// # Errors
    /// Too few bytes, a checksum that does not match, or a value that no writer produces.
    pub fn decode(
        body: &[u8],
        batch: &BatchHeader,
        context: &SegmentContext,
        offset: u64,
    ) -> Result<Self, Defect> {
        let start: &[u8; 8] = fixed(body)?;
        if at::<1>(start, 5) == [0] {
            return PackedHead::decode(body, batch, context, offset).map(Self::Packed);
        }
        check_crc(covered(body), seed(context, offset), u32_at(start, 0))?;
        SealedHead::decode(body, batch).map(Self::Sealed)
    }

    /// What is known of the records without them.
    #[must_use]
    pub fn facts(&self) -> &PackedHead {
        match self {
            Self::Packed(head) => head,
            Self::Sealed(head) => &head.facts,
        }
    }

    /// The seq after its last record.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.facts().last_seq.saturating_add(1)
    }

    /// The key that it is sealed under, if it is sealed.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::Packed(_) => None,
            Self::Sealed(head) => Some(head.key_id),
        }
    }

    /// The appends of producers that it states, in the order of their seqs.
    pub(crate) fn appends<'a>(
        &self,
        body: &'a [u8],
    ) -> impl Iterator<Item = StatedAppend> + use<'a> {
        let (packed, sealed) = match self {
            Self::Packed(head) => (Some(head.appends(body)), None),
            Self::Sealed(head) => (None, Some(head.appends(body))),
        };
        (packed.into_iter().flatten()).chain(sealed.into_iter().flatten())
    }

    /// Who appended the records, as far as a ledger has to know: each with its seq, and the last one in any case.
    /// Only of what is sealed, or was packed as it was appended: else the records alone say it.
    pub(crate) fn producers<'a>(
        &self,
        body: &'a [u8],
        batch: &BatchHeader,
    ) -> impl Iterator<Item = (Seq, Option<Producer>)> + use<'a> {
        let batch = *batch;
        let of_one = move |append: StatedAppend| {
            (append.seqs(&batch)).map(move |seq| (seq, Some(append.producer)))
        };
        let last = (self.facts().last_seq, None);
        (self.appends(body).flat_map(of_one)).chain([last])
    }

    /// What opens the records, if they can be had here: what is missing otherwise, and whether so many bytes can
    /// come of these, before room is made for them. `None` if nothing is needed.
    pub(crate) fn opener(&self, body: &[u8], ring: &KeyRing) -> Result<Option<Opener>, Defect> {
        match self {
            Self::Packed(head) => head.check(body).map(|()| None),
            Self::Sealed(head) => head.opener(body, ring).map(Some),
        }
    }

    /// The records, into `out`, which is empty and has room for them and 8 bytes; gives the time of those that have
    /// none of their own. They verify one by one, against [`inner`](super::packed::inner).
    pub(crate) fn open(
        &self,
        body: &[u8],
        batch: &BatchHeader,
        context: &SegmentContext,
        opener: Option<&Opener>,
        out: &mut BytesMut,
    ) -> Result<i64, Defect> {
        match (self, opener) {
            (Self::Sealed(head), Some(opener)) => head.open(body, batch, context, opener, out),
            (Self::Sealed(head), None) => Err(Defect::KeyMissing(head.key_id)),
            (Self::Packed(head), _) => {
                out.resize(usize::try_from(head.raw_bytes).unwrap_or(usize::MAX), 0);
                head.unpack(body, batch, out)?;
                Ok(batch.timestamp_ms)
            }
        }
    }

    /// The body that this was before one byte of it changed, if that is what happened, and its head.
    pub(crate) fn mend(
        body: &[u8],
        batch: &BatchHeader,
        context: &SegmentContext,
        offset: u64,
    ) -> Option<(Self, Vec<u8>)> {
        let (stored, covered) = body.split_first_chunk()?;
        let stored = u32::from_le_bytes(*stored);
        let computed = checksum::crc32c(seed(context, offset), covered);
        let turned = (stored ^ computed).to_le_bytes();
        let mut mended = body.to_vec();
        if turned.iter().filter(|bits| **bits != 0).count() == 1 {
            *mended.first_chunk_mut()? = computed.to_le_bytes(); // It is in the checksum itself.
        } else {
            let (place, bits) = checksum::wrong_byte(covered, stored, computed)?;
            *mended.get_mut(4 + place)? ^= bits;
        }
        let head = Self::decode(&mended, batch, context, offset).ok()?;
        Some((head, mended))
    }
}

/// Puts the checksum of a body into its first four bytes: of one that is new, or now stands here.
pub fn sum(body: &mut [u8], context: &SegmentContext, offset: u64) {
    let sum = checksum::crc32c(seed(context, offset), covered(body));
    if let Some(slot) = body.first_chunk_mut() {
        *slot = sum.to_le_bytes();
    }
}

fn covered(body: &[u8]) -> &[u8] {
    body.get(4..).unwrap_or_default()
}

fn seed(context: &SegmentContext, offset: u64) -> u32 {
    checksum::seed(Kind::Packed, context.salt, offset)
}
