//! The files of a backup: segments that are shared, copied, kept or written anew, and what is beside them.
//!
//! INVARIANT: no file that the manifest of a backup which is there names is removed or written to. What an attempt
//! that failed added to it is removed again.
//!
//! Called by the journey; calls segment and, once all is there, `commit`.

use super::{
    BackupOptions, BackupReport, Former, Origin, at_path, copy_file, far,
    moment::{self, Moment, Names},
    parted,
    place::refuse,
};
use crate::{
    append::Ledger,
    error::{Op, Result},
    format::{
        Owner, ProducersFile, SegmentHeader, header::HEADER_BYTES, manifest::SealedEntry, names,
    },
    segment::{
        Builder, TailWriter, Unnamed, copy_below, copy_header, new_incarnation, tail_header,
    },
    types::{LogId, SegmentId, Seq},
    vfs::Dir,
};
use std::{collections::BTreeMap, io};

/// How often a later moment is copied because files of the one before were taken away.
const MOMENTS_MAX: usize = 100;
/// How far above the log's own ids those are that the backup gives: so whatever segments the log comes to have,
/// none is called as one of these, and to opening those that a crash left are no proof of a newer manifest.
const APART: u64 = 1 << 31;

/// How a sealed segment came to be in the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Linked,
    Copied,
    /// It was there.
    Kept,
}

pub(super) struct Backup<'a> {
    pub(super) origin: Origin<'a>,
    pub(super) to: &'a Dir,
    how: &'a BackupOptions,
    /// What was added to a backup that is there. It goes before the lock does.
    pub(super) added: Unnamed,
    /// What is there already.
    pub(super) former: Option<Former>,
    /// Whose it is: it may go on by itself.
    pub(super) owner: Owner,
    pub(super) next_id: SegmentId,
    /// The sealed segments that it has.
    sealed: BTreeMap<SegmentId, (SealedEntry, Taken)>,
    pub(super) next_seq: Seq,
}

impl<'a> Backup<'a> {
    pub(super) fn new(
        origin: Origin<'a>,
        to: &'a Dir,
        how: &'a BackupOptions,
        former: Option<Former>,
    ) -> Self {
        let of_former = former.iter().flat_map(|it| &it.manifest.sealed);
        let kept = of_former.map(|entry| (entry.id, (*entry, Taken::Kept)));
        Self {
            origin,
            to,
            how,
            owner: Owner {
                incarnation: other_incarnation(to, former.as_ref()),
                ..origin.owner
            },
            next_id: SegmentId(0),
            sealed: kept.collect(),
            next_seq: 0,
            added: Unnamed::new(to),
            former,
        }
    }

    /// All sealed segments of a moment, which it gives.
    pub(super) fn sealed_of_a_moment(
        &mut self,
        look: impl Fn() -> Result<Moment>,
    ) -> Result<Moment> {
        let (mut moment, mut moment_count) = (look()?, 1);
        while let Some(missing) = self.sealed_of(&moment)? {
            let later = look()?;
            moment_count += 1;
            if later.manifest == moment.manifest || moment_count > MOMENTS_MAX {
                let gone = io::Error::from(io::ErrorKind::NotFound);
                return Err(at_path(self.origin.dir, &names::segment(missing))(gone));
            }
            moment = later;
        }
        Ok(moment)
    }

    /// Takes the sealed segments of a moment, and leaves no others that an earlier one had. Gives the one
    /// whose file is gone, if one is.
    fn sealed_of(&mut self, moment: &Moment) -> Result<Option<SegmentId>> {
        let sealed = &moment.manifest.sealed;
        let named: BTreeMap<_, _> = sealed.iter().map(|entry| (entry.id, entry)).collect();
        let is_left = |(id, (has, _)): &(&SegmentId, &(SealedEntry, Taken))| {
            !named.get(id).is_some_and(|wanted| is_same(has, wanted))
        };
        let left = self.sealed.iter().filter(is_left);
        let left: Vec<_> = left.map(|(id, (_, taken))| (*id, *taken)).collect();
        for (id, taken) in left {
            if taken != Taken::Kept {
                let name = names::segment(id);
                self.to.remove(&name).map_err(at_path(self.to, &name))?;
            }
            self.sealed.remove(&id);
        }
        for entry in sealed {
            if let Some((has, _)) = self.sealed.get_mut(&entry.id) {
                // The same file, of which the log may have come to say more.
                *has = *entry;
                continue;
            }
            let Some(taken) = self.take(entry)? else {
                return Ok(Some(entry.id));
            };
            self.sealed.insert(entry.id, (*entry, taken));
        }
        self.check_kept(sealed)
    }

    /// Whether the newest that are kept have the log's records; gives the one whose file is gone, if one is. One that was let
    /// go of is not fetched for that.
    fn check_kept(&self, sealed: &[SealedEntry]) -> Result<Option<SegmentId>> {
        let Some(former) = &self.former else {
            return Ok(None);
        };
        let taken = |entry: &SealedEntry| self.sealed.get(&entry.id).map(|(_, taken)| *taken);
        let kept = sealed.iter().rev();
        let kept = kept.filter(|entry| taken(entry) == Some(Taken::Kept));
        for entry in kept.take(parted::COMMON_MAX).filter(|entry| !entry.far) {
            let mut before = former.manifest.sealed.iter();
            let before = before.find(|it| it.id == entry.id).unwrap_or(entry);
            if !parted::compare(&self.origin, (self.to, before), entry)? {
                return Ok(Some(entry.id));
            }
        }
        Ok(None)
    }

    /// Takes a segment that never changes; `None` if it is gone.
    fn take(&mut self, entry: &SealedEntry) -> Result<Option<Taken>> {
        let (from, name) = (self.origin.dir, names::segment(entry.id));
        if let Some(former) = &self.former {
            if former.manifest.names(entry.id) {
                let note = "what is there has another segment of the same id: make a new backup";
                return Err(refuse(self.to, note));
            }
            self.added.add(entry.id);
        }
        if entry.far {
            far::fetch(&self.origin, entry, self.to)?;
            return Ok(Some(Taken::Copied));
        }
        // Whatever keeps it from being linked, another device or no such thing: it can be copied.
        if !self.how.copy && from.hard_link(&name, self.to).is_ok() {
            return Ok(Some(Taken::Linked));
        }
        Ok(copy_file(from, self.to, &name)?.then_some(Taken::Copied))
    }

    /// All but the sealed segments, and the commit.
    pub(super) fn others(mut self, moment: Moment) -> Result<BackupReport> {
        let Moment {
            side_files,
            durable_seq,
            catalog,
            manifest,
            mut ledger,
        } = moment;
        // Below the first tail all is settled: sealed, or rewound, and then its numbers are not used again.
        let first = catalog.tails.first();
        let settled_seq = first.map_or(0, |tail| tail.context.base_seq);
        self.next_seq = durable_seq.max(settled_seq);
        self.next_id = SegmentId(manifest.next_segment_id.0 + APART);
        if let Some(former) = &self.former {
            former.check_behind(self.to, catalog.head_seq, self.next_seq)?;
            self.next_id = self.next_id.max(former.first_free_id);
        }
        if let Some(files) = side_files {
            let names = Names::of(self.former.is_some());
            moment::copy_side_files(self.origin.dir, self.to, files, (self.owner, names))?;
        }
        // All of it is here: what lived elsewhere was fetched.
        let here = |entry: &SealedEntry| SealedEntry {
            far: false,
            ..*entry
        };
        let mut entries: Vec<_> = manifest.sealed.iter().map(here).collect();
        let count = |how| {
            self.sealed
                .values()
                .filter(|(_, taken)| *taken == how)
                .count()
        };
        let (linked_count, kept_count) = (count(Taken::Linked), count(Taken::Kept));
        let tails = catalog.tails.iter();
        for tail in tails.filter(|tail| tail.context.base_seq < durable_seq) {
            let (log_id, base_seq) = (self.log_id(), tail.context.base_seq);
            let (id, keys) = (self.id(), &self.origin.options.keys);
            let header = SegmentHeader {
                sealed: tail.sealed,
                base_timestamp_ms: tail.context.base_timestamp_ms,
                ..copy_header(self.to, log_id, id, base_seq, keys)
            };
            let header = header.packing_appends(tail.packed_appends);
            let (view, limit) = (tail.view(), tail.written_end());
            let source = (&view, HEADER_BYTES as u64..limit);
            // The ledger in memory knows more than is in the copy, and has forgotten what is.
            let add = |seq, producer| ledger.add_next(seq, producer);
            let entry = copy_below(self.to, header, source, durable_seq, Op::Backup, add)?;
            entries.extend(entry);
        }
        let report = BackupReport {
            linked_count: linked_count as u64,
            copied_count: (entries.len() - linked_count - kept_count) as u64,
            kept_count: kept_count as u64,
            frame_bytes: entries.iter().map(|entry| entry.frames_end).sum(),
            head_seq: catalog.head_seq,
            next_seq: self.next_seq,
        };
        let tail = self.tail()?;
        let has_ledger = self.ledger(ledger, tail.tail.id)?;
        self.finish(&manifest, entries, (&tail, has_ledger), linked_count > 0)?;
        Ok(report)
    }

    pub(super) fn log_id(&self) -> LogId {
        self.owner.log_id
    }

    fn id(&mut self) -> SegmentId {
        let id = self.next_id;
        self.next_id = SegmentId(id.0 + 1);
        if self.former.is_some() {
            self.added.add(id);
        }
        id
    }

    fn tail(&mut self) -> Result<TailWriter> {
        let (log_id, id) = (self.log_id(), self.id());
        let options = self.origin.options;
        let header = tail_header(self.to, log_id, id, self.next_seq, &options.keys);
        let header = header.packing_appends(options.pack_appends.is_some());
        let name = names::segment(header.id);
        Builder::create(self.to, header, &options.keys)
            .and_then(Builder::into_tail)
            .map_err(at_path(self.to, &name))
    }

    /// What is remembered of producers and cursors, as of the end of the copy; whether that is anything.
    fn ledger(&self, mut ledger: Ledger, tail_id: SegmentId) -> Result<bool> {
        let (owner, next_seq) = (self.owner, self.next_seq);
        // It is stored before the segment that it is for is named, and so may be ahead of what is durable.
        ledger.drop_from(next_seq);
        let file = ledger.to_file(owner, next_seq, next_seq, tail_id);
        // Where there is one, another takes its place, also if there is nobody left to know.
        let replaces = (self.former.as_ref()).is_some_and(|former| former.manifest.has_ledger);
        let nobody = || {
            let file = ProducersFile {
                log_id: owner.log_id,
                incarnation: owner.incarnation,
                as_of_seq: next_seq,
                end_seq: next_seq,
                tail_id,
                producers: Vec::new(),
            };
            file.encode()
        };
        let Some(bytes) = file.or_else(|| replaces.then(nobody)) else {
            return Ok(false);
        };
        let name = Names::of(self.former.is_some()).producers();
        (self.to.write_new(name, &bytes)).map_err(at_path(self.to, name))?;
        Ok(true)
    }
}

/// Whether two manifests mean the same file: a rewind may have ended it earlier since.
fn is_same(has: &SealedEntry, wanted: &SealedEntry) -> bool {
    (has.id, has.salt) == (wanted.id, wanted.salt) && wanted.frames_end <= has.frames_end
}

/// The incarnation of the copy: not that of what is there.
fn other_incarnation(to: &Dir, former: Option<&Former>) -> u32 {
    let former = former.map(|it| it.manifest.incarnation);
    loop {
        let drawn = new_incarnation(to);
        if Some(drawn) != former {
            return drawn;
        }
    }
}
