//! Segments written anew from records that verify, seqs and times kept.

use super::records;
use crate::{
    append::{Ledger, Spare, create_spare},
    error::{Error, Op, Place, Result},
    format::{Owner, RecordRef, SegmentContext, SegmentHeader, manifest::SealedEntry, names},
    options::Options,
    segment::{Builder, Piece, Range, TailWriter, Window, copy_header, tail_header},
    types::{SegmentId, Seq},
    vfs::Dir,
};
use std::io;

/// Writes any number of segments, one after the other.
pub(super) struct Copies<'a> {
    dir: &'a Dir,
    options: &'a Options,
    owner: Owner,
    next_id: SegmentId,
    builder: Option<Builder>,
    finished: Vec<SealedEntry>,
    /// Records below are in the log already: order is kept whatever a file claims.
    floor_seq: Seq,
    /// Who appended what, learned from the records that it does not account for yet.
    ledger: Ledger,
}

impl<'a> Copies<'a> {
    pub(super) fn new(
        dir: &'a Dir,
        options: &'a Options,
        owner: Owner,
        next_id: SegmentId,
        ledger: Ledger,
    ) -> Self {
        Self {
            dir,
            options,
            owner,
            next_id,
            builder: None,
            finished: Vec::new(),
            floor_seq: 0,
            ledger,
        }
    }

    fn id(&mut self) -> SegmentId {
        let id = self.next_id;
        self.next_id = SegmentId(id.0 + 1);
        id
    }

    fn header(&mut self, base_seq: Seq) -> SegmentHeader {
        let id = self.id();
        copy_header(
            self.dir,
            self.owner.log_id,
            id,
            base_seq,
            &self.options.keys,
        )
    }

    pub(super) fn floor_seq(&self) -> Seq {
        self.floor_seq
    }

    pub(super) fn raise_floor(&mut self, seq: Seq) {
        self.floor_seq = self.floor_seq.max(seq);
    }

    /// Takes every record of a range that verifies and lies below `until_seq`; tells their seqs.
    pub(super) fn take(
        &mut self,
        window: &mut Window,
        context: &SegmentContext,
        range: Range,
        id: SegmentId,
        until_seq: Seq,
        mut seen: impl FnMut(Seq),
    ) -> Result<()> {
        let mut outcome = Ok(());
        let keys = self.options.keys.clone();
        records(window, (context, &keys), range, id, |piece| {
            if outcome.is_err() {
                return;
            }
            outcome = match piece {
                Piece::Batch(..) => self.end_batch(),
                Piece::Record(_, record) if (self.floor_seq..until_seq).contains(&record.seq) => {
                    seen(record.seq);
                    self.add(&record)
                }
                Piece::Packed(offset, _, _, Some(defect)) => {
                    let place = Place::in_segment(id, offset);
                    Err(Error::defect(Op::Repair, place, defect))
                }
                Piece::Record(..) | Piece::Packed(..) | Piece::Gap(_) => Ok(()),
            };
        })?;
        outcome
    }

    pub(super) fn end_batch(&mut self) -> Result<()> {
        match &mut self.builder {
            Some(builder) => builder
                .end_batch()
                .map_err(|error| failed(self.next_id, error)),
            None => Ok(()),
        }
    }

    pub(super) fn add(&mut self, record: &RecordRef<'_>) -> Result<()> {
        self.raise_floor(record.seq + 1);
        self.ledger.add_record(record);
        if self
            .builder
            .as_ref()
            .is_some_and(|builder| builder.is_full(self.options.segment_bytes))
        {
            self.seal()?;
        }
        if self.builder.is_none() {
            let header = self.header(record.seq);
            let created = Builder::create(self.dir, header, &self.options.keys);
            self.builder = Some(created.map_err(|error| failed(self.next_id, error))?);
        }
        match &mut self.builder {
            Some(builder) => builder
                .add(record, record.seq)
                .map_err(|error| failed(self.next_id, error)),
            None => Ok(()),
        }
    }

    fn seal(&mut self) -> Result<()> {
        if let Some(builder) = self.builder.take() {
            self.finished.push(
                builder
                    .seal()
                    .map_err(|error| failed(self.next_id, error))?,
            );
        }
        Ok(())
    }

    /// Ends the segment being written; gives all that were finished since the last call.
    pub(super) fn finish_segment(&mut self) -> Result<Vec<SealedEntry>> {
        self.seal()?;
        Ok(std::mem::take(&mut self.finished))
    }

    /// The ledger of all that is in the log by now, with this tail; none if it knows nobody.
    pub(super) fn ledger(&self, next_seq: Seq, tail_id: SegmentId) -> Option<Vec<u8>> {
        (self.ledger).to_file(self.owner, next_seq, next_seq, tail_id)
    }

    /// An empty tail and a spare, and everything written so far durable under its name.
    pub(super) fn end(&mut self, next_seq: Seq) -> Result<(TailWriter, Spare, SegmentId)> {
        let id = self.id();
        let keys = &self.options.keys;
        let header = tail_header(self.dir, self.owner.log_id, id, next_seq, keys);
        let tail = Builder::create(self.dir, header, keys)
            .and_then(Builder::into_tail)
            .map_err(|error| failed(self.next_id, error))?;
        let id = self.id();
        // DURABILITY: creating the spare syncs the directory, and with it every name so far.
        let spare = create_spare(self.dir, id, self.options).map_err(|error| failed(id, error))?;
        Ok((tail, spare, self.next_id))
    }
}

fn failed(id: SegmentId, error: io::Error) -> Error {
    Error::io(Op::Repair, error).at(Place::file(names::segment(id)))
}

/// After the commit of a log that remembers nobody: takes out the file that would say otherwise, and that
/// was kept.
pub(super) fn forget_ledger(dir: &Dir, op: Op) -> Result<()> {
    let at = |error| Error::io(op, error).at(Place::file(names::PRODUCERS));
    if dir.len(names::PRODUCERS).map_err(at)?.is_none() {
        return Ok(());
    }
    dir.remove_if_there(names::PRODUCERS).map_err(at)?;
    // DURABILITY: after this line the ledger that does not verify is out of the log for good.
    dir.sync().map_err(at)
}
