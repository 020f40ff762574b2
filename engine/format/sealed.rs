//! The body of a sealed batch: its records, packed or not, under a key, and in the clear beside them what has
//! to be known without it. Layout: `format.md`, "Sealed batch".
//!
//! Nothing of it depends on where it stands, so that a sealed batch is copied as it is, without the key.

use super::{BatchHeader, Compression, SegmentContext, at, fixed, i64_at};
use super::{
    packed,
    packed::{PackedHead, Room},
    stated, stored, u32_at, u64_at,
};
use crate::{
    error::Defect,
    seal::{Cipher, Key, KeyId, KeyRing, NONCE_BYTES, TAG_BYTES},
};
use bytes::BytesMut;

/// The size of the head in bytes, without the facts that may follow.
pub const SEALED_HEAD_BYTES: usize = 32;
pub use super::{
    packed::FACTS_BYTES,
    stated::{APPEND_BYTES, APPENDS_MAX, StatedAppend},
};
/// The time of the records that have none of their own, sealed with them.
const TIME_BYTES: usize = 8;
/// What sealing adds at least: the head, the time, the tag.
pub const SEALED_BYTES_MIN: usize = SEALED_HEAD_BYTES + TIME_BYTES + TAG_BYTES;

/// The facts follow the head.
const HAS_FACTS: u8 = 1;

/// What the head of a sealed batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedHead {
    /// What is known of the records without the key. A codec of 0 stands for none.
    pub facts: PackedHead,
    /// The cipher, as stored.
    pub cipher: u8,
    /// Whether the facts follow, because records are not all alike.
    pub has_facts: bool,
    /// The key that they are sealed under.
    pub key_id: KeyId,
    /// The number that is used once with the key.
    pub nonce: [u8; NONCE_BYTES],
}

/// What a batch is sealed under.
#[derive(Clone, Debug)]
pub struct Sealing {
    /// The number of the key.
    pub key_id: KeyId,
    /// The key.
    pub key: Key,
    /// The number that is used once with it: random, for each batch anew.
    pub nonce: [u8; NONCE_BYTES],
}

/// What opens a batch.
#[derive(Debug)]
pub(crate) struct Opener(Cipher, Key);

/// What sealing adds to records in bytes, if that is known before they are: as they are, not packed.
pub(crate) fn added_bytes(plain: bool, append_count: usize) -> usize {
    let facts = if plain { 0 } else { FACTS_BYTES };
    SEALED_BYTES_MIN + facts + append_count * APPEND_BYTES
}

/// Whether records are all alike for who has no key: then the batch's header says it all.
pub(crate) fn are_plain(facts: &PackedHead, batch: &BatchHeader) -> bool {
    let plain = || plain_facts(batch, (facts.codec, facts.append_count), facts.raw_bytes);
    !batch.sparse && *facts == plain()
}

fn plain_facts(batch: &BatchHeader, (codec, append_count): (u8, u8), raw_bytes: u32) -> PackedHead {
    PackedHead {
        codec,
        append_count,
        raw_bytes,
        last_seq: (batch.first_seq).saturating_add(batch.count.saturating_sub(1).into()),
        tombstone_count: 0,
        keyed_count: 0,
        min_timestamp_ms: batch.timestamp_ms,
        max_timestamp_ms: batch.timestamp_ms,
    }
}

/// Puts the body of a batch at this offset behind what is in `out`: these records sealed, and packed before,
/// if there is a codec and it saves something; whether they are all alike (`plain`). `None` if the cipher is not
/// built.
#[must_use]
pub fn encode(
    out: &mut Vec<u8>,
    raw: &[u8],
    (codec, plain): (Option<(Compression, &mut Room)>, bool),
    sealing: &Sealing,
    (batch, facts, appends): (&BatchHeader, &PackedHead, &[StatedAppend]),
    (context, offset): (&SegmentContext, u64),
) -> Option<()> {
    let packed =
        codec.and_then(|(codec, room)| Some((codec.id(), packed::pack(raw, codec, batch, room)?)));
    let (codec, text) = packed.unwrap_or((0, raw));
    let cipher = Cipher::Aes256GcmSiv;
    let head = SealedHead {
        facts: PackedHead {
            codec,
            append_count: u8::try_from(appends.len()).ok()?,
            raw_bytes: u32::try_from(raw.len()).ok()?,
            ..*facts
        },
        cipher: cipher.id(),
        has_facts: !plain,
        key_id: sealing.key_id,
        nonce: sealing.nonce,
    };
    let start = out.len();
    out.extend_from_slice(&head.encode(batch));
    let mut stated = Vec::with_capacity(appends.len() * APPEND_BYTES);
    appends.iter().for_each(|append| append.encode(&mut stated));
    let clear = clear(batch, context, out.get(start + 4..)?, &stated);
    let text_start = out.len();
    out.extend_from_slice(text);
    out.extend_from_slice(&batch.timestamp_ms.to_le_bytes());
    let text = out.get_mut(text_start..)?;
    let tag = cipher.seal(&sealing.key, &sealing.nonce, &clear, text)?;
    out.extend_from_slice(&tag);
    out.extend_from_slice(&stated);
    stored::sum(out.get_mut(start..)?, context, offset);
    Some(())
}

/// What stands in the clear and is vouched for by the tag: which records of which log, and what the body says
/// of them. Not where they stand, nor the durable watermark, which change when a batch is copied.
fn clear(batch: &BatchHeader, context: &SegmentContext, head: &[u8], appends: &[u8]) -> Vec<u8> {
    let mut clear = Vec::with_capacity(32 + head.len() + appends.len());
    clear.extend_from_slice(&context.log_id.0);
    clear.extend_from_slice(&batch.first_seq.to_le_bytes());
    clear.extend_from_slice(&batch.count.to_le_bytes());
    clear.extend_from_slice(&u32::from(batch.sparse).to_le_bytes());
    clear.extend_from_slice(head);
    clear.extend_from_slice(appends);
    clear
}

impl SealedHead {
    /// The head as stored, but for the checksum, which is of all of the body.
    #[must_use]
    pub fn encode(&self, batch: &BatchHeader) -> Vec<u8> {
        let mut out = vec![0; 4];
        let flags = if self.has_facts { HAS_FACTS } else { 0 };
        let facts = &self.facts;
        out.extend_from_slice(&[facts.codec, self.cipher, flags, facts.append_count]);
        out.extend_from_slice(&self.key_id.0.to_le_bytes());
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&facts.raw_bytes.to_le_bytes());
        if self.has_facts {
            facts.encode_facts(&mut out, batch);
        }
        out
    }

    /// The name of the cipher.
    #[must_use]
    pub fn cipher(&self) -> Option<Cipher> {
        Cipher::of(self.cipher)
    }

    /// Reads the head of a body whose checksum holds and which states a cipher.
    pub(super) fn decode(body: &[u8], batch: &BatchHeader) -> Result<Self, Defect> {
        let head: &[u8; SEALED_HEAD_BYTES] = fixed(body)?;
        let [codec, cipher, flags, append_count] = at(head, 4);
        if Cipher::of(cipher).is_none() || flags & !HAS_FACTS != 0 {
            return Err(Defect::UnknownExtension);
        }
        let has_facts = flags & HAS_FACTS != 0;
        let (said, raw_bytes) = ((codec, append_count), u32_at(head, 28));
        let facts = match has_facts {
            false => plain_facts(batch, said, raw_bytes),
            true => {
                let facts = fixed(body.get(SEALED_HEAD_BYTES..).unwrap_or_default())?;
                PackedHead::decode_facts(facts, batch, said, raw_bytes)
            }
        };
        let sealed = Self {
            facts,
            cipher,
            has_facts,
            key_id: KeyId(u64_at(head, 8)),
            nonce: at(head, 16),
        };
        let Some(text_bytes) = sealed.parts(body).map(|parts| parts.1.len()) else {
            return Err(Defect::Malformed("lengths of a sealed batch"));
        };
        let raw_bytes_max = match codec {
            0 => text_bytes as u64,
            _ => packed::raw_bytes_max(batch.count),
        };
        match facts.can_be(batch, raw_bytes_max)
            && (codec != 0 || u64::from(facts.raw_bytes) == text_bytes as u64)
            && stated::are_in(sealed.appends(body), &facts, batch)
            && (has_facts || !batch.sparse)
        {
            true => Ok(sealed),
            false => Err(Defect::Malformed("head of a sealed batch")),
        }
    }

    /// The head behind its checksum, what is sealed but the time, what is behind that.
    fn parts<'a>(&self, body: &'a [u8]) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
        let head_bytes = SEALED_HEAD_BYTES + if self.has_facts { FACTS_BYTES } else { 0 };
        let behind = TIME_BYTES + TAG_BYTES + self.facts.stated_bytes();
        let (head, rest) = body.split_at_checked(head_bytes)?;
        let (text, behind) = rest.split_at_checked(rest.len().checked_sub(behind)?)?;
        Some((head.get(4..)?, text, behind))
    }

    /// The appends of producers that it states, in the order of their seqs.
    pub(crate) fn appends<'a>(
        &self,
        body: &'a [u8],
    ) -> impl Iterator<Item = StatedAppend> + use<'a> {
        let behind = self.parts(body).map_or(&[][..], |parts| parts.2);
        stated::decode(behind.get(TIME_BYTES + TAG_BYTES..).unwrap_or_default())
    }

    /// What opens the records, if they can be had here: what is missing otherwise, and whether so many bytes can
    /// come of these.
    pub(super) fn opener(&self, body: &[u8], ring: &KeyRing) -> Result<Opener, Defect> {
        let cipher = self.cipher().filter(|cipher| cipher.is_built());
        let cipher = cipher.ok_or(Defect::CipherNotBuilt("seal"))?;
        let key = ring.key(self.key_id);
        let key = key.ok_or(Defect::KeyMissing(self.key_id))?;
        let text_bytes = self.parts(body).map_or(0, |parts| parts.1.len());
        if self.facts.codec != 0 {
            packed::check(self.facts.codec, self.facts.raw_bytes, text_bytes)?;
        }
        Ok(Opener(cipher, key))
    }

    /// Opens the records into `out`, which is empty and has room for them and 8 bytes; gives the time of those that
    /// have none of their own. They verify one by one, as those of a packed batch.
    pub(super) fn open(
        &self,
        body: &[u8],
        batch: &BatchHeader,
        context: &SegmentContext,
        Opener(cipher, key): &Opener,
        out: &mut BytesMut,
    ) -> Result<i64, Defect> {
        let malformed = Defect::Malformed("sealed records");
        let (head, text, behind) = self.parts(body).ok_or(malformed)?;
        let tag = at::<TAG_BYTES>(behind, TIME_BYTES);
        let appends = behind.get(TIME_BYTES + TAG_BYTES..).unwrap_or_default();
        let clear = clear(batch, context, head, appends);
        let time = behind.get(..TIME_BYTES).unwrap_or_default();
        let open = |sealed: &mut [u8]| match cipher.open(key, &self.nonce, &clear, sealed, &tag) {
            true => Ok(()),
            false => Err(Defect::Tampered),
        };
        if self.facts.codec == 0 {
            out.extend_from_slice(text);
            out.extend_from_slice(time);
            open(out)?;
            let time = i64_at(out, text.len());
            out.truncate(text.len());
            return Ok(time);
        }
        let mut opened = [text, time].concat();
        open(&mut opened)?;
        let (text, time) = opened.split_at_checked(text.len()).ok_or(malformed)?;
        out.resize(
            usize::try_from(self.facts.raw_bytes).unwrap_or(usize::MAX),
            0,
        );
        packed::unpack(self.facts.codec, text, batch, out)?;
        Ok(i64_at(time, 0))
    }
}
