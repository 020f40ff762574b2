//! A backup that is there already, and may be brought up to date: of this log, opened by nobody, not ahead of it.
//!
//! INVARIANT: held by its lock from the first look to the end. What its manifest names is not touched before the
//! next is in force.
//!
//! Called by the journey; calls recover.

use super::{BackupOptions, Origin, at_path, place::refuse};
use crate::{
    error::{Defect, Error, Op, Place, Result},
    format::{
        Manifest,
        backup::{BackupMark, State},
        names,
    },
    recover::{self, Facts, Plan},
    types::{SegmentId, Seq},
    vfs::{Dir, VfsLock},
};
use std::{io, time::Duration};

const OPENED: &str = "what is there is a log by itself, or a backup that was opened as one since: \
    make a backup in a new directory";

/// What is there.
pub(super) struct Former {
    pub(super) manifest: Manifest,
    /// Whether it ever shared a file with the log.
    pub(super) is_shared: bool,
    /// Above every segment's file that is there.
    pub(super) first_free_id: SegmentId,
    _lock: Box<dyn VfsLock>,
}

impl State {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            incarnation: manifest.incarnation,
            generation: manifest.generation,
        }
    }
}

impl Former {
    /// The backup in a directory; `None` if there is no log in it.
    pub(super) fn find(origin: &Origin<'_>, to: &Dir, how: &BackupOptions) -> Result<Option<Self>> {
        match to.len(names::MANIFEST) {
            Ok(None) => return Ok(None),
            // Whatever that is, it is no log, and told by who would make one of it.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            found => found.map_err(at_path(to, names::MANIFEST))?,
        };
        // Looked at twice: nothing is created in what is not a backup of this log.
        mark_of(origin, to, how)?;
        let lock = recover::lock(to, Duration::ZERO)?;
        let mark = mark_of(origin, to, how)?;
        let (mut facts, mut plan) = recover::plan(to, origin.options)?;
        if let Some(manifest) = facts.valid_manifest()
            && recover::settle_backup(to, manifest, Op::Backup)?
        {
            (facts, plan) = recover::plan(to, origin.options)?;
        }
        let remove = match plan {
            Plan::Refuse { damage } => match damage.into_iter().next() {
                Some(first) => return Err(damaged(to, first.place, first.defect)),
                None => return Err(refuse(to, OPENED)),
            },
            Plan::Resume { remove, .. } => remove,
            Plan::Create { .. } | Plan::Carry { .. } => return Err(refuse(to, OPENED)),
        };
        let manifest = facts
            .valid_manifest()
            .filter(|it| is_untouched(&facts, it, &mark));
        let Some(manifest) = manifest.cloned() else {
            return Err(refuse(to, OPENED));
        };
        if !remove.is_empty() {
            // DURABILITY: after this line no manifest but the one that is there is in force: whatever it does not
            // name is left of an attempt, or of the backup before.
            to.sync().map_err(at_path(to, ""))?;
            remove_segments(to, remove.into_iter())?;
        }
        Ok(Some(Self {
            first_free_id: facts.first_free_id(&manifest),
            manifest,
            is_shared: mark.shared,
            _lock: lock,
        }))
    }

    /// The log has to be at least as far: else it is one of an earlier day, and this its only copy of the rest.
    pub(super) fn check_behind(&self, to: &Dir, head_seq: Seq, next_seq: Seq) -> Result<()> {
        let ahead = "what is there is ahead of this log, which is one of an earlier day: make a backup in a new directory";
        match self.manifest.head_seq > head_seq || self.manifest.durable_seq > next_seq {
            true => Err(refuse(to, ahead)),
            false => Ok(()),
        }
    }

    /// Removes what only its manifest named. The next one is durable.
    pub(super) fn leave(&self, to: &Dir, next: &Manifest) -> Result<()> {
        let named = self.manifest.sealed.iter().map(|entry| entry.id);
        let named = named.chain([self.manifest.tail.id]);
        let mut kept: Vec<_> = next.sealed.iter().map(|entry| entry.id).collect();
        kept.push(next.tail.id);
        kept.sort_unstable();
        remove_segments(to, named.filter(|id| kept.binary_search(id).is_err()))?;
        // DURABILITY: after this line nothing is left of the backup before. With it the log would be the same.
        to.sync().map_err(at_path(to, ""))
    }
}

/// What the mark says, if that is this log and nobody made another of it.
fn mark_of(origin: &Origin<'_>, to: &Dir, how: &BackupOptions) -> Result<BackupMark> {
    let mark = recover::backup_mark(to, Op::Backup)?.ok_or_else(|| refuse(to, OPENED))?;
    let (other, elsewhere, shared) = (
        "what is there is a backup of another log",
        "what is there is a backup of this log before it went on from another copy: make one in a new directory",
        "what is there shares files with the log: for a copy of every byte make a backup in a new directory",
    );
    match mark.of {
        of if of.log_id != origin.owner.log_id => Err(refuse(to, other)),
        of if of != origin.owner => Err(refuse(to, elsewhere)),
        _ if mark.shared && how.copy => Err(refuse(to, shared)),
        _ => Ok(mark),
    }
}

/// Whether it is as the last backup left it: opening it commits a manifest, and appends.
fn is_untouched(facts: &Facts, manifest: &Manifest, mark: &BackupMark) -> bool {
    let scan = facts.tail.as_ref().and_then(|tail| tail.scan.as_ref());
    let is_empty = scan.is_some_and(|scan| scan.summary.next_seq == manifest.tail.base_seq);
    let is_known = [mark.before, mark.now].contains(&State::of(manifest));
    is_empty && is_known && manifest.log_id == mark.of.log_id && manifest.spare.is_none()
}

fn remove_segments(to: &Dir, ids: impl Iterator<Item = SegmentId>) -> Result<()> {
    for id in ids {
        let name = names::segment(id);
        to.remove_if_there(&name).map_err(at_path(to, &name))?;
    }
    Ok(())
}

/// What does not verify in the backup, and where.
pub(super) fn damaged(to: &Dir, place: Place, defect: Defect) -> Error {
    let path = match &place.path {
        Some(path) => to.path().join(path),
        None => to.path().to_owned(),
    };
    let place = Place {
        path: Some(path),
        ..place
    };
    Error::defect(Op::Backup, place, defect)
}
