//! What is remembered of producers and cursor moves, looked up without opening the log.

use super::look::{ManifestFact, ProducersFact, look};
use crate::{
    append::Ledger,
    error::{Error, Op, Place, Result},
    format::{Owner, names},
    vfs::Dir,
};

/// What is remembered of producers, and where the records begin that say more.
pub(crate) fn ledger(dir: &Dir) -> Result<(Owner, Ledger)> {
    let facts = look(dir, Op::Consume)?;
    let defect = |name, defect| Error::defect(Op::Consume, Place::file(name), defect);
    let manifest = match &facts.manifest {
        ManifestFact::Valid(manifest) => manifest,
        ManifestFact::Missing => return Err(super::not_found(Op::Consume, dir)),
        ManifestFact::Invalid(found) => return Err(defect(names::MANIFEST, *found)),
    };
    if let ProducersFact::Invalid(found) = &facts.producers {
        return Err(defect(names::PRODUCERS, *found));
    }
    let mut ledger = facts.ledger(manifest.tail.id);
    ledger.skip_to(manifest.tail.base_seq);
    Ok((manifest.owner(), ledger))
}
