//! Following a log that another process writes, without its lock and without writing anything.
//!
//! A look reads the watermark file; if that tells of something new, it goes on scanning where the
//! last look stopped, and if it tells of another manifest, it takes over that one's segments first.
//! Without a watermark file to believe it does both, and shows what batches and manifest attest.
//!
//! INVARIANTS: nothing is shown that no sync confirmed (`including_written` excepted), and nothing
//! that does not verify. Where the files say two things, the newer manifest is right: a file that is
//! not there, or not what it was, is damage only if the manifest is still the same after that.
//!
//! Rooms: `chain` the unsealed segments, `wait` waiting for the other process, `lookout` for tasks.
//!
//! Called by `Reader` and its walks; calls catalog, segment.

mod chain;
#[cfg(feature = "async")]
mod lookout;
mod wait;

#[cfg(feature = "async")]
pub(super) use lookout::Lookout;

pub(super) use wait::Alarm;

use crate::{
    catalog::{Catalog, CatalogCell, Level, Watermark},
    error::{Error, ErrorKind, Op, Place, Result},
    format::{Manifest, WatermarkFile, check_log_id, names},
    options::Options,
    segment::Tail,
    sync::{Arc, Mutex},
    types::Seq,
    vfs::{Dir, is_out_of_reach},
};
use chain::Chain;
use std::io;

/// The manifest may change under a look, but hardly this often.
const LOOKS_MAX: usize = 100;
/// A watermark file that is read while it is written does not verify; the next time it does.
const READS_MAX: usize = 3;

/// What a reader knows of a log that another process writes.
#[derive(Debug)]
pub(crate) struct Follower {
    dir: Dir,
    pub(super) level: Level,
    pub(super) catalog: Arc<CatalogCell>,
    pub(super) watermark: Arc<Watermark>,
    known: Mutex<Known>,
    /// The thread that waits for streams.
    #[cfg(feature = "async")]
    lookout: lookout::Kept,
}

#[derive(Debug)]
struct Known {
    manifest: Manifest,
    chain: Chain,
    /// What was wrong with the log, as long as its manifest is this one.
    damage: Option<Error>,
    /// What the watermark file told at the last look.
    told: Option<WatermarkFile>,
    /// The generation of the manifest that the catalog shows.
    shown: Option<u64>,
}

impl Follower {
    /// Looks at a log for the first time. Something says of it that all below a seq was durable, and that
    /// not all of that is there.
    pub(crate) fn new(
        dir: Dir,
        options: &Options,
        (attested_seq, damage): (Seq, Option<Error>),
    ) -> Result<Self> {
        let manifest = read_manifest(&dir)?;
        let mut chain = Chain::new(options.keys.clone());
        chain.attest(attested_seq);
        let empty = Catalog::of(&manifest, &dir, Vec::new(), options);
        let follower = Self {
            level: Level::Durable,
            catalog: Arc::new(CatalogCell::new(empty)),
            watermark: Arc::new(Watermark::new(0)),
            known: Mutex::new(Known {
                manifest,
                chain,
                damage,
                told: None,
                shown: None,
            }),
            #[cfg(feature = "async")]
            lookout: lookout::Kept::default(),
            dir,
        };
        follower.look(true)?;
        Ok(follower)
    }

    /// The same log, and all of it that verifies.
    pub(super) fn including_written(&self) -> Self {
        let known = self.known.lock();
        let catalog = Catalog::clone(&self.catalog.load());
        Self {
            dir: self.dir.clone(),
            level: Level::Written,
            catalog: Arc::new(CatalogCell::new(catalog)),
            watermark: Arc::new(Watermark::new(self.watermark.get(Level::Durable))),
            known: Mutex::new(Known {
                manifest: known.manifest.clone(),
                chain: known.chain.apart(),
                damage: known.damage.clone(),
                ..*known
            }),
            #[cfg(feature = "async")]
            lookout: lookout::Kept::default(),
        }
    }

    /// Takes in what has changed since the last look.
    pub(super) fn refresh(&self) -> Result<()> {
        self.look(false)
    }

    /// After an error of a walk over this snapshot: the catalog to go on with, if the file has left it
    /// under the walk; else it is the error.
    pub(super) fn newer_than(&self, walked: &Arc<Catalog>, error: Error) -> Result<Arc<Catalog>> {
        if error.kind() != ErrorKind::Damaged {
            return Err(error);
        }
        self.look(true)?;
        let catalog = self.catalog.load();
        if Arc::ptr_eq(&catalog, walked) || self.is_still_true(walked, &catalog, error.place()) {
            return Err(error);
        }
        Ok(catalog)
    }

    /// Whether what a set says of a place is true of the newer one as well. That the sets differ says
    /// nothing: beside a busy writer they always do, and a walk over damage would never end.
    fn is_still_true(&self, walked: &Catalog, newer: &Catalog, place: &Place) -> bool {
        let is_end = newer.beyond.as_ref().is_some_and(|it| it.place() == place);
        let Some(id) = place.segment.filter(|_| !is_end) else {
            return is_end;
        };
        let sealed = |set: &Catalog| set.sealed.iter().find(|it| it.entry.id == id).cloned();
        if let Some(segment) = sealed(walked) {
            return sealed(newer).is_some_and(|it| it.entry == segment.entry);
        }
        let salt = |set: &Catalog| {
            let tail = set.tails.iter().find(|tail| tail.id == id);
            tail.map(|tail| tail.context.salt)
        };
        // What is only written may be cut back and written anew, and what is durable not.
        let is_fixed = |offset| self.known.lock().chain.holds(id, offset);
        salt(walked).is_some() && salt(walked) == salt(newer) && place.offset.is_some_and(is_fixed)
    }

    /// The log as it is at one moment: up to where it is durable, the segments that hold that, and the
    /// manifest in force.
    ///
    /// # Errors
    /// As of reading; also what the log is shown to end in, if that is not an end.
    pub(crate) fn moment(&self) -> Result<(Seq, Arc<Catalog>, Manifest)> {
        self.look(true)?;
        let known = self.known.lock();
        let catalog = self.catalog.load();
        match catalog.beyond.clone() {
            Some(error) => Err(error),
            None => Ok((
                self.watermark.get(Level::Durable),
                catalog,
                known.manifest.clone(),
            )),
        }
    }

    /// Whether no other manifest has come after this one.
    pub(crate) fn is_in_force(&self, manifest: &Manifest) -> Result<bool> {
        Ok(read_manifest(&self.dir)? == *manifest)
    }

    /// Whether the watermark file does not tell all that this reader wants to know.
    fn is_on_its_own(&self, told: Option<WatermarkFile>) -> bool {
        told.is_none() || self.level == Level::Written
    }

    fn look(&self, manifest_too: bool) -> Result<()> {
        let mut known = self.known.lock();
        // First of all: whatever is read after it is at least as new.
        let told = self.told(&known.manifest)?;
        if !manifest_too && !self.is_on_its_own(told) && told == known.told {
            return Ok(());
        }
        let generation = known.manifest.generation;
        if manifest_too || told.is_none_or(|told| told.generation > generation) {
            self.take_manifest(&mut known)?;
        }
        for _ in 1..LOOKS_MAX {
            let Err(error) = self.scan_on(&mut known, told) else {
                known.told = told;
                return Ok(());
            };
            if !self.take_manifest(&mut known)? {
                return Err(error);
            }
        }
        self.scan_on(&mut known, told)
    }

    /// The watermark file, if there is one that verifies and is of this log.
    fn told(&self, manifest: &Manifest) -> Result<Option<WatermarkFile>> {
        for _ in 0..READS_MAX {
            let bytes = match self.dir.read(names::WATERMARK, WatermarkFile::stated_bytes) {
                Ok(bytes) => bytes,
                // Something else has its name: then the log is one without it, which is whole.
                Err(error) if is_out_of_reach(&error) => return Ok(None),
                Err(error) => {
                    return Err(Error::io(Op::Read, error).at(Place::file(names::WATERMARK)));
                }
            };
            if let Ok(told) = WatermarkFile::decode(&bytes) {
                return Ok(manifest.owner().check(told.owner()).is_ok().then_some(told));
            }
        }
        Ok(None)
    }

    /// Reads the manifest again; true if it is another.
    fn take_manifest(&self, known: &mut Known) -> Result<bool> {
        let manifest = read_manifest(&self.dir)?;
        if manifest == known.manifest {
            return Ok(false);
        }
        check_log_id(known.manifest.log_id, manifest.log_id)
            .map_err(|defect| Error::defect(Op::Read, Place::file(names::MANIFEST), defect))?;
        (known.manifest, known.damage) = (manifest, None);
        Ok(true)
    }

    /// Goes on scanning up to what is durable, and shows it.
    fn scan_on(&self, known: &mut Known, told: Option<WatermarkFile>) -> Result<()> {
        let Known {
            manifest,
            chain,
            damage,
            ..
        } = known;
        // Of a log that is damaged anyway, what verifies is shown, and then why there is no more.
        let settle = |chain: &mut Chain, outcome: Result<()>| match outcome {
            Err(error) if damage.is_some() && error.kind() == ErrorKind::Damaged => {
                chain.end_with(&error);
                Ok(())
            }
            outcome => outcome,
        };
        let outcome = chain.take_over(&self.dir, manifest);
        settle(chain, outcome)?;
        let told_seq = told.map_or(0, |told| told.durable_seq);
        let outcome = chain.scan_on(&self.dir, manifest, told_seq.max(chain.attested_seq()));
        settle(chain, outcome)?;
        let mut ahead = None;
        // At first also: a power cut may have left a watermark file that is old.
        if self.is_on_its_own(told) || known.shown.is_none() {
            let mut all = chain.apart();
            let outcome = all.scan_on(&self.dir, manifest, Seq::MAX);
            settle(&mut all, outcome)?;
            chain.attest(all.attested_seq());
            let outcome = chain.scan_on(&self.dir, manifest, chain.attested_seq());
            settle(chain, outcome)?;
            ahead = Some(all).filter(|_| self.level == Level::Written);
        }
        if let Some(error) = damage {
            chain.end_with(error);
            ahead.iter_mut().for_each(|ahead| ahead.end_with(error));
        }
        let durable_seq = told_seq.max(chain.attested_seq()).min(chain.next_seq());
        let shown = ahead.as_ref().unwrap_or(chain);
        self.show(manifest, shown, &mut known.shown);
        self.watermark.raise(Level::Durable, durable_seq);
        self.watermark.raise(Level::Written, shown.next_seq());
        // Only a writer that is alive tells something new, and what it tells is there.
        let is_news = known.told.is_some() && told != known.told;
        if is_news && told_seq > chain.next_seq() && chain.beyond().is_none() {
            return Err(chain.missing());
        }
        Ok(())
    }

    /// Swaps in the segments as they are by now, keeping those that are open.
    fn show(&self, manifest: &Manifest, chain: &Chain, shown: &mut Option<u64>) {
        let (before, tails) = (self.catalog.load(), chain.tails());
        let same = |(a, b): (&Arc<Tail>, &Arc<Tail>)| {
            let key = |tail: &Tail| (tail.id, tail.context.salt, tail.written_end());
            Arc::ptr_eq(a, b) || key(a) == key(b)
        };
        let same_tails =
            before.tails.len() == tails.len() && before.tails.iter().zip(&tails).all(same);
        let same_beyond = before.beyond.is_some() == chain.beyond().is_some();
        if !same_tails || !same_beyond || *shown != Some(manifest.generation) {
            let mut next = before.succeeded_by(manifest, tails);
            next.beyond = chain.beyond().cloned();
            self.catalog.swap(|catalog| *catalog = next);
            *shown = Some(manifest.generation);
        }
    }
}

fn read_manifest(dir: &Dir) -> Result<Manifest> {
    let place = || Place::file(names::MANIFEST);
    match dir.read(names::MANIFEST, Manifest::stated_bytes) {
        Ok(bytes) => {
            Manifest::decode(&bytes).map_err(|defect| Error::defect(Op::Read, place(), defect))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let note = "there is no log here";
            Err(Error::note(ErrorKind::NotFound, Op::Read, note).at(Place::file(dir.path())))
        }
        Err(error) => Err(Error::io(Op::Read, error).at(place())),
    }
}
