//! The watermark file: how far the log is durable, told to readers in other processes. Layout:
//! `format.md`, "Watermark".

use super::{
    Owner, VERSION, at, check_crc, check_numbers, check_preamble, check_version, checksum,
};
use super::{fixed, u16_at, u32_at, u64_at};
use crate::{
    error::Defect,
    types::{LogId, Seq},
};

/// The size of a watermark file in bytes.
pub const WATERMARK_BYTES: usize = 56;
const MAGIC: [u8; 8] = *b"CAIRNWMK";
const SEED: u32 = 0x574d_524b;

/// What the writer last told other processes. True whenever it verifies, and possibly old: it is not
/// part of the log, and nothing that is written is ever decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkFile {
    /// The log it belongs to.
    pub log_id: LogId,
    /// Which continuation of it; 0 if that is not stated.
    pub incarnation: u32,
    /// The seq below which everything is durable.
    pub durable_seq: Seq,
    /// The generation of a manifest that was committed before.
    pub generation: u64,
}

impl WatermarkFile {
    /// Whose it is.
    pub(crate) fn owner(&self) -> Owner {
        Owner {
            log_id: self.log_id,
            incarnation: self.incarnation,
        }
    }

    /// The watermark as stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(WATERMARK_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&0u32.to_le_bytes()); // required features
        out.extend_from_slice(&self.log_id.0);
        out.extend_from_slice(&self.durable_seq.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&checksum::crc32c(SEED, &out).to_le_bytes());
        out
    }

    /// How much of a file is looked at.
    pub(crate) fn stated_bytes(_head: &[u8]) -> u64 {
        WATERMARK_BYTES as u64
    }

    /// Reads a watermark from the start of a file.
    ///
    /// # Errors
    /// The first [`Defect`] found.
    pub fn decode(file: &[u8]) -> Result<Self, Defect> {
        let bytes: &[u8; WATERMARK_BYTES] = fixed(file)?;
        check_preamble(bytes, MAGIC)?;
        check_crc(
            at::<{ WATERMARK_BYTES - 4 }>(bytes, 0).as_slice(),
            SEED,
            u32_at(bytes, 52),
        )?;
        check_version(u16_at(bytes, 8), u32_at(bytes, 12))?;
        let told = Self {
            log_id: LogId(at(bytes, 16)),
            durable_seq: u64_at(bytes, 32),
            generation: u64_at(bytes, 40),
            incarnation: u32_at(bytes, 48),
        };
        let numbers = [told.durable_seq, told.generation];
        check_numbers(&numbers, "watermark: a number is too large")?;
        Ok(told)
    }
}
