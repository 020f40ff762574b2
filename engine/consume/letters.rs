//! Dead letters: records that were handed out too often, in a log of their own.
//!
//! INVARIANT: a letter carries a name, which is the same when it is written once more after a crash, so
//! that it is there once; and another when its record fails again after the cursor was set back, so that
//! it is there again. The record counts as done only once its letter is durable.

use super::{options::QueueOptions, position::Position};
use crate::{
    append::{AppendOptions, NewRecord},
    error::{ErrorKind, Result},
    format::Producer,
    options::Durability,
    read::Record,
    types::Seq,
};

impl Position {
    /// Puts a record to the dead letters, durably, and only then takes it for done, durably.
    pub(super) fn bury(&self, record: &Record, round: u32, options: &QueueOptions) -> Result<()> {
        let Some(dead) = &options.dead_letters else {
            return Ok(());
        };
        let letter = match (record.key(), record.value()) {
            (Some(key), Some(value)) => NewRecord::keyed(key, value),
            (Some(key), None) => NewRecord::tombstone(key),
            (None, value) => NewRecord::value(value.unwrap_or_default()),
        };
        let letter = letter.timestamp_ms(record.timestamp_ms());
        let how = AppendOptions::new()
            .durability(Durability::Durable)
            .producer(self.letter_name(record.seq(), round));
        match dead.append_records(&[letter], &how) {
            Err(error) if error.kind() != ErrorKind::Duplicate => return Err(error),
            _ => {}
        }
        self.done(record.seq());
        self.stored()
    }

    /// A producer for each letter, since they do not come in the order of their seqs: no two of one
    /// cursor and round are the same, and those of two logs, cursors or rounds are far apart.
    fn letter_name(&self, seq: Seq, round: u32) -> Producer {
        let log_id = self.log.id().0;
        let of_log = u64::from_le_bytes(log_id.first_chunk().copied().unwrap_or_default());
        let of_cursor = self.id().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let of_round = u64::from(round).wrapping_mul(0xd1b5_4a32_d192_ed03);
        Producer {
            id: (of_log.wrapping_add(of_cursor))
                .wrapping_add(of_round)
                .wrapping_add(seq),
            epoch: 0,
            number: seq,
        }
    }
}
