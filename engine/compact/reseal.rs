//! Resealing: each sealed segment of which something is not under the current key is written anew, with the
//! same records, and swapped in like a compacted one.
//!
//! INVARIANT: no record is judged, and none dropped.

use super::{
    Between, CompactReport, Halt, Rewriting, Turn, at_rate,
    pace::Pace,
    rewrite::{Outputs, Rewrite},
};
use crate::{
    append::Core,
    error::{Error, ErrorKind, Op, Result},
    options::ResealOptions,
    seal::KeyId,
    segment::{Sealed, Stored},
    sync::Arc,
};

/// Reseals now what is not under the current key.
pub(crate) fn reseal(
    core: &Core,
    turn: &Turn,
    how: &ResealOptions,
    between: &mut Between<'_>,
) -> Result<CompactReport> {
    how.check()?;
    let Some(id) = core.options().keys.current_id() else {
        let note = "there is no key to seal under: the log was opened without `Options::keys`";
        return Err(Error::note(ErrorKind::InvalidInput, Op::Reseal, note));
    };
    let Some(_mine) = turn.take(true) else {
        return Ok(CompactReport::default());
    };
    at_rate(core, how.rate_bytes_per_s, between, |rewriting, pace| {
        rewriting.reseal_all(id, pace)
    })
}

impl Rewriting<'_> {
    fn reseal_all(&mut self, id: KeyId, pace: &mut Pace<'_>) -> Result<(), Halt> {
        let catalog = self.core.catalog().load();
        for segment in catalog.sealed.iter().filter(|it| !it.entry.far) {
            let head_seq = self.core.catalog().load().head_seq;
            if segment.entry.next_seq <= head_seq {
                continue;
            }
            let stored = self.how_stored(segment)?;
            pace.read(segment.entry.frames_end)?;
            if stored.is_other_than(id) {
                self.reseal_one(segment, &stored, pace)?;
                pace.progress.run_count += 1;
            }
            pace.step()?;
        }
        Ok(())
    }

    fn how_stored(&self, segment: &Sealed) -> Result<Stored, Halt> {
        let entry = segment.entry;
        let apart = Sealed::new(entry, self.core.home_apart()).open();
        let stored = apart.and_then(|loaded| Stored::of(&loaded.view, entry.frames_end));
        stored.map_err(|fault| Halt::Failed(fault.into_error(Op::Reseal, entry.id)))
    }

    fn reseal_one(
        &mut self,
        segment: &Arc<Sealed>,
        stored: &Stored,
        pace: &mut Pace<'_>,
    ) -> Result<(), Halt> {
        let form = Rewrite {
            pack: stored.codec.filter(|codec| codec.is_built()),
            packed: segment.entry.packed,
            compacted: segment.entry.compacted,
        };
        let outputs = Outputs::of_all(self.core, segment, form, pace)?;
        let inputs = std::slice::from_ref(segment);
        self.swap(inputs, inputs, outputs)
    }
}
