//! A look at a log for reading only: no lock, nothing written, nothing recovered.

use super::{
    decide::{Plan, decide},
    look::{Facts, ManifestFact, ProducersFact, UnsealedFact, look},
};
use crate::{
    append::Ledger,
    catalog::{Catalog, CatalogCell, Level, Watermark},
    error::{Error, Op, Place, Result},
    format::{SegmentContext, names},
    options::{OnAmbiguousTail, Options},
    segment::{Tail, TailWriter},
    sync::Arc,
    types::LogId,
    vfs::{Access, Dir},
};

/// The segments that recovery would keep; durable up to what the disk attests, written up to all.
pub(crate) fn snapshot(dir: &Dir, options: &Options) -> Result<(CatalogCell, Watermark)> {
    // A reader cuts nothing, so it need not refuse what recovery would.
    let reading = options.clone().on_ambiguous_tail(OnAmbiguousTail::Cut);
    let (facts, _) = super::plan(dir, &reading)?;
    // Nor does it need to know who appended what.
    let facts = Facts {
        producers: ProducersFact::Missing,
        ..facts
    };
    let plan = decide(&facts, OnAmbiguousTail::Cut);
    let ManifestFact::Valid(manifest) = &facts.manifest else {
        return Err(plan
            .refusal()
            .unwrap_or_else(|| super::not_found(Op::Open, dir)));
    };
    let (proven_seq, tail_count) = match &plan {
        Plan::Refuse { .. } | Plan::Create { .. } => {
            return Err(plan
                .refusal()
                .unwrap_or_else(|| super::not_found(Op::Open, dir)));
        }
        Plan::Resume { .. } => (None, 1),
        Plan::Carry { carry, .. } => (Some(carry.proven_seq), 1 + usize::from(carry.spare_begun)),
    };
    let unsealed = facts.tail.iter().chain(&facts.spare).take(tail_count);
    let mut tails = Vec::new();
    let mut next_seq = manifest.tail.base_seq;
    for fact in unsealed {
        if let Some((tail, end)) = open_tail(dir, fact)? {
            tails.push(tail);
            next_seq = end;
        }
    }
    let watermark = Watermark::new(proven_seq.unwrap_or(next_seq).min(next_seq));
    watermark.raise(Level::Written, next_seq);
    watermark.end();
    Ok((
        CatalogCell::new(Catalog::of(manifest, dir, tails, options.mapped())),
        watermark,
    ))
}

/// What is remembered of producers, and where the records begin that say more.
pub(crate) fn ledger(dir: &Dir) -> Result<(LogId, Ledger)> {
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
    Ok((manifest.log_id, ledger))
}

fn open_tail(dir: &Dir, fact: &UnsealedFact) -> Result<Option<(Arc<Tail>, u64)>> {
    let (Some(scan), Some(context)) = (&fact.scan, context(fact)) else {
        return Ok(None);
    };
    let file = dir
        .open(&names::segment(fact.id), Access::Read)
        .map_err(|error| Error::io(Op::Open, error).at(Place::in_segment(fact.id, 0)))?;
    let tail = Arc::new(Tail::new(
        fact.id,
        context,
        file,
        fact.file_bytes.unwrap_or(0),
    ));
    let writer = TailWriter::new(tail, scan.summary.clone(), scan.index.clone());
    Ok(Some((writer.tail, scan.summary.next_seq)))
}

fn context(fact: &UnsealedFact) -> Option<SegmentContext> {
    match &fact.header {
        super::HeaderFact::Valid(header) => Some(header.context()),
        _ => None,
    }
}
