//! Is a log that was put back from an earlier day, and went on otherwise, copied as it is?
//!
//! It goes on in the very files in which it had gone on before, under the same ids and salts. What the store had of the first
//! continuation was taken for bytes of the second: what was restored had records of both, or did not verify.

mod common;

use cairnlog::{Health, Log, Maintained, vfs::sim::SimFs};
use cairnlog_object_store::{Copier, CopyOptions, RemoteReader, Store};
use common::{Dice, on, shown, store};

/// Appends so many records, all of one length, which say by whom; some are rewound.
fn go_on(disk: &SimFs, dice: &mut Dice, by: char, count: u64) -> Log {
    let log = on(disk).open("/log").unwrap();
    for _ in 0..count {
        let line = format!("{by} {:08} ", log.next_seq());
        log.append(line.repeat(20)).unwrap();
        if dice.below(30) == 0 {
            let next = log.next_seq();
            log.rewind(next - dice.below(3).min(next)).unwrap();
        }
        while log.maintain().unwrap() != Maintained::Nothing {}
    }
    log
}

fn copy(log: &Log, store: &Store, disk: &SimFs) {
    let options = CopyOptions::new().clock(std::sync::Arc::new(disk.clone()));
    let mut copier = Copier::start(log.stored().unwrap(), store, options).unwrap();
    copier.step().unwrap();
    let far = RemoteReader::open(store).unwrap();
    assert_eq!(shown(&far), shown(&log.reader()));
    assert_eq!(far.verify().unwrap().health(), Health::Clean);
}

#[test]
fn is_what_was_put_before_taken_for_what_is_there_now() {
    for seed in 1..60 {
        let mut dice = Dice(seed);
        let (store, _) = store();
        let disk = SimFs::new(seed);
        let mut count = || dice.below(60);
        let counts = [count(), count(), count(), count()];
        let log = go_on(&disk, &mut dice, 'a', counts[0] + 1);
        copy(&log, &store, &disk);
        log.close().unwrap();
        let put_back = disk.snapshot();
        let log = go_on(&disk, &mut dice, 'b', counts[1]);
        copy(&log, &store, &disk);
        drop(log);
        let log = go_on(&put_back, &mut dice, 'c', counts[2]);
        copy(&log, &store, &put_back);
        drop(log);
        // And on from there.
        let log = go_on(&put_back, &mut dice, 'd', counts[3]);
        copy(&log, &store, &put_back);
    }
}
