//! The process that the demo kills: appends a file durably from several threads, and prints the seq
//! of every record once it is durable.

use crate::{
    exit::{About, Failure, In, Outcome},
    input::{Framing, Input},
    open, process, stream,
};
use cairnlog::{AppendOptions, Log, NewRecord, Ticket};
use clap::Args;
use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Mutex,
    thread,
};

/// Threads that append.
pub const THREADS: usize = 4;
/// Records that a thread submits before it waits for them.
const IN_FLIGHT: usize = 16;

#[derive(Args, Debug)]
pub struct WriterArgs {
    dir: PathBuf,
    file: PathBuf,
}

/// What the threads share. Lines are taken and submitted under one lock, so that the order of the
/// log is that of the file; the waiting is each thread's own.
struct Shared {
    input: Input,
    ended: bool,
}

pub fn run(args: &WriterArgs) -> Outcome {
    let log = open::options()?.open(&args.dir).in_log(&args.dir)?;
    let input = Input::new("demo", std::slice::from_ref(&args.file), Framing::Lines)?;
    let shared = Mutex::new(Shared {
        input,
        ended: false,
    });
    thread::scope(|scope| {
        let work = || work(args, &log, &shared);
        let spawn = |_| process::thread()?.spawn_scoped(scope, work);
        let threads: io::Result<Vec<_>> = (0..THREADS).map(spawn).collect();
        let joined = threads
            .about("demo: a thread that appends")?
            .into_iter()
            .map(|thread| {
                let panicked = |_| Failure::Said("demo: a thread panicked".to_owned());
                thread.join().map_err(panicked)?
            });
        joined.collect::<Outcome<()>>()
    })?;
    log.close().in_log(&args.dir)
}

fn work(args: &WriterArgs, log: &Log, shared: &Mutex<Shared>) -> Outcome {
    loop {
        let tickets = submit(args, log, shared)?;
        if tickets.is_empty() {
            return Ok(());
        }
        for ticket in tickets {
            let seqs = ticket.wait().in_log(&args.dir)?;
            // DURABILITY: a seq is printed only now. The parent holds us to it.
            let mut out = stream::raw();
            for seq in seqs {
                writeln!(out, "{seq}")?;
            }
            out.flush()?;
        }
    }
}

fn submit(args: &WriterArgs, log: &Log, shared: &Mutex<Shared>) -> Outcome<Vec<Ticket>> {
    let poisoned = |_| Failure::Said("demo: a thread panicked".to_owned());
    let mut shared = shared.lock().map_err(poisoned)?;
    let mut tickets = Vec::new();
    let mut line = Vec::new();
    while !shared.ended && tickets.len() < IN_FLIGHT {
        line.clear();
        if shared.input.read(&mut line)? {
            let ticket = log.submit(&[NewRecord::value(&line)], &AppendOptions::new());
            tickets.push(ticket.in_log(&args.dir)?);
        } else {
            shared.ended = true;
        }
    }
    Ok(tickets)
}
