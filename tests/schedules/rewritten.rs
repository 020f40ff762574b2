//! Is there a bad schedule for whoever reads while segments are packed, or sealed under another key, and swapped?

use crate::{appender, check, explore, options};
use cairnlog::{
    Compression, ErrorKind, Key, KeyId, KeyProvider, Log, Options, PackOptions, ResealOptions,
    vfs::sim::SimFs,
};
use shuttle::thread;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Keys with numbers from 1; the highest is current.
#[derive(Debug)]
struct Ring(AtomicU64);

impl KeyProvider for Ring {
    fn current(&self) -> KeyId {
        KeyId(self.0.load(Ordering::SeqCst))
    }

    fn key(&self, id: KeyId) -> Option<Key> {
        (id <= self.current()).then(|| Key::new([id.0 as u8; 32]))
    }
}

fn sealed(disk: &SimFs, ring: &Arc<Ring>) -> Options {
    options(disk).keys(ring.clone())
}

/// Everything, dense from the first, by walks in both directions and one by one; gives how much that is.
fn look(log: &Log) -> u64 {
    let seqs = |found: Vec<cairnlog::Result<cairnlog::Record>>| -> Vec<u64> {
        found.into_iter().map(|it| it.unwrap().seq()).collect()
    };
    let forward = seqs(log.scan(..).unwrap().collect());
    assert!(forward.iter().copied().eq(0..forward.len() as u64));
    let backward = seqs(log.scan(..).unwrap().rev().collect());
    assert!(backward.len() >= forward.len());
    assert!(backward.iter().rev().copied().eq(0..backward.len() as u64));
    for seq in &forward {
        assert!(log.get(*seq).unwrap().is_some(), "seq {seq}");
    }
    forward.len() as u64
}

/// What is swapped says the same as what it replaces; and who appends meanwhile, under the new key or the old,
/// loses nothing.
#[test]
fn a_log_that_is_packed_and_resealed_shows_every_record() {
    explore(|| {
        let (disk, ring) = (SimFs::new(31), Arc::new(Ring(AtomicU64::new(1))));
        let log = sealed(&disk, &ring).open("log").unwrap();
        let mut acked: Vec<_> = (0..4_u8).map(|at| (u64::from(at), vec![0; 60])).collect();
        for (seq, value) in &acked {
            assert_eq!(log.append(value).unwrap(), *seq);
        }
        log.rotate().unwrap();
        let rewriter = {
            let (log, ring) = (log.clone(), ring.clone());
            thread::spawn(move || {
                if Compression::Lz4.is_built() {
                    let how = PackOptions::new(Compression::Lz4).rate_bytes_per_s(None);
                    log.pack(&how).unwrap();
                }
                ring.0.fetch_add(1, Ordering::SeqCst);
                log.rotate().unwrap();
                log.reseal(&ResealOptions::new().rate_bytes_per_s(None))
                    .unwrap();
            })
        };
        let appenders = [appender(&log, 1, 2), appender(&log, 2, 2)];
        let reader = {
            let log = log.clone();
            thread::spawn(move || assert!(look(&log) >= 4))
        };
        // One that shares nothing with the log but the files, and stays with the keys of before.
        let other = {
            let (disk, old) = (disk.clone(), Arc::new(Ring(AtomicU64::new(1))));
            thread::spawn(move || {
                let reader = sealed(&disk, &old).open_reader("log").unwrap();
                for (at, found) in reader.scan(..).unwrap().enumerate() {
                    match found {
                        Ok(record) => assert_eq!(record.seq(), at as u64),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::KeyMissing, "{error}"),
                    }
                }
            })
        };
        for appender in appenders {
            acked.extend(appender.join().unwrap());
        }
        for thread in [rewriter, reader, other] {
            thread.join().unwrap();
        }
        check(&log, &acked);
        assert_eq!(look(&log), 8);
        let in_use = log.reader().keys_in_use().unwrap();
        assert!(in_use.keys().all(|id| id.is_some()), "{in_use:?}");
        drop(log);
        let log = sealed(&disk.reboot(32), &ring).open("log").unwrap();
        check(&log, &acked);
    });
}
