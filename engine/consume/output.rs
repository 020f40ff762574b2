//! Records that are appended together with the acknowledgement of what they came from: both or neither.
//!
//! They name the cursor as their producer, and where it stands after them. That says all, where everything
//! below is done. Of a queue, whose records are done in any order, the file says beforehand which record
//! is done if such a move follows, and so the move completes it.
//!
//! INVARIANT: between that file and the move nothing else of the cursor is written; a file that promises
//! something to a move is written anew before any other move.

use super::position::Position;
use crate::{
    append::{AppendOptions, NewRecord},
    error::{Error, ErrorKind, Op, Place, Result},
    format::{Producer, producers::EPOCH_CURSOR},
    options::Durability,
    types::Seq,
};
use std::ops::Range;

impl Position {
    /// Appends records and moves past `seq`, both or neither.
    pub(super) fn append(
        &self,
        records: &[NewRecord<'_>],
        seq: Seq,
        how: &AppendOptions,
    ) -> Result<Range<Seq>> {
        check(seq, how)?;
        if records.is_empty() {
            self.pass(seq)?;
            self.stored()?;
            return Ok(self.nothing());
        }
        self.check_durable(seq)?;
        let state = self.wait_until_idle(self.state.lock());
        if seq < state.standing.seq() {
            return Err(duplicate(seq));
        }
        drop(self.begin_writing(state)?);
        let appended = self.append_move(records, seq + 1, how);
        let mut state = self.end_writing();
        let seqs = appended?;
        let moved_to = state.standing.seq().max(seq + 1);
        state.standing.move_to(moved_to);
        Ok(seqs)
    }

    /// Appends records and takes a pending record for done, both or neither.
    pub(super) fn append_done(
        &self,
        records: &[NewRecord<'_>],
        seq: Seq,
        how: &AppendOptions,
    ) -> Result<Range<Seq>> {
        check(seq, how)?;
        if records.is_empty() {
            self.done(seq);
            self.stored()?;
            return Ok(self.nothing());
        }
        let state = self.wait_until_idle(self.state.lock());
        if state.standing.open(seq).is_none() {
            return Err(duplicate(seq));
        }
        let state = self.begin_writing(state)?;
        let (moved_to, version) = (state.standing.seq_after(seq), state.version);
        let appended = self
            .save(state, Some(seq))
            .and_then(|()| self.append_move(records, moved_to, how));
        let mut state = self.end_writing();
        // Whether it came to the move or not: what was promised to it is not to be met by another.
        state.standing.restate(seq);
        let seqs = appended?;
        let others = state.version > version;
        let changed = state.standing.done(seq);
        state.version += u64::from(changed);
        state.durable_version = if others { version } else { state.version };
        Ok(seqs)
    }

    fn append_move(
        &self,
        records: &[NewRecord<'_>],
        moved_to: Seq,
        how: &AppendOptions,
    ) -> Result<Range<Seq>> {
        let producer = Producer {
            id: self.id(),
            epoch: EPOCH_CURSOR,
            number: moved_to,
        };
        let how = how.durability(Durability::Durable).producer(producer);
        self.log.appender().append_unchecked(records, &how)
    }

    fn nothing(&self) -> Range<Seq> {
        let end = self.log.next_seq();
        end..end
    }
}

fn check(seq: Seq, how: &AppendOptions) -> Result<()> {
    if how.producer.is_none() {
        return Ok(());
    }
    let note = "what a consumer appends names the cursor as its producer";
    Err(refused(ErrorKind::InvalidInput, seq, note))
}

fn duplicate(seq: Seq) -> Error {
    let note = "it is acknowledged already, so what came of it was appended before";
    refused(ErrorKind::Duplicate, seq, note)
}

fn refused(kind: ErrorKind, seq: Seq, note: &'static str) -> Error {
    Error::note(kind, Op::Consume, note).at(Place::default().with_seq(seq))
}
