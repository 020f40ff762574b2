//! Appending much: one thread submits, another waits for the tickets and tells what is acknowledged.
//! While a sync is in flight the next group gathers, so a line costs no sync of its own.
//!
//! INVARIANTS: records enter in the order of the input, without a hole: each submission names the seq
//! that it must get, and so fails if one before it did. An acknowledgement is printed after its
//! ticket was waited for, and what is printed is flushed before anything is waited for again. What is
//! in flight is bounded, in bytes by the log's queue and in records here.

use crate::{
    exit::{About, In, Outcome},
    process, stream,
};
use cairnlog::{
    AppendOptions, Durability, Error, ErrorKind, Log, NewRecord, Producer, Seq, Ticket,
};
use std::{
    io::{self, Write},
    ops::Range,
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    thread::JoinHandle,
};

/// Submissions in flight.
const TICKETS_MAX: usize = 64 << 10;

/// What became of everything that was submitted.
#[derive(Debug)]
pub struct Settled {
    /// The records that are at the level that was asked for.
    pub acknowledged: Range<Seq>,
    /// Why acknowledgements could not be printed, if they could not.
    pub untold: Option<io::Error>,
    error: Option<Error>,
}

/// The submitting end.
pub struct Pipeline {
    log: Log,
    dir: PathBuf,
    level: Durability,
    next_seq: Seq,
    tickets: SyncSender<Ticket>,
    waiter: JoinHandle<Settled>,
}

impl Pipeline {
    /// Starts at the log's end. `acks`: print the seq of each record once it is at the level.
    pub fn start(log: &Log, dir: PathBuf, level: Durability, acks: bool) -> Outcome<Self> {
        let (sender, receiver) = sync_channel(TICKETS_MAX);
        let next_seq = log.next_seq();
        let waiter = Waiter {
            log: log.clone(),
            level,
            settled: Settled {
                acknowledged: next_seq..next_seq,
                untold: None,
                error: None,
            },
        };
        let waiter = process::thread()
            .and_then(|thread| thread.spawn(move || waiter.run(&receiver, acks)))
            .about("append: a thread that waits for acknowledgements")?;
        Ok(Self {
            log: log.clone(),
            dir,
            level,
            next_seq,
            tickets: sender,
            waiter,
        })
    }

    /// The number that the next record gets.
    pub fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// Submits records that enter together, unless this producer's append is there already. False: no
    /// more is wanted, `finish` tells why.
    pub fn submit(
        &mut self,
        records: &[NewRecord<'_>],
        producer: Option<Producer>,
    ) -> Outcome<bool> {
        let mut how = AppendOptions::new()
            .durability(self.level)
            .expected_seq(self.next_seq);
        if let Some(producer) = producer {
            how = how.producer(producer);
        }
        match self.log.submit(records, &how) {
            Ok(ticket) => {
                self.next_seq = self.next_seq.max(ticket.seqs().end);
                Ok(self.tickets.send(ticket).is_ok())
            }
            // One before it failed: its ticket has the reason.
            Err(error) if error.kind() == ErrorKind::SeqMismatch => Ok(false),
            Err(error) => Err(error).in_log(&self.dir),
        }
    }

    /// Waits for everything that was submitted.
    pub fn finish(self) -> (Settled, Outcome) {
        drop(self.tickets);
        let Ok(mut settled) = self.waiter.join() else {
            unreachable!("the waiting thread does not panic");
        };
        let error = settled.error.take().map_or(Ok(()), Err);
        (settled, error.in_log(&self.dir))
    }
}

struct Waiter {
    log: Log,
    level: Durability,
    settled: Settled,
}

impl Waiter {
    fn run(mut self, tickets: &Receiver<Ticket>, acks: bool) -> Settled {
        let told = if acks {
            self.wait_for_all(tickets, &mut stream::raw())
        } else {
            self.wait_for_all(tickets, &mut io::sink())
        };
        // Whatever it is, nobody learns of acknowledgements any more.
        self.settled.untold = told.err();
        self.settled
    }

    fn wait_for_all(&mut self, tickets: &Receiver<Ticket>, out: &mut impl Write) -> io::Result<()> {
        loop {
            let ticket = match tickets.try_recv() {
                Ok(ticket) => ticket,
                Err(TryRecvError::Disconnected) => return out.flush(),
                Err(TryRecvError::Empty) => {
                    out.flush()?;
                    match tickets.recv() {
                        Ok(ticket) => ticket,
                        Err(_) => return Ok(()),
                    }
                }
            };
            if !self.is_reached(ticket.seqs().end) {
                out.flush()?;
            }
            match ticket.wait() {
                Ok(seqs) => {
                    let end = &mut self.settled.acknowledged.end;
                    *end = seqs.end.max(*end);
                    for seq in seqs {
                        writeln!(out, "{seq}")?;
                    }
                }
                Err(error) => {
                    self.settled.error = Some(error);
                    return out.flush();
                }
            }
        }
    }

    /// Whether a wait for what lies below this seq would return at once.
    fn is_reached(&self, seq: Seq) -> bool {
        match self.level {
            Durability::Durable => seq <= self.log.durable_seq(),
            _ => seq <= self.log.reader().including_written().end_seq(),
        }
    }
}
