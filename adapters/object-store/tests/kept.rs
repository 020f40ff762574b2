//! Is every moment kept as long as was said, and no longer, whoever copies on?

mod common;

use cairnlog::{Log, vfs::sim::SimFs};
use cairnlog_object_store::{Copier, CopyOptions, Moment, RemoteOptions, Store, To};
use common::{Shown, on, shown, store};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

/// A writer that copies so often, with something new each time, and deletes what may be. Gives the moments, and what they show.
fn copy(log: &Log, store: &Store, keep: Duration, times: u64) -> Vec<(Moment, Vec<Shown>)> {
    let how = CopyOptions::new().keep(keep);
    let mut copier = Copier::start(log.stored().unwrap(), store, how).unwrap();
    let step = |_| {
        log.append(format!("value {} ", log.next_seq()).repeat(20))
            .unwrap();
        // What is rewound is in the moments of before alone.
        let next = log.next_seq();
        if next.is_multiple_of(7) {
            log.rewind(next - 3).unwrap();
        }
        while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
        assert!(copier.step().unwrap());
        while copier.collect().unwrap() {}
        (copier.moment().unwrap(), shown(&log.reader()))
    };
    (0..times).map(step).collect()
}

fn check(store: &Store, moments: &[(Moment, Vec<Shown>)]) {
    for (moment, records) in moments {
        let how = RemoteOptions::new().to(To::Moment(moment.number));
        assert_eq!(shown(&how.open(store).unwrap()), *records, "{moment:?}");
    }
}

#[test]
fn is_a_moment_kept_by_the_writer_that_made_it() {
    let disk = SimFs::new(1);
    let (store, _) = store();
    let log = on(&disk).open("/log").unwrap();
    let moments = copy(&log, &store, LONG, 40);
    assert_eq!(store.moments().unwrap().len(), 40);
    check(&store, &moments);
}

#[test]
fn is_a_moment_kept_by_the_writers_behind_the_one_that_made_it() {
    let disk = SimFs::new(2);
    let (store, _) = store();
    let log = on(&disk).open("/log").unwrap();
    let mut moments = copy(&log, &store, LONG, 20);
    moments.extend(copy(&log, &store, LONG, 20));
    check(&store, &moments);
    // And who is to keep nothing keeps the newest few.
    copy(&log, &store, Duration::ZERO, 2);
    assert_eq!(store.moments().unwrap().len(), 16);
    let newest = moments.split_off(moments.len() - 10);
    check(&store, &newest);
    let gone = RemoteOptions::new().to(To::Moment(moments[0].0.number));
    assert!(gone.open(&store).is_err());
}
