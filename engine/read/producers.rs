//! Who appended which records, for who wants to know where cursors stand: what is under a key states it in the clear.

use super::Reader;
use crate::{
    error::{Op, Result},
    format::{Producer, header::HEADER_BYTES},
    segment::{Fault, Frames, View},
    types::Seq,
};

impl Reader {
    /// Tells of each record who appended it, in the order of their seqs, without a key: from the first segment on that has
    /// one at or above `first`. Of what is sealed those that nobody named himself for are left out, but for the last.
    ///
    /// # Errors
    /// As [`keys_in_use`](Self::keys_in_use): in another process that a segment is gone may be no damage.
    pub(crate) fn producers(
        &self,
        first: Seq,
        mut each: impl FnMut(Seq, Option<Producer>),
    ) -> Result<()> {
        let (end, catalog) = self.snapshot()?;
        let above = catalog.sealed.iter();
        for segment in above.filter(|it| it.entry.next_seq > first) {
            let entry = segment.entry;
            let walked = segment
                .open()
                .and_then(|it| walk(&it.view, (entry.frames_end, end), &mut each));
            walked.map_err(|fault| fault.into_error(Op::Read, entry.id))?;
        }
        for tail in &catalog.tails {
            walk(&tail.view(), (tail.written_end(), end), &mut each)
                .map_err(|fault| fault.into_error(Op::Read, tail.id))?;
        }
        Ok(())
    }
}

fn walk(
    view: &View,
    (limit, end): (u64, Seq),
    each: &mut impl FnMut(Seq, Option<Producer>),
) -> std::result::Result<(), Fault> {
    let mut frames = Frames::new(view, HEADER_BYTES as u64);
    loop {
        if let Some((batch, head, body)) = frames.stored(limit, end)? {
            head.producers(body, &batch)
                .for_each(|(seq, producer)| each(seq, producer));
            frames.leave_batch();
            continue;
        }
        match frames.next(end)? {
            Some((record, _)) => each(record.seq, record.producer),
            None => return Ok(()),
        }
    }
}
