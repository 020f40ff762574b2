//! The journey of opening: look, decide, act.
//!
//! *Look* gathers facts and never writes. *Decide* is a pure function from facts to a plan, tested as
//! a table. *Act* carries the plan out. [`plan`] stops before the last.
//!
//! INVARIANTS: damage is never cut, only refused; what is cut is kept in `quarantine/` and reported;
//! nothing is appended behind the bytes of an unclean end; everything is durable before it is served.
//!
//! Called by `Log`, verify, repair; calls manifest, segment.

mod act;
mod decide;
mod heard;
mod ledger;
mod look;
mod moves;
mod newer;
mod next;
mod report;

pub(crate) use act::{keep, keep_file};
pub(crate) use decide::{Damage, Plan, attested, decide, newer_segments, strays, told};
pub(crate) use heard::WatermarkFact;
pub(crate) use ledger::ledger;
pub(crate) use look::{Facts, HeaderFact, ManifestFact, ProducersFact, UnsealedFact, look};
pub(crate) use moves::{cursors, moved_cursors};
pub(crate) use next::{backup_mark, settle_backup};
pub use report::{CutBytes, Recovery, Verdict};

use crate::{
    append::{CursorStore, Parts},
    catalog::{Catalog, CatalogCell, Watermark},
    error::{Error, ErrorKind, Op, Place, Result},
    format::{PACKED_APPENDS_FEATURE, PACKED_FEATURE, SEALED_FEATURE, names},
    observe::event,
    options::{OnAmbiguousTail, Options},
    sync::Arc,
    types::{SegmentId, Seq},
    vfs::{Dir, LockAttempt, VfsLock},
};
use std::{io, time::Duration};

/// An opened log, the report, and the lock that keeps it ours.
pub(crate) type Opened = (Parts, Recovery, Box<dyn VfsLock>);

/// How often a waiting opener tries the lock.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// Opens a log for writing, creating or recovering it as needed.
pub(crate) fn open(dir: &Dir, options: Options) -> Result<Opened> {
    options.check()?;
    let lock = prepare(dir, &options)?;
    let facts = look_settled(dir)?;
    let plan = decide(&facts, options.on_ambiguous_tail);
    check_again(dir, &facts, &plan)?;
    let mut manifest = facts.valid_manifest().cloned();
    if let Some(manifest) = &mut manifest {
        manifest.next_segment_id = facts.first_free_id(manifest);
    }
    let mut kept = Vec::new();
    let cursors = cursors(dir, &facts, Op::Open)?;
    let (ready, remove) = match (&plan, manifest) {
        (Plan::Refuse { damage }, _) => {
            let error = damage.first().map(act::refusal);
            return Err(error.unwrap_or_else(|| act::not_found(dir)));
        }
        (Plan::Create { remove }, _) => {
            if !options.create {
                return Err(act::not_found(dir));
            }
            (act::create(dir, &options)?, remove)
        }
        (Plan::Resume { remove, clean }, Some(manifest)) => {
            let certain = *clean && remove.is_empty() && facts.let_go.is_empty();
            let ready = act::resume(dir, &options, manifest, &facts, certain)?;
            (ready, remove)
        }
        (Plan::Carry { carry, remove }, Some(manifest)) => {
            kept = act::keep(dir, &carry.cut)?;
            let ready = act::carry(dir, &options, &manifest, carry, (&facts, &cursors))?;
            (ready, remove)
        }
        (_, None) => return Err(act::not_found(dir)),
    };
    // Orphans go last, by a manifest that is durable: the one that was found may not be, and then the
    // one before it still names them. New segments may have taken over an orphan's id.
    let manifest = ready.manifest.snapshot();
    for id in remove.iter().filter(|id| !manifest.names(**id)) {
        act::remove(dir, *id)?;
    }
    // So do the files of what lives elsewhere.
    let is_far = |id: &&SegmentId| manifest.is_far(**id);
    for id in facts.let_go.iter().filter(is_far) {
        act::remove(dir, *id)?;
    }
    for name in &facts.leftovers {
        dir.remove_if_there(name)
            .map_err(|error| Error::io(Op::Open, error).at(Place::file(name)))?;
    }
    if facts.watermark != WatermarkFact::Missing && !options.publish {
        // Nobody keeps it up to date: readers had better look for themselves.
        dir.remove_if_there(names::WATERMARK)
            .map_err(|error| Error::io(Op::Open, error).at(Place::file(names::WATERMARK)))?;
    }
    // Nothing could be appended: who would open it needs to know.
    dir.check_changeable()
        .map_err(|error| Error::io(Op::Open, error).at(Place::file(dir.path())))?;
    let report = report(&plan, &ready, kept);
    event!(
        info,
        "opened",
        verdict = format!("{}", report.verdict),
        next_seq = report.next_seq
    );
    announce(&options, &ready)?;
    Ok((assemble(dir, options, ready, cursors), report, lock))
}

/// What is there, after what a backup that was being brought up to date has left was put in order.
fn look_settled(dir: &Dir) -> Result<Facts> {
    let facts = look(dir, Op::Open)?;
    match facts.valid_manifest().filter(|_| facts.is_backup()) {
        Some(manifest) if facts.newer.is_empty() && settle_backup(dir, manifest, Op::Open)? => {
            look(dir, Op::Open)
        }
        _ => Ok(facts),
    }
}

/// What does not verify is looked at twice before anything is cut for it, or damage is said to be there:
/// a disk or a memory that gives a wrong bit now and then would else have acknowledged records cut.
fn check_again(dir: &Dir, facts: &Facts, plan: &Plan) -> Result<()> {
    match plan.doubted() {
        Some(doubted) if look(dir, Op::Open)? != *facts => {
            Err(act::unsteady(doubted.place.clone()))
        }
        _ => Ok(()),
    }
}

/// How often a look is repeated before what seems to be torn or damaged is believed: a writer that is
/// alive may have moved on between one file and the next.
const LOOKS_MAX: usize = 20;

/// What opening would do, without doing it and without the lock.
///
/// # Errors
/// If the directory cannot be looked at. Damage is part of the answer, not an error.
pub(crate) fn plan(dir: &Dir, options: &Options) -> Result<(Facts, Plan)> {
    let mut facts = look(dir, Op::Open)?;
    for _ in 1..LOOKS_MAX {
        let plan = decide(&facts, options.on_ambiguous_tail);
        if plan.doubted().is_none() {
            return Ok((facts, plan));
        }
        let again = look(dir, Op::Open)?;
        if again == facts {
            return Ok((facts, plan));
        }
        facts = again;
    }
    let plan = decide(&facts, options.on_ambiguous_tail);
    Ok((facts, plan))
}

/// What there is to know of a log before it is read.
#[derive(Debug)]
pub(crate) struct Readable {
    /// The seq below which anything that is there says that all was durable.
    pub(crate) attested_seq: Seq,
    /// What opening for writing would refuse: behind all that verifies, readers are told.
    pub(crate) damage: Option<Error>,
}

/// Refuses what reading cannot begin with: a directory that holds no log, or no manifest that verifies.
pub(crate) fn check_readable(dir: &Dir, options: &Options) -> Result<Readable> {
    // A reader cuts nothing, so it need not refuse what recovery would.
    let reading = options.clone().on_ambiguous_tail(OnAmbiguousTail::Cut);
    let (mut facts, _) = plan(dir, &reading)?;
    // Nor does it need to know who appended what, or what a newer program wrote: it shows what it can
    // read, and says so where it comes to the rest. How much was appended by name, it does.
    if let ProducersFact::Invalid(_) = facts.producers {
        facts.producers = ProducersFact::Missing;
    }
    if let ManifestFact::Valid(manifest) = &mut facts.manifest {
        manifest.has_ledger = false;
    }
    facts.newer.clear();
    let attested_seq = facts.valid_manifest().map(|it| attested(&facts, it));
    match decide(&facts, OnAmbiguousTail::Cut) {
        Plan::Create { .. } => Err(not_found(Op::Open, dir)),
        Plan::Refuse { damage } => {
            let mut damage = damage.iter();
            let named = attested_seq.is_some();
            let refused = damage.find(|damage| !(named && damage.defect.is_unsupported()));
            match (attested_seq, refused.map(act::refusal)) {
                (None, Some(error)) => Err(error),
                (attested_seq, damage) => Ok(Readable {
                    attested_seq: attested_seq.unwrap_or(0),
                    damage,
                }),
            }
        }
        Plan::Resume { .. } | Plan::Carry { .. } => Ok(Readable {
            attested_seq: attested_seq.unwrap_or(0),
            damage: None,
        }),
    }
}

/// Refuses what is no work for a program that does not know a part of the log: a newer one's.
pub(crate) fn refuse_newer(facts: &Facts, op: Op) -> Result<()> {
    match facts.newer.first() {
        Some((place, defect)) => Err(Error::defect(op, place.clone(), *defect)),
        None => Ok(()),
    }
}

/// Creates the directory if it may be, and takes the lock before anything in it is read.
fn prepare(dir: &Dir, options: &Options) -> Result<Box<dyn VfsLock>> {
    let at_dir = |error| Error::io(Op::Open, error).at(Place::file(dir.path()));
    if options.create {
        dir.create().map_err(at_dir)?;
    } else {
        match dir.list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(act::not_found(dir));
            }
            Err(error) => return Err(at_dir(error)),
            Ok(found) if !found.iter().any(|entry| is_ours(&entry.name)) => {
                return Err(act::not_found(dir));
            }
            Ok(_) => {}
        }
    }
    lock(dir, options.lock_timeout)
}

fn is_ours(name: &str) -> bool {
    name == names::MANIFEST || names::parse_segment(name).is_some()
}

/// Takes the lock, waiting up to `timeout` for another holder to let go.
pub(crate) fn lock(dir: &Dir, timeout: Duration) -> Result<Box<dyn VfsLock>> {
    let place = || Place::file(dir.path().join(names::LOCK));
    let started = dir.vfs().monotonic();
    loop {
        match dir
            .try_lock()
            .map_err(|error| Error::io(Op::Lock, error).at(place()))?
        {
            LockAttempt::Held(lock) => return Ok(lock),
            LockAttempt::Busy(holder) => {
                if dir.vfs().monotonic().saturating_sub(started) >= timeout {
                    return Err(Error::locked(holder).at(place()));
                }
                dir.vfs().sleep(LOCK_POLL.min(timeout));
            }
        }
    }
}

/// Has the manifest say that segments may be sealed, or packed as they are appended to, before one is: so a program
/// that does not know what that is refuses the log by name, whatever else it finds.
fn announce(options: &Options, ready: &act::Ready) -> Result<()> {
    let bits = |is_wanted: bool, bits: u32| if is_wanted { bits } else { 0 };
    let wanted = bits(options.keys.seals(), SEALED_FEATURE)
        | bits(
            options.pack_appends.is_some(),
            PACKED_FEATURE | PACKED_APPENDS_FEATURE,
        );
    if wanted & !ready.manifest.snapshot().write_features == 0 {
        return Ok(());
    }
    // DURABILITY: after this commit no program from before writes to the log.
    ready.manifest.commit(Op::Open, |manifest| {
        manifest.write_features |= wanted;
    })
}

fn assemble(dir: &Dir, options: Options, ready: act::Ready, cursors: CursorStore) -> Parts {
    let manifest = ready.manifest.snapshot();
    let writers = ready.finished.iter().chain([&ready.writer]);
    let tails = writers.map(|writer| writer.tail.clone()).collect();
    let catalog = Catalog::of(&manifest, dir, tails, &options);
    Parts {
        owner: manifest.owner(),
        catalog: Arc::new(CatalogCell::new(catalog)),
        watermark: Arc::new(Watermark::new(ready.writer.summary.next_seq)),
        options,
        dir: dir.clone(),
        manifest: ready.manifest,
        writer: ready.writer,
        finished: ready.finished,
        frozen: ready.frozen,
        spare: ready.spare,
        ledger: ready.ledger,
        cursors,
    }
}

fn report(plan: &Plan, ready: &act::Ready, kept: Vec<CutBytes>) -> Recovery {
    let manifest = ready.manifest.snapshot();
    let unsealed = ready.finished.iter().chain([&ready.writer]);
    let counts = unsealed.map(|writer| u64::from(writer.summary.tally.record_count));
    let unsealed_records: u64 = counts.sum();
    let sealed: u64 = manifest
        .sealed
        .iter()
        .map(|entry| u64::from(entry.record_count))
        .sum();
    let next_seq = ready.writer.summary.next_seq;
    let mut report = Recovery {
        verdict: Verdict::Clean,
        segment_count: (manifest.sealed.len() + ready.finished.len()) as u64 + 1,
        record_count: sealed + unsealed_records,
        head_seq: manifest.head_seq,
        next_seq,
        proven_seq: next_seq,
        carried_count: 0,
        torn: None,
        cut: kept,
        orphan_count: 0,
    };
    match plan {
        Plan::Create { .. } => report.verdict = Verdict::Created,
        Plan::Resume { remove, .. } => report.orphan_count = remove.len() as u64,
        Plan::Carry { carry, remove } => {
            report.verdict = if carry.torn.is_some() {
                Verdict::Torn
            } else {
                Verdict::Unclean
            };
            report.proven_seq = carry.proven_seq;
            report.carried_count = next_seq.saturating_sub(carry.proven_seq);
            report.orphan_count = remove.len() as u64;
            report.torn = carry.torn.as_ref().map(|torn| {
                let segment = torn.place.segment.unwrap_or(manifest.tail.id);
                (segment, torn.place.offset.unwrap_or(0), torn.defect)
            });
        }
        Plan::Refuse { .. } => {}
    }
    report
}

impl Plan {
    /// Whether opening would fail with this plan.
    pub(crate) fn refuses(&self) -> bool {
        matches!(self, Self::Refuse { .. })
    }

    /// What did not verify, if opening would cut or refuse for it.
    fn doubted(&self) -> Option<&Damage> {
        match self {
            Self::Refuse { damage } => damage.first(),
            Self::Carry { carry, .. } => carry.torn.as_ref(),
            Self::Create { .. } | Self::Resume { .. } => None,
        }
    }
}

/// The error for a directory that holds no log.
pub(crate) fn not_found(op: Op, dir: &Dir) -> Error {
    Error::note(ErrorKind::NotFound, op, "there is no log here").at(Place::file(dir.path()))
}
