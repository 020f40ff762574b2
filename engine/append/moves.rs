//! Where the cursors stand by what is stored: by their files, and by the moves in annexes since. Pure.
//!
//! INVARIANT: a cursor stands where its file says, and then where each move of a higher generation says, in
//! the order of the chain. Moves that ride on records are another matter: the ledger has those.
//!
//! Called by the leader, for what is durable; by recovery, for what the chain says.

use crate::{
    format::{
        BatchHeader,
        cursor::{CursorFile, PENDING_MAX, Pending},
        moves::{Move, moves},
    },
    types::Seq,
};
use std::collections::BTreeMap;

/// The cursors by their ids.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    cursors: BTreeMap<u64, Known>,
    /// No move that is in the chain has a higher generation.
    top_generation: u64,
}

/// One cursor.
#[derive(Debug)]
struct Known {
    /// All but the pending records.
    file: CursorFile,
    pending: BTreeMap<Seq, Pending>,
    /// What the file on disk says, as far as that is known to be durable.
    stored_generation: u64,
}

impl Moves {
    /// As the files say.
    pub(crate) fn of(files: impl IntoIterator<Item = CursorFile>) -> Self {
        let mut moves = Self::default();
        files.into_iter().for_each(|file| moves.stored(file));
        moves
    }

    /// A cursor's file was replaced.
    pub(crate) fn stored(&mut self, mut file: CursorFile) {
        let pending = std::mem::take(&mut file.pending);
        let known = Known {
            pending: pending.into_iter().map(|it| (it.seq, it)).collect(),
            stored_generation: file.generation,
            file,
        };
        self.cursors.insert(known.file.id, known);
    }

    /// Takes the moves of a batch without records, of which the checksum held.
    pub(crate) fn add_annex(&mut self, batch: &BatchHeader, body: &[u8]) {
        for entry in moves(body).flatten() {
            self.add(&entry, batch);
        }
    }

    /// Takes a move that lies in this batch. One of a cursor that is gone says nothing.
    pub(crate) fn add(&mut self, entry: &Move, batch: &BatchHeader) {
        self.top_generation = self.top_generation.max(entry.generation);
        let Some(known) = self.cursors.get_mut(&entry.cursor) else {
            return;
        };
        if known.file.generation < entry.generation {
            known.follow(entry, batch);
        } else {
            // The file says it already, and may have been replaced by a process whose sync failed: then it
            // is there for now, and the move is all that survives.
            known.stored_generation = 0;
        }
    }

    /// A cursor is gone for good.
    pub(crate) fn remove(&mut self, id: u64) {
        self.cursors.remove(&id);
    }

    /// Where a cursor stands.
    pub(crate) fn known(&self, id: u64) -> Option<CursorFile> {
        self.cursors.get(&id).map(Known::to_file)
    }

    /// The cursors that have moved since their files were stored.
    pub(crate) fn behind(&self) -> Vec<u64> {
        let behind = self.cursors.iter().filter(|(_, known)| known.is_behind());
        behind.map(|(id, _)| *id).collect()
    }

    /// The file says as much by now.
    pub(crate) fn stored_as(&mut self, id: u64, generation: u64) {
        if let Some(known) = self.cursors.get_mut(&id) {
            known.stored_generation = known.stored_generation.max(generation);
        }
    }

    /// With a higher one a new cursor is not taken for a former one of its id, whose moves the chain has.
    pub(crate) fn top_generation(&self) -> u64 {
        self.top_generation
    }
}

impl Known {
    fn is_behind(&self) -> bool {
        self.file.generation > self.stored_generation
    }

    fn follow(&mut self, entry: &Move, batch: &BatchHeader) {
        if entry.anew {
            self.pending.clear();
        }
        self.pending
            .extend(entry.pending.iter().map(|it| (it.seq, *it)));
        while self
            .pending
            .first_key_value()
            .is_some_and(|(seq, _)| *seq < entry.seq)
        {
            self.pending.pop_first();
        }
        while self.pending.len() > PENDING_MAX {
            self.pending.pop_last(); // No writer comes here.
        }
        self.file.seq = entry.seq;
        self.file.generation = entry.generation;
        self.file.holds = entry.holds;
        // Nothing that moves the cursor was in flight, so all such records lie below.
        self.file.as_of_seq = batch.durable_seq;
        self.file.updated_ms = batch.timestamp_ms;
    }

    fn to_file(&self) -> CursorFile {
        CursorFile {
            pending: self.pending.values().copied().collect(),
            ..self.file.clone()
        }
    }
}
