//! How many callers does a leader wait for?
//!
//! Callers that a sync released were counted when the group was settled, together with those in the
//! queue by then: whoever was quick was in both. With eight threads the count came to fifteen, and
//! every leader waited as long as it may for callers that there were not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::{Appender, NewRecord};
use crate::{options::Options, recover, vfs::Dir};
use std::time::{Duration, Instant};

const THREADS: usize = 8;

#[test]
fn is_nobody_counted_twice_whom_the_next_group_should_wait_for() {
    let dir = tempfile::tempdir().unwrap();
    // Without the worker, who would be one more when it leads.
    let options = Options::new().background(false);
    let dir = Dir::new(options.vfs.clone(), &dir.path().join("log"));
    let (parts, _, lock) = recover::open(&dir, options).unwrap();
    let appender = Appender::new(parts, lock, None).unwrap();
    let deadline = Instant::now() + Duration::from_millis(300);
    let most = std::thread::scope(|scope| {
        let append = || {
            let mut most = 0;
            while Instant::now() < deadline {
                let record = NewRecord::value(b"hello");
                appender.append(&[record], &Default::default()).unwrap();
                most = most.max(appender.core.lock().pace.company());
            }
            most
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(append)).collect();
        let most = threads.into_iter().map(|thread| thread.join().unwrap());
        most.max().unwrap()
    });
    assert!((2..=THREADS).contains(&most), "{most} of {THREADS} threads");
}

/// The worker did for tasks whatever they asked, before it wrote what others had queued: four consumers
/// that acknowledged without end kept appends waiting for minutes. Nothing that is due has a second turn
/// before everything else that is due has had one.
#[cfg(feature = "async")]
#[test]
fn do_errands_and_appends_take_turns_however_many_there_are() {
    use super::{
        AppendOptions,
        agenda::{Agenda, Duty},
        errand::Errand,
    };
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().background(false);
    let dir = Dir::new(options.vfs.clone(), &dir.path().join("log"));
    let (parts, _, lock) = recover::open(&dir, options).unwrap();
    let appender = Appender::new(parts, lock, None).unwrap();
    // Nobody waits for it with a thread, so it is the worker's.
    let ticket = appender.submit(&[NewRecord::value(b"hello")], &AppendOptions::new());
    let mut state = appender.core.lock();
    (0..20).for_each(|_| state.duties.send(Errand::new(|| {})));
    let mut agenda = Agenda::default();
    let mut next = || match appender.core.next_duty(&mut state, &mut agenda, None) {
        Duty::Errand(_) => Some("errand"),
        Duty::Lead => Some("lead"),
        _ => None,
    };
    let turns: Vec<&str> = std::iter::repeat_with(&mut next)
        .take(40)
        .flatten()
        .collect();
    assert!(turns.len() >= 20, "{turns:?}");
    for pair in turns.windows(2) {
        assert_ne!(pair.first(), pair.last(), "{turns:?}");
    }
    drop(state);
    assert_eq!(ticket.unwrap().wait().unwrap(), 0..1);
}
