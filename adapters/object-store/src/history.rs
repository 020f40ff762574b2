//! What a store holds: the newest commit, and those before it as long as they are kept.
//!
//! INVARIANT: the newest commit is found by asking for it by name, not by a list, which may lag. Another
//! commit is believed only if the one behind it names its checksum: a number that was put again, after it
//! had been collected, is no part of the history.

use crate::{
    error::{Error, Result},
    layout::{COMMITS, Commit, File, Object, Set, commit_name, decode_cursors, parse_commit},
    store::Store,
};
use bytes::Bytes;
use cairnlog::{
    LogId, Seq,
    format::{Manifest, crc32c, manifest::SealedEntry},
};
use std::collections::BTreeMap;

/// Which moment of a log is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum To {
    /// The newest in the store.
    Latest,
    /// When the log ended here: the records below this seq, of the oldest moment that is kept and has them all.
    Seq(Seq),
    /// At this time, in milliseconds since 1970: the newest moment that was taken by then.
    Time(i64),
    /// The one with this number, of those that [`Store::moments`] lists.
    Moment(u64),
}

/// A moment of a log in a store; from [`Store::moments`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moment {
    /// The number of its commit.
    pub number: u64,
    /// Which writer in turn made it.
    pub epoch: u64,
    /// When, by that writer's clock, in milliseconds since 1970.
    pub taken_ms: i64,
    /// Which log it is of.
    pub log_id: LogId,
    /// The oldest record in it.
    pub head_seq: Seq,
    /// The seq after its last record.
    pub end_seq: Seq,
}

impl Moment {
    pub(crate) fn of(commit: &Commit) -> Option<Self> {
        let state = commit.state.as_ref()?;
        Some(Self {
            number: commit.number,
            epoch: commit.epoch,
            taken_ms: commit.taken_ms,
            log_id: commit.log_id,
            head_seq: state.manifest.head_seq,
            end_seq: commit.end_seq(),
        })
    }
}

/// All that a store has of a moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) commit: Commit,
    /// With the sealed segments.
    pub(crate) manifest: Manifest,
    pub(crate) files: Vec<File>,
    pub(crate) producers: Option<Bytes>,
    pub(crate) cursors: BTreeMap<u64, Vec<u8>>,
}

impl Store {
    /// A commit, its checksum, and when the store got it.
    pub(crate) fn commit(&self, number: u64) -> Result<Option<(Commit, u32, i64)>> {
        let name = commit_name(number);
        let Some((bytes, put_ms)) = self.get(&name)? else {
            return Ok(None);
        };
        let commit = Commit::decode(&bytes).map_err(|what| Error::damaged(&name, what))?;
        if commit.number != number {
            return Err(Error::damaged(&name, "it is another commit"));
        }
        Ok(Some((commit, crc32c(0, &bytes), put_ms)))
    }

    /// The newest commit, and its checksum.
    pub(crate) fn newest(&self) -> Result<Option<(Commit, u32)>> {
        let listed = self.list(COMMITS, None)?;
        let last = listed.iter().filter_map(|name| parse_commit(name)).max();
        let (mut number, mut newest) = (last.unwrap_or(1), None);
        while let Some((commit, checksum, _)) = self.commit(number)? {
            newest = Some((commit, checksum));
            number += 1;
        }
        match (newest, last) {
            (None, Some(last)) => Err(Error::damaged(
                commit_name(last),
                "it is listed and is not there",
            )),
            (newest, _) => Ok(newest),
        }
    }

    /// An object, if it is what was put.
    pub(crate) fn object(&self, object: &Object) -> Result<Bytes> {
        let name = object.key.name();
        let Some((bytes, _)) = self.get(&name)? else {
            return Err(Error::NotFound(format!(
                "{name} is gone: the moment was collected meanwhile, or the object lost"
            )));
        };
        if bytes.len() as u64 != object.bytes || crc32c(0, &bytes) != object.checksum {
            return Err(Error::damaged(name, "its length or its checksum is wrong"));
        }
        Ok(bytes)
    }

    pub(crate) fn set(&self, object: &Object) -> Result<Set> {
        let bytes = self.object(object)?;
        Set::decode(&bytes).map_err(|what| Error::damaged(object.key.name(), what))
    }

    /// All that a commit states, but the segments' bytes.
    pub(crate) fn snapshot(&self, commit: Commit) -> Result<Snapshot> {
        let Some(state) = commit.state.clone() else {
            return Err(empty());
        };
        let set = self.set(&state.set)?;
        let producers = state.producers.map(|it| self.object(&it)).transpose()?;
        let cursors = match state.cursors {
            None => BTreeMap::new(),
            Some(object) => decode_cursors(&self.object(&object)?)
                .ok_or_else(|| Error::damaged(object.key.name(), "it is cut"))?,
        };
        Ok(Snapshot {
            manifest: Manifest {
                sealed: set.sealed.into_iter().map(here).collect(),
                ..state.manifest
            },
            files: set.files.into_iter().chain(state.tails).collect(),
            producers,
            cursors,
            commit,
        })
    }

    /// The moments that are kept, from the oldest. One request for each.
    ///
    /// # Errors
    /// `Store`, `TimedOut`, `Damaged`.
    pub fn moments(&self) -> Result<Vec<Moment>> {
        let Some((newest, _)) = self.newest()? else {
            return Ok(Vec::new());
        };
        let (mut moments, mut wanted) = (vec![Moment::of(&newest)], newest.previous);
        for number in (newest.first..newest.number).rev() {
            match self.commit(number)? {
                Some((commit, checksum, _)) if checksum == wanted => {
                    moments.push(Moment::of(&commit));
                    wanted = commit.previous;
                }
                // Collected since, or put again after that.
                _ => break,
            }
        }
        Ok(moments.into_iter().rev().flatten().collect())
    }

    /// The commit that is meant.
    pub(crate) fn find(&self, to: To) -> Result<Commit> {
        let Some((newest, _)) = self.newest()? else {
            return Err(empty());
        };
        let found = match to {
            To::Latest => return Ok(newest),
            To::Seq(seq) if newest.end_seq() < seq => {
                let end = newest.end_seq();
                return Err(Error::NotFound(format!(
                    "the copy ends at seq {end}, before {seq}"
                )));
            }
            To::Seq(seq) => self.first_of(&newest, |commit| commit.end_seq() >= seq)?,
            To::Time(time_ms) if newest.taken_ms <= time_ms => return Ok(newest),
            To::Time(time_ms) => {
                let later = self.first_of(&newest, |commit| commit.taken_ms > time_ms)?;
                later.saturating_sub(1).max(newest.first)
            }
            To::Moment(number) if number > newest.number => {
                return Err(Error::NotFound(format!("there is no moment {number} yet")));
            }
            To::Moment(number) => number,
        };
        if found == newest.number {
            return Ok(newest);
        }
        let too_old = || Error::NotFound("no moment so old is kept".into());
        if found < newest.first {
            return Err(too_old());
        }
        let (commit, checksum, _) = self.commit(found)?.ok_or_else(too_old)?;
        let (behind, ..) = self.commit(found + 1)?.ok_or_else(too_old)?;
        let is_late = matches!(to, To::Time(time_ms) if commit.taken_ms > time_ms);
        if behind.previous != checksum || commit.state.is_none() || is_late {
            return Err(too_old());
        }
        Ok(commit)
    }

    /// The number of the first commit of which something is so that is so of all behind it.
    fn first_of(&self, newest: &Commit, is_so: impl Fn(&Commit) -> bool) -> Result<u64> {
        let (mut low, mut high) = (newest.first, newest.number);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.commit(middle)? {
                Some((commit, ..)) if is_so(&commit) => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(low)
    }
}

/// All of it is where the moment is, also what the log itself has let go of.
fn here(entry: SealedEntry) -> SealedEntry {
    SealedEntry {
        far: false,
        ..entry
    }
}

fn empty() -> Error {
    Error::NotFound("there is no copy of a log in the store".into())
}
