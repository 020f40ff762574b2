//! Packing: each sealed segment that is not packed yet is written anew, with the same records in fewer
//! bytes, and swapped in like a compacted one.
//!
//! INVARIANT: no record is judged, and none dropped.

use super::{
    Between, CompactReport, Halt, Rewriting, Turn, at_rate,
    pace::Pace,
    rewrite::{Outputs, Rewrite},
};
use crate::{
    append::Core,
    catalog::Catalog,
    error::{Op, Result},
    options::PackOptions,
    segment::Sealed,
    sync::Arc,
};

/// Packs now what is sealed.
pub(crate) fn pack(
    core: &Core,
    turn: &Turn,
    how: &PackOptions,
    between: &mut Between<'_>,
) -> Result<CompactReport> {
    how.check(Op::Pack)?;
    let Some(_mine) = turn.take(true) else {
        return Ok(CompactReport::default());
    };
    run(core, how, between)
}

/// Packs if there is something to pack and nobody else is at it.
pub(crate) fn pack_if_due(
    core: &Core,
    turn: &Turn,
    how: &PackOptions,
    between: &mut Between<'_>,
) -> Result<Option<CompactReport>> {
    if waiting(&core.catalog().load()).next().is_none() {
        return Ok(None);
    }
    let Some(_mine) = turn.take(false) else {
        return Ok(None);
    };
    run(core, how, between).map(Some)
}

fn run(core: &Core, how: &PackOptions, between: &mut Between<'_>) -> Result<CompactReport> {
    at_rate(core, how.rate_bytes_per_s, between, |rewriting, pace| {
        rewriting.pack_all(how, pace)
    })
}

/// What is sealed, here, and not packed yet.
fn waiting(catalog: &Catalog) -> impl Iterator<Item = &Arc<Sealed>> {
    let here = catalog.sealed.iter().filter(|it| !it.entry.far);
    here.filter(|it| !it.entry.packed)
}

impl Rewriting<'_> {
    fn pack_all(&mut self, how: &PackOptions, pace: &mut Pace<'_>) -> Result<(), Halt> {
        let catalog = self.core.catalog().load();
        if waiting(&catalog).next().is_some() {
            self.announce()?;
        }
        for segment in waiting(&catalog) {
            let head_seq = self.core.catalog().load().head_seq;
            if segment.entry.next_seq > head_seq {
                self.pack_one(segment, how, pace)?;
                pace.progress.run_count += 1;
                pace.step()?;
            }
        }
        Ok(())
    }

    fn pack_one(
        &mut self,
        segment: &Arc<Sealed>,
        how: &PackOptions,
        pace: &mut Pace<'_>,
    ) -> Result<(), Halt> {
        let form = Rewrite {
            pack: Some(how.codec),
            packed: true,
            compacted: segment.entry.compacted,
        };
        let outputs = Outputs::of_all(self.core, segment, form, pace)?;
        let bytes: u64 = outputs.sealed.iter().map(|it| it.frames_end).sum();
        if bytes <= segment.entry.frames_end - segment.entry.frames_end / 8 {
            let inputs = std::slice::from_ref(segment);
            return self.swap(inputs, inputs, outputs);
        }
        drop(outputs); // There is nothing to gain, nor the next time.
        self.mark(|entry| entry.packed |= entry.id == segment.entry.id)
    }
}
