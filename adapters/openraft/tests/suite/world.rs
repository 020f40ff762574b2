//! The disk under a store that is opened again before each step, and what befalls it: a clean end, a power cut, a power
//! cut in the midst of a step, a sync that fails.

use cairnlog::{
    Log,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs, SyncFailure},
};
use std::{io, sync::Arc};

/// How one step ended.
pub enum Ended<T> {
    Well(T),
    /// Nobody was told that it was done. It is to be done again.
    Badly,
}

/// A disk, and the chance.
pub struct World {
    disk: SimFs,
    random: u64,
    /// What befell it: steps that ended well, power cuts between, cuts within, failed syncs.
    pub counts: [u64; 4],
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            disk: SimFs::new(seed),
            random: seed | 1,
            counts: [0; 4],
        }
    }

    fn chance(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn open(&self) -> io::Result<Log> {
        let options = Log::options().vfs(Arc::new(self.disk.clone()));
        Ok(options.segment_bytes(8192).background(false).open("/log")?)
    }

    /// Opens the log after whatever befell it since, and does one step with it.
    pub async fn step<T>(&mut self, step: impl AsyncFnOnce(Log) -> io::Result<T>) -> Ended<T> {
        let which = self.chance(8);
        let log = self.open().expect("what was durable opens");
        let (before, outcome) = (self.disk.op_count(), {
            if which == 0 {
                let nth = self.chance(3);
                let lost = [SyncFailure::CacheKeepsNew, SyncFailure::CacheShowsOld]
                    [self.chance(2) as usize];
                let fault = Fault::Sync(Errno::Eio, lost);
                self.disk.fail(FaultRule::nth(OpKind::Sync, nth, fault));
            }
            step(log.clone()).await
        });
        self.disk.clear_faults();
        let within = self.disk.op_count() - before;
        match outcome {
            Err(error) => {
                assert_eq!(which, 0, "{error}\n{}", records(&log));
                self.counts[3] += 1;
                drop(log);
                self.cut_power();
                Ended::Badly
            }
            Ok(_) if (1..3).contains(&which) && within > 0 => {
                // As if the power had failed within it, before anybody was told.
                let seed = self.chance(u64::MAX);
                let at = before + self.chance(within);
                let disk = self.disk.crash_at(at).random(seed);
                drop(log);
                self.disk = disk;
                self.counts[2] += 1;
                Ended::Badly
            }
            Ok(done) => {
                self.counts[0] += 1;
                if which < 6 {
                    self.disk.power_cut();
                    drop(log);
                    self.cut_power();
                    self.counts[1] += 1;
                } else {
                    log.close().expect("it closes");
                    drop(log);
                }
                Ended::Well(done)
            }
        }
    }

    fn cut_power(&mut self) {
        self.disk.power_cut();
        let seed = self.chance(u64::MAX);
        self.disk = self.disk.reboot(seed);
    }
}

/// What is in a log, for who wants to know why a step failed.
fn records(log: &Log) -> String {
    let mut out = format!("head {}, marks {:?}\n", log.head_seq(), log.marks());
    for record in log.scan(..).unwrap() {
        let record = record.unwrap();
        let index = record
            .value()
            .and_then(|value| value.get(1..9))
            .map(<[u8]>::to_vec);
        out += &format!("{} {index:?}\n", record.seq());
    }
    out
}

/// How often the suite is gone through: `CAIRN_RAFT_ROUNDS`, one by default.
pub fn rounds() -> u64 {
    let wanted = std::env::var("CAIRN_RAFT_ROUNDS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Everything that can befall a store has.
pub fn check_counts(counts: Vec<[u64; 4]>) {
    let sum = |at: usize| counts.iter().map(|it| it[at]).sum::<u64>();
    let [well, between, within, failed] = [0, 1, 2, 3].map(sum);
    println!(
        "{well} steps, {between} power cuts between and {within} within them, {failed} failed syncs"
    );
    assert!(counts.len() > 30 && well > 300 && between > 200 && within > 50 && failed > 5);
}
