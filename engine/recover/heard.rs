//! What was written beside the log after a sync had returned: the watermark file and the cursors.
//!
//! They are witnesses of what was durable, though the log is whole without them. So what of them does
//! not verify is not heard, and is nobody's concern here; that a file cannot be read is an error.
//!
//! Called by look.

use crate::{
    error::{Defect, Error, Op, Place, Result},
    format::{Manifest, Owner, WatermarkFile, cursor::CursorFile, names},
    types::Seq,
    vfs::{Dir, is_out_of_reach},
};
use std::{io, path::PathBuf};

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

/// All that was heard, and what was not.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) watermark: WatermarkFact,
    /// What the cursors say was durable when they were stored: what they had passed, and as of when.
    passed: Vec<(Owner, Seq)>,
    /// What does not verify, for who asks whether a newer program wrote it.
    pub(super) unheard: Vec<(Place, Defect)>,
}

impl Heard {
    /// Reads those files that are there.
    pub(super) fn read(dir: &Dir, op: Op, watermark: bool, cursors: bool) -> Result<Self> {
        let mut heard = Self {
            watermark: WatermarkFact::Missing,
            passed: Vec::new(),
            unheard: Vec::new(),
        };
        if watermark {
            heard.read_watermark(dir, op)?;
        }
        if cursors {
            heard.read_cursors(&dir.child(names::CURSORS), op)?;
        }
        Ok(heard)
    }

    /// The seq below which the cursors of an owner say that all was durable.
    pub(super) fn passed(&self, owner: Owner) -> Seq {
        let ours = (self.passed.iter()).filter(|(found, _)| owner.check(*found).is_ok());
        ours.map(|(_, seq)| *seq).max().unwrap_or(0)
    }

    /// Whose the cursors are, if they agree.
    pub(super) fn owner(&self) -> Option<Owner> {
        let (first, _) = self.passed.first()?;
        let agree = self.passed.iter().all(|(owner, _)| owner == first);
        agree.then_some(*first)
    }

    fn read_watermark(&mut self, dir: &Dir, op: Op) -> Result<()> {
        let place = Place::file(names::WATERMARK);
        self.watermark = WatermarkFact::Unheard;
        let read = dir.read(names::WATERMARK, WatermarkFile::stated_bytes);
        let Some(bytes) = if_within_reach(read, op, &place)? else {
            return Ok(());
        };
        match WatermarkFile::decode(&bytes) {
            Ok(told) => self.watermark = WatermarkFact::Told(told),
            Err(defect) => self.unheard.push((place, defect)),
        }
        Ok(())
    }

    fn read_cursors(&mut self, dir: &Dir, op: Op) -> Result<()> {
        let place = |name: &str| Place::file([names::CURSORS, name].iter().collect::<PathBuf>());
        let Some(listed) = if_within_reach(dir.list(), op, &place(""))? else {
            return Ok(());
        };
        for entry in listed.iter().filter(|entry| entry.is_file) {
            let Some(id) = names::parse_cursor(&entry.name) else {
                continue;
            };
            let place = place(&entry.name);
            let read = dir.read(&entry.name, CursorFile::stated_bytes);
            let Some(bytes) = if_within_reach(read, op, &place)? else {
                continue;
            };
            match CursorFile::decode(&bytes) {
                Ok(file) if file.id == id => {
                    let seq = file.seq.max(file.as_of_seq);
                    self.passed.push((file.owner(), seq));
                }
                Ok(_) => {}
                Err(defect) => self.unheard.push((place, defect)),
            }
        }
        Ok(())
    }
}

/// What was read; `None` if it is gone, or somebody else's.
fn if_within_reach<T>(read: io::Result<T>, op: Op, place: &Place) -> Result<Option<T>> {
    match read {
        Err(error) if is_out_of_reach(&error) => Ok(None),
        Err(error) => Err(Error::io(op, error).at(place.clone())),
        Ok(read) => Ok(Some(read)),
    }
}
