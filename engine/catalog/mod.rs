//! Which segments exist now: an immutable snapshot behind one swap point, and the watermark.
//!
//! INVARIANTS: a new tail is in the catalog before the watermark passes its base, so a reader that
//! takes the watermark first and the catalog second finds every record below it. A segment that
//! leaves the catalog lives on in the snapshots that hold it.
//!
//! Called by the journeys; calls segment.

mod interrupt;
#[cfg(feature = "async")]
mod tasks;
mod times;
mod watermark;

#[cfg(feature = "async")]
pub(crate) use tasks::Seat;

pub use interrupt::InterruptHandle;
pub(crate) use interrupt::Interrupts;
pub(crate) use times::times;
pub(crate) use watermark::{Level, Wait, Watermark};

use crate::{
    error::{Error, Result},
    format::{Manifest, Mark, manifest::SealedEntry},
    options::Options,
    segment::{Home, Returned, Sealed, Tail},
    sync::{Arc, RwLock},
    types::Seq,
    vfs::Dir,
};
use std::{collections::BTreeMap, fmt::Debug};

/// What was appended and is not written yet, for readers of the same process.
pub(crate) trait Queued: Debug + Send + Sync {
    /// Has all of it written, without a sync, and the watermark raised.
    fn write(&self) -> Result<()>;
}

/// The set of segments at one moment. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    /// The oldest record that is kept.
    pub(crate) head_seq: Seq,
    /// Below it everything was durable when compaction last changed the set. A reader shows at least
    /// so much of it: records may be gone for the sake of newer ones below, and of none above.
    pub(crate) durable_seq: Seq,
    /// Sealed segments in the order of their seqs.
    pub(crate) sealed: Arc<Vec<Arc<Sealed>>>,
    /// Segments that are not sealed yet, in order; the last is the tail.
    pub(crate) tails: Vec<Arc<Tail>>,
    /// Small named values, as of the last commit.
    pub(crate) marks: Arc<Vec<Mark>>,
    /// Why nothing is shown of what lies behind: a newer program wrote it, or it is damaged.
    pub(crate) beyond: Option<Error>,
    home: Arc<Home>,
}

impl Catalog {
    /// The segments that a manifest names, with the unsealed ones as they were found.
    pub(crate) fn of(
        manifest: &Manifest,
        dir: &Dir,
        tails: Vec<Arc<Tail>>,
        options: &Options,
    ) -> Self {
        let home = Home::new(dir.clone(), manifest.log_id, options);
        Self::at(home, manifest, tails)
    }

    fn at(home: Arc<Home>, manifest: &Manifest, tails: Vec<Arc<Tail>>) -> Self {
        let segment = |entry: &_| Arc::new(Sealed::new(*entry, home.clone()));
        Self {
            head_seq: manifest.head_seq,
            durable_seq: manifest.durable_seq,
            sealed: Arc::new(manifest.sealed.iter().map(segment).collect()),
            tails,
            marks: Arc::new(manifest.marks.clone()),
            beyond: None,
            home,
        }
    }

    /// A sealed segment that is to be part of the set.
    pub(crate) fn segment(&self, entry: SealedEntry) -> Arc<Sealed> {
        Arc::new(Sealed::new(entry, self.home.clone()))
    }

    /// The files that came back from segments which are no part of the log any more.
    pub(crate) fn returned(&self) -> &Returned {
        self.home.returned()
    }

    /// The segments that a later manifest names, sharing those that this set has too.
    pub(crate) fn succeeded_by(&self, manifest: &Manifest, tails: Vec<Arc<Tail>>) -> Self {
        let known: BTreeMap<_, _> = self.sealed.iter().map(|it| (it.entry.id, it)).collect();
        let mut next = Self::at(self.home.clone(), manifest, tails);
        for segment in Arc::make_mut(&mut next.sealed) {
            if let Some(same) = known.get(&segment.entry.id)
                && same.entry == segment.entry
            {
                *segment = (*same).clone();
            }
        }
        next
    }
}

/// The swap point.
#[derive(Debug)]
pub(crate) struct CatalogCell {
    current: RwLock<Arc<Catalog>>,
}

impl CatalogCell {
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self {
            current: RwLock::new(Arc::new(catalog)),
        }
    }

    pub(crate) fn load(&self) -> Arc<Catalog> {
        self.current.read().clone()
    }

    /// Replaces the set. Edits are made one after the other.
    pub(crate) fn swap(&self, edit: impl FnOnce(&mut Catalog)) {
        let mut current = self.current.write();
        let mut next = Catalog::clone(&current);
        edit(&mut next);
        *current = Arc::new(next);
    }
}
