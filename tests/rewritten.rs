//! Does a reader in another process see the same log while it is packed, compacted, and sealed anew under one key
//! after the other?
//!
//! Both are children, this binary again. The writer appends, packs, compacts, reseals and takes new keys, in a loop;
//! the reader walks forward and backward, by seq, by key and as a tail, with all keys, some or none. Both are killed
//! at random moments, again and again over the same log. A record's bytes follow from its seq, so whoever reads one
//! knows what it must be, and which may have gone: what has a newer record of its key.
//!
//! A campaign says how often and with which seed: `CAIRN_KILLS`, `CAIRN_SEED`.

#![cfg(all(feature = "seal", feature = "lz4"))]

#[path = "common/children.rs"]
mod children;

use cairnlog::{
    AppendOptions, CompactOptions, Compression, ErrorKind, Health, Key, KeyId, KeyProvider, Log,
    NewRecord, Options, PackOptions, Reader, Record, ResealOptions, Result, Seq,
};
use children::{Dice, KEYS, child, end, key, lines, parse, payload, say, spawn};
use std::{
    env,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

const KILLS: u64 = 40;
/// Kills over one log before the next is begun.
const KILLS_PER_LOG: u64 = 20;
/// Whoever has seen nothing of it for so long will not.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first records are in the clear: they are of before the log was sealed.
const CLEAR_COUNT: u64 = 30;
/// Records of a key follow each other within so many seqs.
const KEY_DISTANCE_MAX: u64 = 21;

/// Which keys a process has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Having {
    All,
    /// Those of an even number.
    Some,
    None,
}

/// Every number has a key; one of them is current.
#[derive(Debug)]
struct Ring {
    having: Having,
    current: AtomicU64,
}

impl KeyProvider for Ring {
    fn current(&self) -> KeyId {
        KeyId(self.current.load(Ordering::SeqCst))
    }

    fn key(&self, id: KeyId) -> Option<Key> {
        let mut bytes = [0x5A; 32];
        bytes[..8].copy_from_slice(&id.0.to_le_bytes());
        let has = self.having == Having::All || id.0.is_multiple_of(2);
        has.then(|| Key::new(bytes))
    }
}

fn ring(having: Having, current: u64) -> std::sync::Arc<Ring> {
    std::sync::Arc::new(Ring {
        having,
        current: AtomicU64::new(current),
    })
}

fn options(having: Having) -> Options {
    match having {
        Having::None => Log::options(),
        _ => Log::options().keys(ring(having, 1)),
    }
}

/// Appends so many; says so once they are durable.
fn append(log: &Log, count: u64) {
    let next = log.next_seq();
    let payloads: Vec<_> = (next..next + count).map(payload).collect();
    let keys: Vec<_> = (next..next + count).map(key).collect();
    let records: Vec<_> = (payloads.iter().zip(&keys))
        .map(|(payload, key)| match key {
            Some(key) => NewRecord::keyed(key, payload),
            None => NewRecord::value(payload),
        })
        .collect();
    let how = AppendOptions::new().expected_seq(next);
    log.append_records(&records, &how).unwrap();
    say(&format!("durable {}", next + count));
}

// The children: not tests of their own, they run until they are killed. ------------------------------

#[test]
fn writing_child() {
    let Some((dir, round)) = child() else { return };
    let (mut dice, ring) = (Dice(round), ring(Having::All, round * 100));
    let options = Log::options().segment_bytes(4096 << (round % 3));
    let log = options.keys(ring.clone()).open(dir).unwrap();
    say(&format!("opened {}", log.next_seq()));
    loop {
        append(&log, 1 + dice.below(6));
        match dice.below(40) {
            0 => log.rotate().unwrap(),
            1 => {
                log.rotate().unwrap();
                let how = PackOptions::new(Compression::Lz4).rate_bytes_per_s(None);
                let report = log.pack(&how).unwrap();
                say(&format!("packed {}", report.progress.run_count));
            }
            2 => {
                ring.current.fetch_add(1, Ordering::SeqCst);
                log.rotate().unwrap();
                let report = log.reseal(&ResealOptions::new().rate_bytes_per_s(None));
                let report = report.unwrap();
                say(&format!("resealed {}", report.progress.run_count));
            }
            3 => {
                log.rotate().unwrap();
                let report = log.compact(&CompactOptions::new().rate_bytes_per_s(None));
                say(&format!("compacted {}", report.unwrap().dropped_count));
            }
            4 => drop(ring.current.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
    }
}

#[test]
fn reading_child() {
    let Some((dir, argument)) = child() else {
        return;
    };
    let (mut dice, mut rounds) = (Dice(argument), 0);
    let having = [Having::All, Having::All, Having::Some, Having::None][(argument % 4) as usize];
    let reader = options(having).open_reader(dir).unwrap();
    loop {
        let mut looks = Looks {
            having,
            reader: &reader,
            end: reader.end_seq(),
            read_count: 0,
        };
        looks.forward(dice.below(looks.end));
        looks.backward();
        looks.by_seq(&mut dice);
        looks.by_key(&mut dice);
        looks.tail();
        rounds += 1;
        let (read, end) = (looks.read_count, looks.end);
        say(&format!("read {read} {end} {rounds} {}", argument % 4));
    }
}

/// One look at all of the log, in every way. What is below `end` was durable when it began.
struct Looks<'a> {
    having: Having,
    reader: &'a Reader,
    end: Seq,
    read_count: u64,
}

impl Looks<'_> {
    /// Whether it is a record; it is one, or under a key that is not there.
    fn is_record(&mut self, found: Result<Record>) -> Option<Seq> {
        match found {
            Ok(record) => {
                let seq = record.seq();
                assert_eq!(record.to_vec(), payload(seq), "seq {seq}");
                assert_eq!(record.key(), key(seq).as_ref().map(|key| &key[..]));
                self.read_count += 1;
                Some(seq)
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::KeyMissing, "{error}");
                assert_ne!(self.having, Having::All, "{error}");
                None
            }
        }
    }

    /// Whether nothing is left out between one record that is shown and the next; what has a key may be, if
    /// there is a newer one of it.
    fn may_skip(&self, seqs: std::ops::Range<Seq>) {
        for seq in seqs {
            let newer = key(seq).is_some() && seq + 1 < self.reader.end_seq();
            assert!(newer, "seq {seq} is not there");
        }
    }

    fn forward(&mut self, from: Seq) {
        let mut due = from;
        for found in self.reader.scan(from..).unwrap() {
            let Some(seq) = self.is_record(found) else {
                return;
            };
            self.may_skip(due..seq);
            due = seq + 1;
        }
        self.may_skip(due..self.end);
    }

    fn backward(&mut self) {
        let mut due = self.end;
        for found in self.reader.scan(..self.end).unwrap().rev() {
            let Some(seq) = self.is_record(found) else {
                return;
            };
            self.may_skip(seq + 1..due);
            due = seq;
        }
        self.may_skip(0..due);
    }

    fn by_seq(&mut self, dice: &mut Dice) {
        for _ in 0..20 {
            let seq = dice.below(self.end);
            match self.reader.get(seq).transpose() {
                Some(found) => drop(self.is_record(found)),
                None => self.may_skip(seq..seq + 1),
            }
        }
    }

    fn by_key(&mut self, dice: &mut Dice) {
        let wanted = [dice.below(KEYS) as u8];
        let below = self.end.saturating_sub(KEY_DISTANCE_MAX)..self.end;
        let newest = below.rev().find(|seq| key(*seq) == Some(wanted)).unwrap();
        match self.reader.latest(&wanted, ..).transpose() {
            Some(found) => {
                let seq = self.is_record(found);
                assert!(seq.is_none_or(|seq| seq >= newest), "{seq:?} is stale");
            }
            None => panic!("no record has the key {wanted:?}"),
        }
    }

    /// From a little before the end, as far as records are there by now.
    fn tail(&mut self) {
        let mut due = self.end - self.end.min(20);
        let mut tail = self.reader.tail(due);
        while due < self.end {
            let waited = tail.next_timeout(Duration::from_secs(20)).transpose();
            let found = waited.expect("what was durable is there");
            let Some(seq) = self.is_record(found) else {
                return;
            };
            self.may_skip(due..seq);
            due = seq + 1;
        }
    }
}

// The test that watches them. ------------------------------------------------------------------------

/// What the children told.
#[derive(Default)]
struct Told {
    durable: AtomicU64,
    packed: AtomicU64,
    resealed: AtomicU64,
    compacted: AtomicU64,
    /// Looks at all of the log, and records read: with all keys, with some, and with none.
    looks: [AtomicU64; 4],
    read: AtomicU64,
    /// The highest end that a reader was shown.
    shown: AtomicU64,
}

impl Told {
    fn hear(&self, line: &str) {
        let (word, numbers) = parse(line);
        let add = |to: &AtomicU64, count: u64| {
            to.fetch_add(count, Ordering::SeqCst);
        };
        match (word, &numbers[..]) {
            ("opened", [next]) => {
                let durable = self.durable.load(Ordering::SeqCst);
                assert!(
                    *next >= durable,
                    "acknowledged was {durable}, there is {next}"
                );
            }
            ("durable", [next]) => drop(self.durable.fetch_max(*next, Ordering::SeqCst)),
            ("packed", [count]) => add(&self.packed, *count),
            ("resealed", [count]) => add(&self.resealed, *count),
            ("compacted", [count]) => add(&self.compacted, *count),
            ("read", [read, end, _, having]) => {
                add(&self.read, *read);
                add(&self.looks[*having as usize], 1);
                self.shown.fetch_max(*end, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}

/// Lets children of a kind live and die, one after the other, over one log: each for so many times as long as
/// there is something to be seen where nothing else runs.
fn live_and_die(
    test: &str,
    dir: &Path,
    told: &Told,
    numbers: std::ops::Range<u64>,
    seed: u64,
    times: u32,
) {
    let mut dice = Dice(seed);
    for number in numbers {
        let mut child = spawn(test, dir, number);
        let said = lines(&mut child);
        thread::scope(|scope| {
            let listener = scope.spawn(move || said.for_each(|line| told.hear(&line)));
            thread::sleep(Duration::from_millis(20 + dice.below(120)) * times);
            end(child);
            listener.join().unwrap();
        });
    }
}

/// After all that the log is whole, and what is left is what has to be.
fn check(dir: &Path, told: &Told) {
    let end = told.durable.load(Ordering::SeqCst);
    let log = options(Having::All).open(dir).unwrap();
    assert!(log.next_seq() >= end.max(told.shown.load(Ordering::SeqCst)));
    log.close().unwrap();
    let report = options(Having::All).verify(dir).unwrap();
    assert_eq!(report.health(), Health::Clean, "{:?}", report.findings);
    let reader = options(Having::All).open_reader(dir).unwrap();
    let mut looks = Looks {
        having: Having::All,
        reader: &reader,
        end: reader.end_seq(),
        read_count: 0,
    };
    looks.forward(0);
    looks.backward();
}

#[test]
fn does_a_reader_see_the_same_log_while_it_is_written_anew() {
    let wanted = |name: &str| env::var(name).ok().map(|it| it.parse::<u64>().unwrap());
    let (kills, seed) = (
        wanted("CAIRN_KILLS").unwrap_or(KILLS),
        wanted("CAIRN_SEED").unwrap_or(1),
    );
    let (started, mut done) = (Instant::now(), 0);
    let mut sums = [0; 5];
    let mut looks = [0; 4];
    let is_enough = |sums: &[u64; 5], looks: &[u64; 4]| {
        let [durable, read, packed, resealed, compacted] = *sums;
        let written = durable > 2 * kills && packed > 0 && resealed > 0 && compacted > 0;
        written && read > 20 * kills && looks.iter().all(|count| *count > 0)
    };
    // Where the machine is busy, children of these ages have done nothing yet: others get older.
    while done < kills || !is_enough(&sums, &looks) && started.elapsed() < PATIENCE {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (path, told) = (dir.path().join("log"), Told::default());
        let log = Log::open(&path).unwrap();
        (0..CLEAR_COUNT).for_each(|_| append(&log, 1));
        log.close().unwrap();
        let numbers = seed * 10_000 + done..seed * 10_000 + done + KILLS_PER_LOG;
        let times = u32::try_from(1 + done / kills.max(1)).unwrap();
        thread::scope(|scope| {
            for (test, seed) in [
                ("writing_child", seed ^ done),
                ("reading_child", !(seed ^ done)),
            ] {
                let (path, told, numbers) = (&path, &told, numbers.clone());
                scope.spawn(move || live_and_die(test, path, told, numbers, seed, times));
            }
        });
        check(&path, &told);
        let of = [
            &told.durable,
            &told.read,
            &told.packed,
            &told.resealed,
            &told.compacted,
        ];
        for (sum, count) in sums.iter_mut().zip(of) {
            *sum += count.load(Ordering::SeqCst);
        }
        for (sum, count) in looks.iter_mut().zip(&told.looks) {
            *sum += count.load(Ordering::SeqCst);
        }
        done += KILLS_PER_LOG;
    }
    let [durable, read, packed, resealed, compacted] = sums;
    println!(
        "{durable} records; {packed} runs packed, {resealed} resealed, {compacted} records compacted away; \
         {read} records read in {looks:?} looks (all keys twice, some, none), {:?}",
        started.elapsed()
    );
    assert!(is_enough(&sums, &looks), "nothing was tested");
}
