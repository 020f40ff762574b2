//! Whatever one request of a history meets: is what was told to be in the store there, and is it the log?
//!
//! Each request meets one kind of fault, in turn; with `CAIRN_FAULTS=all` each of the six.

mod common;

use cairnlog::{AppendOptions, NewRecord, vfs::sim::SimFs};
use cairnlog_object_store::{Copier, CopyOptions, Error, RestoreOptions, Store, To};
use common::{
    faulty::{FAULTS, Fault},
    on, shown, store,
};
use std::{sync::Arc, time::Duration};

/// Steps until there is nothing new. A writer that is alone is never fenced off.
fn copy(copier: &mut Copier) -> u64 {
    for _ in 0..10 {
        match copier.step().and_then(|_| copier.collect()) {
            Ok(_) => return copier.end_seq(),
            Err(Error::Store { .. } | Error::TimedOut { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it does not recover");
}

fn start(log: &cairnlog::Log, store: &Store) -> Copier {
    let options = CopyOptions::new().keep(Duration::ZERO);
    for _ in 0..10 {
        match Copier::start(log.stored().unwrap(), store, options.clone()) {
            Ok(copier) => return copier,
            Err(Error::Store { .. } | Error::TimedOut { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it does not start");
}

/// The history: two writers one after the other, rotation, trim, restore. Gives how many requests it took.
fn history(fault: Fault, at: u64) -> u64 {
    let disk = SimFs::new(7);
    let (store, faulty) = store();
    let store = store.timeout(Duration::from_millis(30));
    faulty.plan(move |number| if number == at { fault } else { Fault::None });
    let log = on(&disk).open("/log").unwrap();
    for _ in 0..2 {
        let mut copier = start(&log, &store);
        for round in 0..10 {
            let value = format!("record {} ", log.next_seq()).repeat(20);
            let records = vec![NewRecord::value(value.as_bytes()); 4];
            log.append_records(&records, &AppendOptions::new()).unwrap();
            while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
            if round == 7 {
                log.trim(log.next_seq() - 10).unwrap();
            }
            assert_eq!(copy(&mut copier), log.next_seq());
        }
    }
    let options = RestoreOptions::new()
        .log(on(&disk))
        .vfs(Arc::new(disk.clone()));
    for attempt in 0.. {
        match options.restore(&store, "/restored", To::Latest) {
            Ok(_) => break,
            Err(error) => assert!(attempt < 3, "{error}"),
        }
    }
    let restored = on(&disk).open("/restored").unwrap();
    assert_eq!(shown(&restored.reader()), shown(&log.reader()));
    faulty.request_count()
}

#[test]
fn is_every_fault_at_every_request_overcome() {
    let count = history(Fault::None, u64::MAX);
    let all = std::env::var_os("CAIRN_FAULTS").is_some();
    for at in 0..count {
        for (kind, fault) in FAULTS.into_iter().enumerate() {
            if all || at % 6 == kind as u64 {
                history(fault, at);
            }
        }
    }
}
