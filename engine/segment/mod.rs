//! One file of frames: the writable tail, the sealed ones, and the ways to walk them.
//!
//! Life of a segment: prepared as a spare (zeros), begun as the tail, finished when the next one is
//! begun, sealed with a footer. A segment does not know whether it is read, recovered or compacted.
//!
//! INVARIANTS: frames are written at the end only; bytes below the written end never change; a walk
//! never writes; no length is believed before the checksum over it has held.
//!
//! Called by the journeys, catalog and manifest; calls format and vfs.

mod behind;
mod build;
mod copy;
mod direct;
mod find;
mod footer;
mod frames;
mod index;
mod mend;
mod recycle;
mod run;
mod salvage;
mod scan;
mod sealed;
mod shelf;
mod source;
mod space;
mod summary;
mod tail;
mod unnamed;
mod view;
mod witness;

pub(crate) use behind::Behind;
pub(crate) use build::{
    Builder, batch_takes, block_takes, copy_header, facts, new_incarnation, new_log_id,
    sealing_under, tail_header, write_footer,
};
pub(crate) use copy::copy_below;
pub(crate) use find::find;
pub(crate) use footer::read_footer;
use frames::unpack;
pub(crate) use frames::{Frames, Spot, Stored};
pub(crate) use mend::{Found, mend_header, open_damaged, open_damaged_sealed};
pub(crate) use recycle::Returned;
pub(crate) use run::run;
pub(crate) use salvage::{Gap, Piece, Range, salvage};
pub(crate) use scan::{Limits, Scan, Stop, Verified, scan, summary_below, walk};
pub(crate) use sealed::{Home, Identity, Loaded, Sealed};
pub(crate) use source::{Source, Window};
pub(crate) use space::{FILL_BYTES, Space, Way};
pub(crate) use summary::{Summary, Tally};
pub(crate) use tail::{Tail, TailWriter};
pub(crate) use unnamed::Unnamed;
pub(crate) use view::View;
pub(crate) use witness::{Beyond, Old, Witness, nonzero_end, witness};

use crate::{
    error::{Defect, Error, Op, Place},
    types::SegmentId,
};
use std::io;

/// Why a walk could not go on: the device, or the bytes.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The read itself failed: never an end of log.
    Io { offset: u64, error: io::Error },
    /// The bytes do not verify.
    Defect {
        offset: u64,
        seq: u64,
        defect: Defect,
    },
}

impl Fault {
    pub(crate) fn into_error(self, op: Op, segment: SegmentId) -> Error {
        match self {
            Self::Io { offset, error } => {
                Error::io(op, error).at(Place::in_segment(segment, offset))
            }
            Self::Defect {
                offset,
                seq,
                defect,
            } => Error::defect(op, Place::in_segment(segment, offset).with_seq(seq), defect),
        }
    }
}
