//! What makes the files of a backup the log that they are a copy of: the mark, the manifest, and a look at it all.
//!
//! INVARIANT: a new one is no log before its manifest, and none again if something does not verify. One that is
//! there is not touched before everything that the next manifest names has verified; from then on it is the next.
//!
//! Called by `copying`; calls manifest, verify, recover.

use super::{at_path, copying::Backup, former::damaged};
use crate::{
    error::{Error, Op, Result},
    format::{
        Manifest,
        backup::{BackupMark, State},
        manifest::SealedEntry,
        names,
    },
    manifest::ManifestStore,
    recover,
    segment::TailWriter,
    verify::{self, FindingKind},
    vfs::Dir,
};

impl Backup<'_> {
    /// Commits what was copied, and verifies it: first where there is something to be lost.
    pub(super) fn finish(
        &mut self,
        of: &Manifest,
        sealed: Vec<SealedEntry>,
        tail: (&TailWriter, bool),
        is_shared: bool,
    ) -> Result<()> {
        let (log_id, options) = (self.log_id(), self.origin.options);
        if self.former.is_some()
            && let Some(finding) = verify::first_harm(self.to, log_id, &sealed, options)?
        {
            return Err(damaged(self.to, finding.place, finding.defect));
        }
        let manifest = self.commit(of, sealed, tail, is_shared)?;
        let Some(former) = &self.former else {
            return self.verify();
        };
        // From here on it is the new one that is there, whatever becomes of this.
        recover::settle_backup(self.to, &manifest, Op::Backup)?;
        former.leave(self.to, &manifest)?;
        match recover::plan(self.to, options)?.1 {
            recover::Plan::Refuse { damage } => {
                let first = damage.into_iter().next();
                first.map_or(Ok(()), |it| Err(damaged(self.to, it.place, it.defect)))
            }
            _ => Ok(()),
        }
    }

    /// Makes what was copied a log.
    fn commit(
        &mut self,
        of: &Manifest,
        sealed: Vec<SealedEntry>,
        (tail, has_ledger): (&TailWriter, bool),
        is_shared: bool,
    ) -> Result<Manifest> {
        let former = self.former.as_ref();
        let before = former.map(|former| State::of(&former.manifest));
        let manifest = Manifest {
            incarnation: self.owner.incarnation,
            generation: of.generation.max(before.map_or(0, |it| it.generation)),
            has_ledger,
            next_segment_id: self.next_id,
            durable_seq: self.next_seq,
            durable_end: tail.summary.end,
            clean: false,
            sealed,
            tail: tail.tail.entry(),
            spare: None,
            ..of.clone()
        };
        let mark = BackupMark {
            of: self.origin.owner,
            before: before.unwrap_or_default(),
            now: State {
                generation: manifest.generation + 1,
                ..State::of(&manifest)
            },
            shared: is_shared || former.is_some_and(|former| former.is_shared),
        };
        write_mark(self.to, &mark)?;
        // DURABILITY: after this line every name in the copy survives; no manifest names them yet.
        self.to.sync().map_err(at_path(self.to, ""))?;
        let store = ManifestStore::new(self.to.clone(), manifest);
        // DURABILITY: after this commit the copy is a log.
        let committed = store.commit_again(Op::Backup, |_| ());
        if committed.is_ok() || store.is_undecided() {
            self.added.keep();
        }
        committed?;
        Ok(store.snapshot())
    }

    /// Reads it all. What does not verify is no log again.
    fn verify(&self) -> Result<()> {
        let report = verify::verify(self.to, self.origin.options, |_| {})?;
        let harm = |finding: &&verify::Finding| finding.kind > FindingKind::Derived;
        let Some(finding) = report.findings.iter().find(harm) else {
            return Ok(());
        };
        self.to
            .remove(names::MANIFEST)
            .map_err(at_path(self.to, names::MANIFEST))?;
        // DURABILITY: after this line the manifest is gone, and the mark still there.
        self.to.sync().map_err(at_path(self.to, ""))?;
        Err(Error::defect(
            Op::Backup,
            finding.place.clone(),
            finding.defect,
        ))
    }
}

/// Has the mark say what this is a backup of. It does once the directory is synced; before it is what it was.
fn write_mark(to: &Dir, mark: &BackupMark) -> Result<()> {
    let write = || {
        to.remove_if_there(names::BACKUP_NEW)?;
        to.write_new(names::BACKUP_NEW, &mark.encode())?;
        to.rename(names::BACKUP_NEW, names::BACKUP)
    };
    write().map_err(at_path(to, names::BACKUP))
}
