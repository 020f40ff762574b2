//! Where a cursor stands: the position, and what becomes of the records at or above it. Pure.
//!
//! INVARIANT: records are taken from the log in order, and each is pending until everything below it is
//! done. So what lies below `taken_seq` and is not pending is done, or not there.

use crate::{
    format::{
        cursor::{CursorFile, PENDING_MAX, Pending},
        moves::Move,
    },
    types::Seq,
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(super) struct Standing {
    /// The file as it was stored last; its position and pending records are those below.
    file: CursorFile,
    seq: Seq,
    /// Everything below was taken from the log, or is not there.
    taken_seq: Seq,
    /// Records at or above the position that were handed out or are done.
    pending: BTreeMap<Seq, Delivery>,
    /// What is not stored.
    changed: Changed,
    /// What is on its way to be.
    leaving: Changed,
}

/// What the next move has to say of the pending records.
#[derive(Debug, Default)]
struct Changed {
    /// What was pending before is forgotten.
    anew: bool,
    seqs: BTreeSet<Seq>,
}

/// What became of the wish to keep track of a record.
pub(super) enum Tracked {
    Open,
    Done,
    NoRoom,
}

/// What is known of a pending record.
#[derive(Clone, Copy, Debug, Default)]
struct Delivery {
    count: u32,
    acked: bool,
    round: u32,
    not_before_ms: i64,
}

impl Standing {
    pub(super) fn new(mut file: CursorFile) -> Self {
        let pending = std::mem::take(&mut file.pending).into_iter().map(|it| {
            let delivery = Delivery {
                count: it.delivery_count,
                acked: it.acked,
                round: it.round,
                not_before_ms: it.not_before_ms,
            };
            (it.seq, delivery)
        });
        let pending: BTreeMap<Seq, Delivery> = pending.collect();
        let last = pending.keys().next_back();
        Self {
            seq: file.seq,
            taken_seq: last.map_or(file.seq, |last| last + 1),
            pending,
            changed: Changed::default(),
            leaving: Changed::default(),
            file,
        }
    }

    pub(super) fn seq(&self) -> Seq {
        self.seq
    }

    pub(super) fn set_holds(&mut self, holds: Option<bool>) {
        self.file.holds = holds.unwrap_or(self.file.holds);
    }

    /// Goes anywhere, and forgets what was handed out.
    pub(super) fn set(&mut self, seq: Seq) {
        self.pending.clear();
        self.changed = Changed {
            anew: true,
            seqs: BTreeSet::new(),
        };
        (self.seq, self.taken_seq) = (seq, seq);
    }

    /// Goes forth; nothing below the position is pending.
    pub(super) fn move_to(&mut self, seq: Seq) {
        self.seq = seq;
        self.taken_seq = self.taken_seq.max(seq);
        self.pending = self.pending.split_off(&seq);
    }

    pub(super) fn open_seqs(&self) -> BTreeSet<Seq> {
        let open = self.pending.iter().filter(|(_, delivery)| !delivery.acked);
        open.map(|(seq, _)| *seq).collect()
    }

    /// How often a pending record was handed out, and its round; `None` if it is not open.
    pub(super) fn open(&self, seq: Seq) -> Option<(u32, u32)> {
        let delivery = self.pending.get(&seq).filter(|it| !it.acked)?;
        Some((delivery.count, delivery.round))
    }

    /// Counts a delivery of a pending record, and remembers the round if it is the first.
    pub(super) fn count(&mut self, seq: Seq, round: u32) -> u32 {
        let Some(delivery) = self.pending.get_mut(&seq) else {
            return 0;
        };
        self.changed.seqs.insert(seq);
        delivery.count = delivery.count.saturating_add(1);
        delivery.not_before_ms = 0;
        if delivery.round == 0 {
            delivery.round = round;
        }
        delivery.count
    }

    pub(super) fn uncount(&mut self, seq: Seq) {
        if let Some(delivery) = self.pending.get_mut(&seq) {
            self.changed.seqs.insert(seq);
            delivery.count = delivery.count.saturating_sub(1);
        }
    }

    /// What was stored of a pending record holds no more.
    pub(super) fn restate(&mut self, seq: Seq) {
        self.changed.seqs.insert(seq);
    }

    /// When an open record may be handed out, if it has to wait.
    pub(super) fn not_before_ms(&self, seq: Seq) -> i64 {
        self.pending.get(&seq).map_or(0, |it| it.not_before_ms)
    }

    /// Has an open record wait, or wait no more. Whether that is new.
    pub(super) fn wait_until(&mut self, seq: Seq, not_before_ms: i64) -> bool {
        let open = self.pending.get_mut(&seq).filter(|it| !it.acked);
        let Some(delivery) = open.filter(|it| it.not_before_ms != not_before_ms) else {
            return false;
        };
        delivery.not_before_ms = not_before_ms;
        self.changed.seqs.insert(seq);
        true
    }

    /// Makes a record pending, if it is not done and there is room.
    pub(super) fn track(&mut self, seq: Seq) -> Tracked {
        match self.pending.get(&seq) {
            Some(delivery) if delivery.acked => Tracked::Done,
            None if seq < self.seq => Tracked::Done,
            None if self.pending.len() >= PENDING_MAX => Tracked::NoRoom,
            known => {
                if known.is_none() {
                    // Also one that waits for its time: what is stored without it, and has a later one, would
                    // say that it is gone.
                    self.changed.seqs.insert(seq);
                    self.pending.insert(seq, Delivery::default());
                }
                self.taken_seq = self.taken_seq.max(seq + 1);
                Tracked::Open
            }
        }
    }

    /// Everything below `seq` was taken or is not there, `gone` among it. Whether that moved it.
    pub(super) fn taken(&mut self, seq: Seq, gone: &BTreeSet<Seq>) -> bool {
        self.taken_seq = self.taken_seq.max(seq);
        for seq in gone {
            if let Some(delivery) = self.pending.get_mut(seq) {
                self.changed.seqs.insert(*seq);
                delivery.acked = true;
            }
        }
        self.settle()
    }

    /// A pending record is done; whether that is new.
    pub(super) fn done(&mut self, seq: Seq) -> bool {
        let open = self.pending.get_mut(&seq).filter(|it| !it.acked);
        let is_new = open.map(|delivery| delivery.acked = true).is_some();
        if is_new {
            self.changed.seqs.insert(seq);
            self.settle();
        }
        is_new
    }

    /// Where it stands once a pending record is done.
    pub(super) fn seq_after(&self, seq: Seq) -> Seq {
        let open = |(at, delivery): &(&Seq, &Delivery)| !delivery.acked && **at != seq;
        let open = self.pending.iter().find(open);
        open.map_or(self.taken_seq, |(at, _)| *at).max(self.seq)
    }

    /// Goes on past what is done, up to the first record that is not. Whether it moved.
    fn settle(&mut self) -> bool {
        let open = self.pending.iter().find(|(_, delivery)| !delivery.acked);
        let seq = open.map_or(self.taken_seq, |(seq, _)| *seq);
        let moves = seq > self.seq;
        if moves {
            self.move_to(seq);
        }
        moves
    }

    /// The move to be stored next; one record of it is done if another follows, with records.
    pub(super) fn next_move(&mut self, by_move: Option<Seq>) -> Move {
        self.changed.seqs.extend(by_move);
        self.leaving = std::mem::take(&mut self.changed);
        self.file.generation += 1;
        let pending = self.leaving.seqs.iter().filter_map(|seq| {
            let delivery = self.pending.get(seq)?;
            Some(delivery.entry(*seq, by_move))
        });
        Move {
            cursor: self.file.id,
            generation: self.file.generation,
            seq: self.seq,
            holds: self.file.holds,
            anew: self.leaving.anew,
            pending: pending.collect(),
        }
    }

    /// Whether what was to be stored is.
    pub(super) fn stored(&mut self, stored: bool) {
        let left = std::mem::take(&mut self.leaving);
        if !stored && !self.changed.anew {
            self.changed.anew = left.anew;
            self.changed.seqs.extend(left.seqs);
        }
    }

    /// The file to be stored instead of a move; one record of it is done if a move follows.
    pub(super) fn next_file(&mut self, as_of_seq: Seq, by_move: Option<Seq>) -> CursorFile {
        self.leaving.anew |= self.changed.anew;
        self.leaving.seqs.append(&mut self.changed.seqs);
        self.changed.anew = false;
        self.file.seq = self.seq;
        self.file.as_of_seq = as_of_seq;
        self.file.generation += 1;
        let pending = self.pending.iter();
        let pending = pending.map(|(seq, delivery)| delivery.entry(*seq, by_move));
        CursorFile {
            pending: pending.collect(),
            ..self.file.clone()
        }
    }
}

impl Delivery {
    fn entry(&self, seq: Seq, by_move: Option<Seq>) -> Pending {
        Pending {
            seq,
            delivery_count: self.count,
            acked: self.acked,
            done_by_move: by_move == Some(seq),
            round: self.round,
            not_before_ms: match self.acked {
                true => 0,
                false => self.not_before_ms,
            },
        }
    }
}
