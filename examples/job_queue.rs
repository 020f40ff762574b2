//! Jobs, and workers that share them: `cargo run --example job_queue [DIR]`.
//!
//! A job is appended under the name of its producer, so asking twice is as good as once. Workers lease
//! jobs; one that dies gives its job back, and a job that fails too often goes to a log of dead letters.
//! A job is given at least once: what it does has to be safe to repeat, here by its seq.

use cairnlog::{AppendOptions, ErrorKind, Log, NewRecord, Producer, Queue, QueueOptions, Seq};
use std::{
    collections::BTreeMap, error::Error, fs, path::PathBuf, sync::Mutex, thread, time::Duration,
};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const JOBS: u64 = 20;
const FAILING: &str = "job 13";
const WORKERS: usize = 3;

/// Asks for every job. Whoever does not know whether it did so before simply does it again.
fn submit(log: &Log) -> Outcome<u64> {
    let before = log.next_seq();
    for number in 0..JOBS {
        let (id, epoch) = (7, 0);
        let how = AppendOptions::new().producer(Producer { id, epoch, number });
        let job = format!("job {number}");
        match log.append_records(&[NewRecord::value(&job)], &how) {
            Ok(_) => {} // Also if it was there: then these are the seqs of the original.
            Err(error) if error.kind() == ErrorKind::Duplicate => {} // There, and its seq forgotten.
            Err(error) => return Err(error.into()),
        }
    }
    Ok(log.next_seq() - before)
}

/// How often each job had its effect; in earnest a table of what was sent, with the seq as its key.
type Effects = Mutex<BTreeMap<Seq, u32>>;

/// A worker that dies in the middle of its first job, if there is one.
fn die(queue: &Queue) -> Outcome {
    if let Some(lease) = queue.next_timeout(Duration::ZERO)? {
        let job = String::from_utf8_lossy(lease.record());
        panic!("the worker dies with {job}");
    }
    Ok(())
}

/// Works until there is nothing left to do.
fn work(log: &Log, queue: &Queue, effects: &Effects) -> Outcome {
    while queue.seq() < log.next_seq() {
        // None: the others have what is left. One of them may yet give it back.
        let Some(lease) = queue.next_timeout(Duration::from_millis(20))? else {
            continue;
        };
        let job = String::from_utf8_lossy(lease.record()).into_owned();
        if job == FAILING {
            println!("{job} failed, delivery {}", lease.delivery_count());
            lease.release();
            continue;
        }
        println!("{job} done, delivery {}", lease.delivery_count());
        let seq = lease.record().seq();
        *effects.lock().expect("no panic").entry(seq).or_default() += 1;
        lease.ack()?;
    }
    Ok(())
}

fn main() -> Outcome {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| std::env::temp_dir().join("cairn-job-queue"));
    fs::create_dir_all(&dir)?;
    let log = Log::open(dir.join("jobs.log"))?;
    let dead = Log::open(dir.join("dead.log"))?;
    println!("{} new jobs", submit(&log)?);
    println!("asked again: {} new jobs", submit(&log)?);

    let options = QueueOptions::new().deliveries_max(3).dead_letters(&dead);
    let queue = log.consumer("workers")?.into_queue(options)?;
    let effects = Effects::default();
    thread::scope(|scope| -> Outcome {
        // Its lease goes with it: the first job is given to another.
        let died = scope.spawn(|| die(&queue)).join().is_err();
        println!("a worker died: {died}");
        let spawn = |_| scope.spawn(|| work(&log, &queue, &effects));
        let workers: Vec<_> = (0..WORKERS).map(spawn).collect();
        let mut joined = workers.into_iter().map(|worker| worker.join());
        joined.try_for_each(|outcome| outcome.expect("it does not panic"))
    })?;

    let effects = effects.into_inner()?;
    let once = effects.values().all(|count| *count == 1);
    println!("{} jobs done, each once: {once}", effects.len());
    for letter in dead.scan(..)? {
        let letter = letter?;
        println!("dead letter: {}", String::from_utf8_lossy(&letter));
    }
    log.close()?;
    Ok(dead.close()?)
}
