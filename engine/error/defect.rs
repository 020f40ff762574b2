//! What can be wrong with bytes on disk: facts, comparable, without place and without judgement.
//!
//! A decoder returns a `Defect`; the segment that asked adds where; the journey adds what it was
//! doing. Whether a defect is a torn tail or damage is decided by recovery, never here.

use crate::seal::KeyId;
use std::fmt;

/// One way in which stored bytes fail to be what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// Only zero bytes where something had to be. Zero is never valid in this format.
    Zeroed,
    /// The first eight bytes are not those of the expected structure.
    BadMagic {
        /// The bytes found, read as a little-endian number.
        found: u64,
    },
    /// Written by a version of the format that this library does not read.
    UnknownVersion(u16),
    /// Uses features, a bit each, that this library must understand and does not.
    UnknownFeature(u32),
    /// A batch whose header goes on in a way that this library does not know.
    UnknownExtension,
    /// Records are packed with a codec that this library does not know.
    UnknownCodec(u8),
    /// Records are packed with a codec that this program was built without: the cargo feature of this
    /// name.
    CodecNotBuilt(&'static str),
    /// Records are sealed with a cipher that this program was built without: the cargo feature of this name.
    CipherNotBuilt(&'static str),
    /// Records are sealed under a key that is not to be had: its id. They are as they were.
    KeyMissing(KeyId),
    /// Sealed records, or what stands beside them in the clear, are not what was sealed, and yet the checksum
    /// holds: somebody changed them who could sum, or they are under another key of the same id.
    Tampered,
    /// The stored checksum is not the one that the bytes give.
    BadChecksum {
        /// The checksum found on disk.
        stored: u32,
        /// The checksum computed from the bytes found on disk.
        computed: u32,
    },
    /// A length points past the end of what is there.
    Truncated {
        /// Bytes that the structure needs.
        needed_bytes: u64,
        /// Bytes that are there.
        available_bytes: u64,
    },
    /// A record does not follow its predecessor.
    SequenceGap {
        /// The number that had to come next.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A well-formed structure that belongs somewhere else: a swapped, stale or copied file.
    WrongIdentity {
        /// Which field disagrees.
        field: &'static str,
        /// Its value according to the manifest.
        expected: u64,
        /// Its value in the file.
        found: u64,
    },
    /// The checksum holds and yet a field has a value that no writer produces.
    Malformed(&'static str),
    /// A file that the manifest names is not there.
    MissingFile,
    /// The segment lives elsewhere, and what reads it there was not given
    /// ([`Options::far_segments`](crate::Options::far_segments)). Nothing is wrong with it.
    Far,
    /// The segment lives elsewhere, and is not there.
    MissingFar,
    /// A file is there that the manifest should know and does not.
    UnknownFile,
    /// Something else has the file's name: a directory, a link, a pipe, a device.
    NotAFile,
    /// A backup that was interrupted: not all of the log is there.
    UnfinishedBackup,
    /// The records end here in order, and yet more of them had been durable.
    EndsEarly {
        /// The seq below which all had been durable.
        durable_seq: u64,
        /// What says so.
        witness: &'static str,
    },
}

impl Defect {
    /// Whether it is the doing of a program that can more, and no damage: a version, or a feature that has
    /// to be known.
    #[must_use]
    pub fn is_unsupported(self) -> bool {
        matches!(
            self,
            Self::UnknownVersion(_)
                | Self::UnknownFeature(_)
                | Self::UnknownExtension
                | Self::UnknownCodec(_)
                | Self::CodecNotBuilt(_)
                | Self::CipherNotBuilt(_)
        )
    }

    /// Whether nothing is wrong with what is stored, and its records cannot be had here all the same: this
    /// program cannot, has no key, or was not told where it is.
    #[must_use]
    pub fn is_out_of_reach(self) -> bool {
        self.is_unsupported() || matches!(self, Self::KeyMissing(_) | Self::Far)
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeroed => write!(f, "only zeros"),
            Self::BadMagic { found } => write!(f, "unknown magic {found:#018x}"),
            Self::UnknownVersion(version) => write!(f, "unknown format version {version}"),
            Self::UnknownFeature(bits) => write!(f, "unknown required features {bits:#010x}"),
            Self::UnknownExtension => write!(f, "unknown extension of a batch"),
            Self::UnknownCodec(id) => write!(f, "packed with the unknown codec {id}"),
            Self::CodecNotBuilt(name) => write!(
                f,
                "packed with {name}, which this program was built without (cargo feature `{name}`)"
            ),
            Self::CipherNotBuilt(name) => write!(
                f,
                "sealed, and this program was built without (cargo feature `{name}`)"
            ),
            Self::KeyMissing(id) => write!(f, "sealed under key {id}, which is not to be had"),
            Self::Tampered => write!(f, "changed since it was sealed, though its checksum holds"),
            Self::BadChecksum { stored, computed } => {
                write!(f, "checksum is {computed:#010x}, stored is {stored:#010x}")
            }
            Self::Truncated {
                needed_bytes,
                available_bytes,
            } => {
                write!(f, "needs {needed_bytes} bytes, {available_bytes} are there")
            }
            Self::SequenceGap { expected, found } => {
                write!(f, "seq {found} where {expected} was expected")
            }
            Self::WrongIdentity {
                field,
                expected,
                found,
            } => {
                write!(f, "{field} is {found:#x}, expected {expected:#x}")
            }
            Self::Malformed(what) => write!(f, "malformed {what}"),
            Self::MissingFile => write!(f, "the file is missing"),
            Self::Far => write!(
                f,
                "the segment lives elsewhere, and nothing was given that reads it there"
            ),
            Self::MissingFar => write!(f, "the segment lives elsewhere, and is not there"),
            Self::UnknownFile => write!(f, "the file is not in the manifest"),
            Self::NotAFile => write!(f, "not a regular file"),
            Self::EndsEarly {
                durable_seq,
                witness,
            } => write!(
                f,
                "the records end here, and {witness} says that all below seq {durable_seq} was durable"
            ),
            Self::UnfinishedBackup => write!(f, "the backup was never finished"),
        }
    }
}
