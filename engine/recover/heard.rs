//! What was written beside the log after a sync had returned: the watermark file and the cursors.
//!
//! They are witnesses of what was durable, though the log is whole without them. So what of them does
//! not verify is not heard, and is nobody's concern here; that a file cannot be read is an error.
//!
//! Called by look.

use crate::{
    error::{Error, Op, Place, Result},
    format::{
        Manifest, Owner, WatermarkFile, cursor::CursorFile, names, watermark::WATERMARK_BYTES,
    },
    types::Seq,
    vfs::{Access, Dir, is_out_of_reach, read_full_at},
};
use std::path::PathBuf;

/// What the last writer told readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatermarkFact {
    Missing,
    /// Half of one, or another log's or incarnation's: what it says is of no account.
    Unheard,
    Told(WatermarkFile),
}

impl WatermarkFact {
    /// As it is for the log of this manifest.
    pub(super) fn heard_by(self, manifest: &Manifest) -> Self {
        match self {
            Self::Told(told) if manifest.owner().check(told.owner()).is_err() => Self::Unheard,
            heard => heard,
        }
    }

    /// Whose it is.
    pub(crate) fn owner(&self) -> Option<Owner> {
        match self {
            Self::Told(told) => Some(told.owner()),
            Self::Missing | Self::Unheard => None,
        }
    }

    /// The seq below which all was durable, as far as it says.
    pub(crate) fn durable_seq(&self) -> Seq {
        match self {
            Self::Told(told) => told.durable_seq,
            Self::Missing | Self::Unheard => 0,
        }
    }

    /// The generation of a manifest that was in force, as far as it says.
    pub(crate) fn generation(&self) -> u64 {
        match self {
            Self::Told(told) => told.generation,
            Self::Missing | Self::Unheard => 0,
        }
    }
}

pub(super) fn watermark_fact(dir: &Dir, op: Op, listed: bool) -> Result<WatermarkFact> {
    if !listed {
        return Ok(WatermarkFact::Missing);
    }
    let mut bytes = [0; WATERMARK_BYTES];
    let read = dir
        .open(names::WATERMARK, Access::Read)
        .and_then(|file| read_full_at(&*file, &mut bytes, 0));
    let read = match read {
        Err(error) if is_out_of_reach(&error) => return Ok(WatermarkFact::Unheard),
        read => read.map_err(|error| Error::io(op, error).at(Place::file(names::WATERMARK)))?,
    };
    let told = WatermarkFile::decode(bytes.get(..read).unwrap_or_default());
    Ok(told.map_or(WatermarkFact::Unheard, WatermarkFact::Told))
}

/// What the cursors say was durable when they were stored: what they had passed, and as of when.
#[derive(Debug, Default)]
pub(super) struct Passed(Vec<(Owner, Seq)>);

impl Passed {
    /// The seq below which those of an owner say so.
    pub(super) fn of(&self, owner: Owner) -> Seq {
        let ours = (self.0.iter()).filter(|(found, _)| owner.check(*found).is_ok());
        ours.map(|(_, seq)| *seq).max().unwrap_or(0)
    }
}

pub(super) fn passed(dir: &Dir, op: Op, listed: bool) -> Result<Passed> {
    let mut passed = Passed::default();
    if !listed {
        return Ok(passed);
    }
    let dir = dir.child(names::CURSORS);
    let fail = |name: &str| {
        let place = Place::file([names::CURSORS, name].iter().collect::<PathBuf>());
        move |error| Error::io(op, error).at(place)
    };
    let listed = match dir.list() {
        Err(error) if is_out_of_reach(&error) => return Ok(passed),
        listed => listed.map_err(fail(""))?,
    };
    for entry in listed.iter().filter(|entry| entry.is_file) {
        let Some(id) = names::parse_cursor(&entry.name) else {
            continue;
        };
        let bytes = match dir.read(&entry.name, CursorFile::stated_bytes) {
            Err(error) if is_out_of_reach(&error) => continue,
            read => read.map_err(fail(&entry.name))?,
        };
        let file = CursorFile::decode(&bytes).ok().filter(|file| file.id == id);
        passed
            .0
            .extend(file.map(|file| (file.owner(), file.seq.max(file.as_of_seq))));
    }
    Ok(passed)
}
