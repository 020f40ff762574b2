//! Model histories: appends, batches, keys, compaction, trim, rewind, cursors, segments that are let go of, crashes of writer and replicator, two
//! replicators that fight over one store, a store that fails. Is every moment that the store lists the log as it was
//! then, and does restoring survive power cuts?
//!
//! `CAIRN_HISTORIES` says how many, `CAIRN_SEED` from which seed on: `CAIRN_HISTORIES=1000 cargo test -p
//! cairnlog-object-store --release --test histories`.

mod common;

use cairnlog::{
    AppendOptions, CompactOptions, ErrorKind, Log, NewRecord, Producer, Seq,
    vfs::{Vfs, sim::SimFs},
};
use cairnlog_object_store::{
    Copier, CopyOptions, Error, Moment, RestoreOptions, Store, StoreSegments, To,
};
use common::{
    Dice, Shown,
    faulty::{FAULTS, Fault, Faulty},
    on, shown, store,
};
use std::{
    env,
    ops::RangeInclusive,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// What the log was at one moment.
#[derive(Clone, Debug, PartialEq)]
struct Was {
    records: Vec<Shown>,
    next_seq: Seq,
    cursor: Seq,
    /// The last append of the producer: its number, which is its first seq, and how many records it had.
    last: Option<(Seq, usize)>,
}

/// With what lives in the store alone.
fn open(disk: &SimFs, store: &Store) -> Log {
    let far = StoreSegments::new(store);
    on(disk).far_segments(far).open("/log").unwrap()
}

struct World {
    dice: Dice,
    disk: SimFs,
    log: Option<Log>,
    store: Store,
    faulty: Arc<Faulty>,
    /// Whether the store fails: while something is copied, and not while the log reads what lives there alone.
    fails: Arc<AtomicBool>,
    copiers: [Option<Copier>; 2],
    /// What the log was whenever it was copied, and from when to when that took: a commit says when it was made.
    was: Vec<(RangeInclusive<i64>, Was)>,
    /// What was told to be in the store.
    told: Seq,
    last: Option<(Seq, usize)>,
    /// Segments that were let go of.
    released: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimFs::new(seed);
        let (store, faulty) = store();
        let store = store.timeout(Duration::from_millis(50));
        let log = open(&disk, &store);
        let mut chance = Dice(seed ^ 0x5eed);
        let fails = Arc::new(AtomicBool::new(false));
        let now = fails.clone();
        faulty.plan(move |_| match chance.below(40) {
            0 if now.load(Relaxed) => match FAULTS[chance.below(6) as usize] {
                // Each of these costs a timeout: rarely.
                Fault::Lost | Fault::DoneAndLost if chance.below(8) > 0 => Fault::DoneAndError,
                fault => fault,
            },
            _ => Fault::None,
        });
        Self {
            dice: Dice(seed),
            disk,
            log: Some(log),
            store,
            faulty,
            fails,
            copiers: [None, None],
            was: Vec::new(),
            told: 0,
            last: None,
            released: 0,
        }
    }

    fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    fn was_now(&self) -> Was {
        let log = self.log();
        let cursors = log.cursors().unwrap();
        Was {
            records: shown(&log.reader()),
            next_seq: log.next_seq(),
            cursor: cursors.first().map_or(0, |it| it.seq),
            last: self.last,
        }
    }

    fn act(&mut self) {
        match self.dice.below(22) {
            0..=6 => self.append(),
            7 => self.log().rotate().unwrap(),
            8 => {
                let keys = CompactOptions::new().rate_bytes_per_s(None);
                self.log().compact(&keys).unwrap();
            }
            9 => {
                let (head, next) = (self.log().head_seq(), self.log().next_seq());
                let to = head + self.dice.below(next - head + 1) / 2;
                self.log().trim(to).unwrap();
            }
            10 => {
                let (head, next) = (self.log().head_seq(), self.log().next_seq());
                let to = next - self.dice.below((next - head).min(20) + 1);
                self.log().rewind(to).unwrap();
                self.last = None;
            }
            11 => {
                let next = self.log().next_seq();
                let to = self.dice.below(next + 1).max(self.log().head_seq());
                drop(self.log().consumer("reader").unwrap());
                self.log().set_cursor("reader", to).unwrap();
            }
            12 => self.crash_writer(),
            13 => {
                let which = self.dice.below(2) as usize;
                self.copiers[which] = None;
            }
            14 | 15 => self.release(),
            _ => self.step(),
        }
        while self.log().maintain().unwrap() != cairnlog::Maintained::Nothing {}
        self.disk
            .advance(Duration::from_millis(self.dice.below(50)));
    }

    fn append(&mut self) {
        let count = 1 + self.dice.below(5);
        let first = self.log().next_seq();
        let dice = &mut self.dice;
        let records: Vec<_> = (first..first + count)
            .map(|seq| {
                (
                    format!("{seq} ").repeat(1 + dice.below(60) as usize),
                    dice.below(9),
                )
            })
            .collect();
        let records: Vec<_> = records
            .iter()
            .map(|(value, key)| match key {
                0..=3 => NewRecord::keyed(&b"abcd"[*key as usize..][..1], value),
                4 => NewRecord::tombstone(&b"a"[..]),
                _ => NewRecord::value(value),
            })
            .collect();
        let by = Producer {
            id: 1,
            epoch: 0,
            number: first,
        };
        let how = AppendOptions::new().producer(by);
        assert_eq!(
            self.log().append_records(&records, &how).unwrap().start,
            first
        );
        self.last = Some((first, records.len()));
    }

    fn crash_writer(&mut self) {
        // The writer's own way down must not count: what is after the cut is what was before.
        let after = self
            .disk
            .crash_at(u64::MAX)
            .random(self.dice.below(1 << 30));
        self.copiers = [None, None];
        drop(self.log.take());
        self.disk = after;
        self.log = Some(open(&self.disk, &self.store));
    }

    fn step(&mut self) {
        let which = self.dice.below(4).saturating_sub(2) as usize;
        if self.copiers[which].is_none() {
            let clock: Arc<dyn Vfs> = Arc::new(self.disk.clone());
            let keep = Duration::from_secs(3600 * self.dice.below(2));
            let options = CopyOptions::new().clock(clock).keep(keep);
            match Copier::start(self.log().stored().unwrap(), &self.store, options) {
                Ok(copier) => self.copiers[which] = Some(copier),
                Err(error) => return check(&error),
            }
        }
        let was = self.was_now();
        let copier = self.copiers[which].as_mut().unwrap();
        let begun = self.disk.unix_time_ms();
        self.fails.store(true, Relaxed);
        let stepped = copier.step();
        self.was
            .push((begun..=self.disk.unix_time_ms(), was.clone()));
        match stepped {
            Ok(_) => {
                assert_eq!(copier.end_seq(), was.next_seq);
                self.told = was.next_seq;
                if self.dice.below(3) == 0
                    && let Err(error) = copier.collect()
                {
                    check(&error);
                }
            }
            Err(error) => {
                check(&error);
                if matches!(error, Error::Fenced { .. }) {
                    self.copiers[which] = None;
                }
            }
        }
        self.fails.store(false, Relaxed);
    }

    /// Has the log let go of some of its oldest segments, by a copier that may have been replaced since.
    fn release(&mut self) {
        let which = self.dice.below(2) as usize;
        let segments = self.log().segments().unwrap();
        let count = self.dice.below(4) as usize;
        let here = segments.iter().filter(|it| it.is_sealed && !it.is_far);
        let ids: Vec<_> = here.map(|it| it.id).take(count).collect();
        let was = self.was_now();
        let (Some(log), Some(copier)) = (&self.log, &mut self.copiers[which]) else {
            return;
        };
        let begun = self.disk.unix_time_ms();
        self.fails.store(true, Relaxed);
        let released = copier.release(log, &ids);
        self.fails.store(false, Relaxed);
        // A commit may have been made, with whatever else is new.
        self.was.push((begun..=self.disk.unix_time_ms(), was));
        match released {
            Ok(report) => self.released += report.segments.len(),
            // It was read back from a store that fails.
            Err(Error::Log(error)) if error.kind() == ErrorKind::Io => {}
            Err(error) => check(&error),
        }
    }

    /// Restores a moment onto a disk of its own, which loses power now and then.
    fn restore(&mut self, to: To) -> Log {
        let mut disk = SimFs::new(self.dice.below(1 << 30));
        disk.write_file(Path::new("/there"), b"");
        if self.dice.below(2) == 0 {
            // How far it comes at the first try is left to chance, and the next goes on with what is left.
            self.restore_on(&disk, to);
            let cut = disk.crash_at(self.dice.below(disk.op_count() + 1));
            disk = cut.random(self.dice.below(1 << 30));
            if let Ok(log) = on(&disk).create(false).open("/restored") {
                return log; // It was done; else it is no log.
            }
        }
        self.restore_on(&disk, to);
        on(&disk).open("/restored").unwrap()
    }

    fn restore_on(&self, disk: &SimFs, to: To) {
        let options = RestoreOptions::new()
            .log(on(disk))
            .vfs(Arc::new(disk.clone()));
        options.restore(&self.store, "/restored", to).unwrap();
    }

    fn check_all(&mut self) {
        self.faulty.plan(|_| Fault::None);
        let moments = self.store.moments().unwrap();
        let Some(newest) = moments.last().copied() else {
            return;
        };
        assert!(newest.end_seq >= self.told, "what was told is not there");
        for _ in 0..3 {
            let number = self.dice.below(moments.len() as u64) as usize;
            self.check(&moments, number);
        }
        self.check(&moments, moments.len() - 1);
        let seq = newest.end_seq - self.dice.below(10).min(newest.end_seq);
        let found = moments.iter().position(|it| it.end_seq >= seq).unwrap();
        if moments[found].head_seq <= seq {
            let restored = shown(&self.restore(To::Seq(seq)).reader());
            let below = |was: &Was| -> Vec<_> {
                was.records
                    .iter()
                    .filter(|it| it.0 < seq)
                    .cloned()
                    .collect()
            };
            let all = self.fitting(&moments, found);
            let seqs = |records: &[Shown]| records.iter().map(|it| it.0).collect::<Vec<_>>();
            assert!(
                all.iter().any(|was| below(was) == restored),
                "cut at {seq}: {:?}, not {:?}, of {:?}",
                seqs(&restored),
                all.iter().map(|it| seqs(&it.records)).collect::<Vec<_>>(),
                moments[found],
            );
        }
    }

    /// What the log may have been at a moment: what it was when the commit was made, or, if a new writer made that by
    /// taking over, at the moment before.
    fn fitting(&self, moments: &[Moment], mut number: usize) -> Vec<Was> {
        while number > 0 && moments[number - 1].epoch != moments[number].epoch {
            number -= 1;
        }
        let time = moments[number].taken_ms;
        let those = |fits: &dyn Fn(&RangeInclusive<i64>) -> bool| -> Vec<Was> {
            self.was
                .iter()
                .filter(|it| fits(&it.0))
                .map(|it| it.1.clone())
                .collect()
        };
        // Of the oldest it is not known whether a new writer made it; and no commit is made before the one before it,
        // whatever the clock says after a crash.
        match those(&|at| at.contains(&time)) {
            exact if number > 0 && !exact.is_empty() => exact,
            _ => those(&|at| *at.start() <= time),
        }
    }

    fn check(&mut self, moments: &[Moment], number: usize) {
        let log = self.restore(To::Moment(moments[number].number));
        let all = self.fitting(moments, number);
        let (records, next_seq) = (shown(&log.reader()), log.next_seq());
        let mut fitting = all
            .iter()
            .filter(|it| it.records == records && it.next_seq == next_seq);
        let was = fitting.next_back().unwrap_or_else(|| {
            let seqs = |records: &[Shown]| records.iter().map(|it| it.0).collect::<Vec<_>>();
            let all: Vec<_> = all
                .iter()
                .map(|it| (it.next_seq, seqs(&it.records)))
                .collect();
            panic!(
                "{:?} shows up to {next_seq} {:?}, of {all:?}",
                moments[number],
                seqs(&records)
            )
        });
        let cursor = log.cursors().unwrap().first().map_or(0, |it| it.seq);
        assert!(cursor <= was.next_seq);
        if let Some((first, count)) = was.last {
            let by = Producer {
                id: 1,
                epoch: 0,
                number: first,
            };
            let how = AppendOptions::new().producer(by);
            let again = log
                .append_records(&vec![NewRecord::value("again"); count], &how)
                .unwrap();
            assert_eq!(again.start, first, "a repeat was taken for new");
        }
        assert_eq!(log.append("goes on").unwrap(), next_seq);
        log.close().unwrap();
    }
}

/// What may go wrong where stores fail and writers fight.
fn check(error: &Error) {
    let is_expected = matches!(
        error,
        Error::Store { .. } | Error::TimedOut { .. } | Error::Fenced { .. }
    );
    assert!(is_expected, "{error}");
}

#[test]
fn is_every_moment_in_the_store_the_log_as_it_was() {
    let (count, seed) = (number("CAIRN_HISTORIES", 12), number("CAIRN_SEED", 1));
    let mut released = 0;
    for seed in seed..seed + count {
        eprintln!("CAIRN_SEED={seed}");
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.act();
        }
        world.check_all();
        released += world.released;
    }
    assert!(
        released as u64 >= count / 2,
        "{released} segments were let go of"
    );
}
