//! An account whose balance is the sum of what happened: `cargo run --example account [DIR]`.
//!
//! Nothing but events is stored. To decide, one replays them; to append what was decided, one names the
//! seq that it must get. If somebody else was faster that fails, and one decides again, knowing more.
//! So two threads that withdraw at once can never overdraw, without a lock of their own.

use cairnlog::{AppendOptions, ErrorKind, Log, NewRecord, Seq};
use std::{error::Error, path::PathBuf, thread};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What one knows of the account.
#[derive(Default)]
struct Account {
    balance: i64,
    /// The seq of the next event: all before it are in the balance.
    next_seq: Seq,
}

impl Account {
    /// Takes in what has happened since.
    fn replay(&mut self, log: &Log) -> Outcome<()> {
        log.sync()?; // What was appended and is not yet durable is not yet shown.
        for event in log.scan(self.next_seq..)? {
            let event = event?;
            self.balance += std::str::from_utf8(&event)?.parse::<i64>()?;
            self.next_seq = event.seq() + 1;
            assert!(self.balance >= 0, "overdrawn by the event {}", event.seq());
        }
        Ok(())
    }

    /// Appends an event, an amount that comes or goes, if nothing has happened since the last replay.
    fn record(&self, log: &Log, amount: i64) -> Outcome<bool> {
        let how = AppendOptions::new().expected_seq(self.next_seq);
        match log.append_records(&[NewRecord::value(&format!("{amount:+}"))], &how) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::SeqMismatch => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Withdraws as long as there is enough. Gives how often it did, and how often somebody was faster.
fn withdraw_all(log: &Log, amount: i64) -> Outcome<(u64, u64)> {
    let (mut account, mut count, mut retries) = (Account::default(), 0, 0);
    loop {
        account.replay(log)?;
        if account.balance < amount {
            return Ok((count, retries));
        }
        match account.record(log, -amount)? {
            true => count += 1,
            false => retries += 1,
        }
    }
}

fn main() -> Outcome<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| std::env::temp_dir().join("cairn-account.log"));
    let log = Log::open(dir)?;
    let mut account = Account::default();
    account.replay(&log)?;
    println!(
        "balance {} after {} events",
        account.balance, account.next_seq
    );
    assert!(account.record(&log, 1000)?, "nobody else is here yet");
    println!("deposited 1000");

    let done = thread::scope(|scope| {
        let log = &log;
        let withdraw = |amount| scope.spawn(move || (amount, withdraw_all(log, amount)));
        let threads = [30, 50].map(withdraw);
        threads.map(|thread| thread.join().expect("it does not panic"))
    });
    for (amount, outcome) in done {
        let (count, retries) = outcome?;
        println!("withdrew {amount} {count} times, was too late {retries} times");
    }

    let mut account = Account::default();
    account.replay(&log)?;
    println!(
        "balance {} after {} events, never below 0",
        account.balance, account.next_seq
    );
    Ok(log.close()?)
}
