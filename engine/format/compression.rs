//! The codecs that records are packed with: bytes to fewer bytes and back.
//!
//! Each is another crate's, behind a cargo feature of its name. What it cannot unpack is a value like any
//! other bad bytes; how long the outcome is stands beside it and is bounded before this is called.

use std::fmt;

/// What records are packed with, see [`Log::pack`](crate::Log::pack).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// LZ4: quick in both directions, text to about a quarter. Needs the cargo feature `lz4`.
    Lz4,
    /// Zstandard, at its default level: smaller, and slower. Needs the cargo feature `zstd`.
    Zstd,
}

impl Compression {
    /// The name that options and error messages know it by, which is that of its cargo feature.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Whether this program was built with it.
    #[must_use]
    pub fn is_built(self) -> bool {
        match self {
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }

    pub(super) fn id(self) -> u8 {
        match self {
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }

    pub(crate) fn of(id: u8) -> Option<Self> {
        [Self::Lz4, Self::Zstd].into_iter().find(|it| it.id() == id)
    }

    /// The most bytes that so many packed ones can stand for: whoever states more is lying, and costs
    /// nothing.
    pub(super) fn raw_bytes_max(self, packed_bytes: u64) -> u64 {
        match self {
            // A byte of a length adds 255.
            Self::Lz4 => packed_bytes.saturating_mul(255),
            // A block of 128 KiB takes at least 4 bytes (RFC 8878, 3.1.1.2).
            Self::Zstd => packed_bytes.saturating_mul(1 << 15),
        }
    }

    /// Puts the packed form of `raw` into `out`, in place of what is there; nothing if the codec is not built or
    /// fails.
    pub(super) fn pack(self, raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            #[cfg(feature = "lz4")]
            Self::Lz4 => {
                out.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                let bytes = lz4_flex::block::compress_into(raw, out).ok()?;
                out.truncate(bytes);
                Some(())
            }
            #[cfg(feature = "zstd")]
            Self::Zstd => {
                out.resize(zstd::zstd_safe::compress_bound(raw.len()), 0);
                let level = zstd::DEFAULT_COMPRESSION_LEVEL;
                let bytes = zstd::bulk::compress_to_buffer(raw, out.as_mut_slice(), level).ok()?;
                out.truncate(bytes);
                Some(())
            }
            #[cfg(not(all(feature = "lz4", feature = "zstd")))]
            _ => {
                let _unused = (raw, out);
                None
            }
        }
    }

    /// Unpacks into exactly `out`; false if that is not what the bytes come to, or it is not built.
    #[must_use]
    pub(super) fn unpack(self, packed: &[u8], out: &mut [u8]) -> bool {
        match self {
            #[cfg(feature = "lz4")]
            Self::Lz4 => {
                lz4_flex::block::decompress_into(packed, out).is_ok_and(|bytes| bytes == out.len())
            }
            #[cfg(feature = "zstd")]
            Self::Zstd => {
                zstd::bulk::decompress_to_buffer(packed, out).is_ok_and(|bytes| bytes == out.len())
            }
            #[cfg(not(all(feature = "lz4", feature = "zstd")))]
            _ => {
                let _unused = (packed, out);
                false
            }
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
