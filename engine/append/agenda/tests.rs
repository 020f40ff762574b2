//! What does the worker do next, and when is there something again?
//!
//! The worker is the test, and the clock is the simulated disk's: so each answer is exact, and what is put
//! off, forgotten or done over and over shows. A worker that looked for work all the time was seen by
//! nobody but a processor.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use super::{Agenda, Duty};
use crate::{
    append::{AppendOptions, Appender, NewRecord, ahead::Ahead},
    error::{Error, ErrorKind, Op},
    options::{Durability, Options},
    recover,
    types::SegmentId,
    vfs::{
        Dir,
        sim::{Errno, Fault, FaultRule, OpKind, SimFs},
    },
};
use std::{path::Path, sync::Arc, time::Duration};

const FIRST: SegmentId = SegmentId(1);

struct Desk {
    disk: SimFs,
    appender: Appender,
    agenda: Agenda,
}

impl Desk {
    /// Without thread of its own, and with nothing to fill ahead unless appends are durable.
    fn new(level: Durability) -> Self {
        let disk = SimFs::new(1);
        let options = Options::new().vfs(Arc::new(disk.clone()));
        let options = options.background(false).publish(false).durability(level);
        let options = options.segment_bytes(8 << 20);
        let dir = Dir::new(options.vfs.clone(), Path::new("/log"));
        let (parts, _, lock) = recover::open(&dir, options).unwrap();
        let appender = Appender::new(parts, lock, None).unwrap();
        let agenda = Agenda::default();
        Self {
            disk,
            appender,
            agenda,
        }
    }

    fn put(&self, level: Durability) {
        let how = AppendOptions::new().durability(level);
        // Nobody waits for it.
        self.appender
            .submit(&[NewRecord::value(b"hello")], &how)
            .ok();
    }

    fn duty(&mut self, leave_after_ms: Option<u64>) -> Duty {
        let core = &self.appender.core;
        let now = core.dir.vfs().monotonic();
        let leave_at = leave_after_ms.map(|ms| now + Duration::from_millis(ms));
        core.next_duty(&mut core.lock(), &mut self.agenda, leave_at)
    }

    fn next(&mut self) -> String {
        words(&self.duty(None))
    }

    /// That nothing is due before so many milliseconds have passed, and this then; and does it.
    fn after(&mut self, ms: u64, what: &str) {
        if ms > 0 {
            assert_eq!(self.next(), format!("in {ms} ms"), "until {what}");
            self.advance(ms - 1);
            assert_eq!(self.next(), "in 1 ms", "until {what}");
            self.advance(1);
        }
        let duty = self.duty(None);
        assert_eq!(words(&duty), what);
        let core = self.appender.core.clone();
        match duty {
            Duty::Lead => drop(core.lead(core.lock())),
            duty => core.take(duty, &mut self.agenda),
        }
    }

    fn advance(&self, ms: u64) {
        self.disk.advance(Duration::from_millis(ms));
    }

    fn fail(&self, kind: OpKind, errno: Errno) {
        self.disk.fail(FaultRule::nth(kind, 0, Fault::Error(errno)));
    }
}

fn words(duty: &Duty) -> String {
    match duty {
        Duty::Wait(None) => "nothing".into(),
        // Looking at the clock takes a little time too.
        Duty::Wait(Some(time)) => format!("in {} ms", time.as_millis() + 1),
        duty => format!("{duty:?}"),
    }
}

/// Of each append there is something left to do until the log says of itself how far it is durable; and
/// then nothing, for ever.
#[test]
fn what_is_left_to_do_of_an_append() {
    let mut desk = Desk::new(Durability::Buffered);
    assert_eq!(desk.next(), "nothing");
    desk.put(Durability::Buffered);
    desk.advance(4);
    desk.put(Durability::Buffered);
    desk.after(6, "Lead");
    desk.advance(600);
    desk.put(Durability::Written);
    desk.after(0, "Lead");
    desk.after(400, "Sync");
    desk.after(100, "MarkIdle");
    assert_eq!(desk.next(), "nothing");
    desk.put(Durability::Durable);
    desk.after(0, "Lead");
    desk.after(100, "MarkIdle");
    assert_eq!(desk.next(), "nothing");
    assert_eq!(desk.appender.core.durable_seq(), 4);
}

/// While one leads, who leads hands on what is due; what is to come is waited for all the same.
#[test]
fn what_is_due_while_another_leads() {
    let mut desk = Desk::new(Durability::Buffered);
    let core = desk.appender.core.clone();
    desk.put(Durability::Buffered);
    core.lock().queue.take_lead();
    assert_eq!(desk.next(), "in 10 ms");
    desk.advance(10);
    assert_eq!(desk.next(), "nothing");
    core.lock().queue.leave_lead();
    desk.after(0, "Lead");
    desk.put(Durability::Durable);
    core.lock().queue.take_lead();
    assert_eq!(desk.next(), "in 1000 ms", "of what was written");
    core.lock().queue.leave_lead();
    desk.after(0, "Lead");
    core.lock().queue.take_lead();
    assert_eq!(desk.next(), "in 100 ms");
    desk.advance(100);
    assert_eq!(desk.next(), "nothing");
    core.lock().queue.leave_lead();
    desk.after(0, "MarkIdle");
}

/// The disk is full: it is left alone for a while, and again, until there is room.
#[test]
fn when_a_write_that_failed_is_tried_again() {
    let mut desk = Desk::new(Durability::Buffered);
    desk.put(Durability::Buffered);
    desk.fail(OpKind::Write, Errno::Enospc);
    desk.after(10, "Lead");
    desk.fail(OpKind::Write, Errno::Enospc);
    desk.after(200, "Lead");
    desk.after(200, "Lead");
    desk.put(Durability::Buffered);
    desk.after(10, "Lead");
    desk.after(990, "Sync");
    desk.after(100, "MarkIdle");
    assert_eq!(desk.next(), "nothing");
}

/// A task that appended again within that while was never told anything: it was put off, and no moment was set.
#[test]
fn is_what_comes_after_a_write_that_failed_tried_at_once() {
    let mut desk = Desk::new(Durability::Buffered);
    for level in [Durability::Durable, Durability::Written] {
        desk.put(level);
        desk.fail(OpKind::Write, Errno::Enospc);
        desk.after(0, "Lead");
        desk.put(level);
        desk.after(0, "Lead");
    }
    assert_eq!(desk.appender.core.lock().queue.next_seq(), 2);
    // Behind records that are buffered it is tried with them.
    desk.put(Durability::Buffered);
    desk.fail(OpKind::Write, Errno::Enospc);
    desk.after(10, "Lead");
    desk.put(Durability::Durable);
    desk.after(200, "Lead");
    desk.after(0, "Lead");
    assert_eq!(desk.appender.core.durable_seq(), 4);
}

/// A segment is finished: it is sealed and another prepared, after a failure not at once again, unless
/// somebody waits for it.
#[test]
fn when_a_segment_is_sealed_and_another_prepared() {
    let mut desk = Desk::new(Durability::Buffered);
    let core = desk.appender.core.clone();
    let rotate = |desk: &mut Desk| {
        desk.put(Durability::Durable);
        desk.after(0, "Lead");
        core.rotate().unwrap();
    };
    rotate(&mut desk);
    desk.after(0, "Maintain");
    assert_eq!(desk.next(), "in 1000 ms", "to sync the header of the next");
    rotate(&mut desk);
    desk.fail(OpKind::CreateNew, Errno::Enospc);
    desk.after(0, "Maintain");
    assert!(desk.appender.take_worker_error().is_some());
    desk.after(200, "Maintain");
    assert!(desk.appender.take_worker_error().is_none());
    rotate(&mut desk);
    desk.fail(OpKind::CreateNew, Errno::Enospc);
    desk.after(0, "Maintain");
    assert!(core.all_sealed(), "that needs no room");
    #[cfg(feature = "async")]
    core.lock().duties.try_now();
    #[cfg(not(feature = "async"))]
    desk.advance(200);
    desk.after(0, "Maintain");
    rotate(&mut desk);
    desk.fail(OpKind::CreateNew, Errno::Eio);
    desk.after(0, "Maintain");
    assert!(!core.all_sealed(), "the disk has worse trouble");
}

/// A group is queued that goes into the file for the next segment: the manifest goes on naming that one, or
/// what is appended to it would be in a file that is not part of the log.
#[test]
fn is_a_file_that_a_group_waits_for_prepared_again() {
    let mut desk = Desk::new(Durability::Buffered);
    let core = desk.appender.core.clone();
    let spare = core.manifest.snapshot().spare;
    {
        let mut state = core.lock();
        assert!(core.plan_rotation(&mut state));
    }
    desk.put(Durability::Written);
    core.maintain(Op::Rotate).unwrap();
    assert_eq!(core.manifest.snapshot().spare, spare);
    desk.after(0, "Lead");
    desk.after(0, "Maintain");
    assert_ne!(core.manifest.snapshot().spare, spare);
}

/// The moment at which the worker has to be elsewhere is one of those that it waits for.
#[test]
fn when_the_worker_leaves() {
    let mut desk = Desk::new(Durability::Buffered);
    assert_eq!(words(&desk.duty(Some(7))), "in 7 ms");
    desk.put(Durability::Buffered);
    assert_eq!(words(&desk.duty(Some(7))), "in 7 ms");
    assert_eq!(words(&desk.duty(Some(70))), "in 10 ms");
    assert_eq!(words(&desk.duty(Some(0))), "Leave");
    // Nothing more is written, and so nothing is due; the worker does what others asked of it, and ends.
    let error = Error::note(ErrorKind::Io, Op::Append, "no more");
    desk.put(Durability::Written);
    desk.appender.core.poison_by(&error);
    assert_eq!(words(&desk.duty(None)), "nothing");
    assert_eq!(words(&desk.duty(Some(7))), "in 7 ms");
    desk.appender.close().unwrap_err();
    assert_eq!(words(&desk.duty(Some(7))), "End");
    #[cfg(feature = "async")]
    {
        let core = &desk.appender.core;
        assert!(core.lock().duties.takes_errands());
        core.end();
        assert!(!core.lock().duties.takes_errands(), "nobody would do them");
    }
}

/// Logs that compact or retain were looked at each second, whatever became of them: each look reads where cursors stand,
/// and of ten thousand logs at rest that is no rest.
#[test]
fn when_is_it_looked_whether_upkeep_is_due() {
    let mut agenda = Agenda::default();
    let mut look = |worked| {
        let now = agenda.upkeep_after;
        agenda.kept_up(worked, now);
        (agenda.upkeep_after - now).as_secs()
    };
    let idle: Vec<u64> = (0..9).map(|_| look(false)).collect();
    assert_eq!(idle, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!([true, false, false].map(look), [1, 2, 4]);
    // A segment more: soon, and often again.
    let now = agenda.upkeep_after;
    agenda.kept_up(false, now);
    let mut desk = Desk::new(Durability::Buffered);
    desk.put(Durability::Durable);
    desk.after(0, "Lead");
    desk.appender.core.rotate().unwrap();
    assert!(desk.appender.core.lock().duties.take_segment_begun());
    agenda.segment_begun(now);
    assert_eq!((agenda.upkeep_after - now).as_secs(), 1);
    agenda.kept_up(false, agenda.upkeep_after);
    assert_eq!((agenda.upkeep_after - now).as_secs(), 2);
    // Of those at rest many at once.
    agenda.kept_up(false, Duration::from_millis(7_300));
    assert_eq!(agenda.upkeep_after, Duration::from_secs(10));
}

/// Where appends are durable, up to where was filled: of the first segment and of the next, while the first is
/// written in records of 48 KiB.
fn ends_filled(ahead: Ahead) -> [Vec<u64>; 2] {
    let mut desk = Desk::new(Durability::Durable);
    let full = desk.appender.core.options.segment_bytes;
    desk.appender.core.lock().ahead = ahead;
    let mut ends = [Vec::new(), Vec::new()];
    let mut written_end = 0;
    while written_end + (64 << 10) < full {
        let record = [NewRecord::value(&[7; 48 << 10])];
        let appended = desk.appender.append(&record, &AppendOptions::new());
        appended.unwrap();
        written_end = desk.appender.core.lock().queue.plan().1;
        while let Duty::Fill = desk.duty(None) {
            let (id, _, end) = desk.agenda.filling.clone().unwrap();
            let of_next = usize::from(id != FIRST);
            assert!(of_next == 1 || end > written_end && end <= full);
            // The next one only once a quarter of this is used.
            assert!(of_next == 0 || written_end > full / 4, "{written_end}");
            if ends[of_next].last() != Some(&end) {
                ends[of_next].push(end);
            }
            desk.appender.core.take(Duty::Fill, &mut desk.agenda);
        }
    }
    ends
}

/// Where appends are durable and small, zeros are written ahead of them: else each sync would have to
/// store how long the file is. Where that was found to take longer than it saves, none are.
#[test]
fn how_far_ahead_space_is_filled() {
    let full = 8 << 20;
    for ahead in [Ahead::that_fills(true), Ahead::default()] {
        let [first, next] = ends_filled(ahead);
        let little_each_time = |ends: &[u64]| ends.len() > 20;
        assert!(
            little_each_time(&first) && little_each_time(&next),
            "{first:?} {next:?}"
        );
        assert_eq!((first.last(), next.last()), (Some(&full), Some(&full)));
    }
    let [first, next] = ends_filled(Ahead::that_fills(false));
    assert!(first.is_empty() && next.is_empty(), "{first:?} {next:?}");
}

/// What the disk refused with the zeros may be frames: then nothing more is appended.
#[test]
fn what_if_the_disk_refuses_zeros() {
    let value = vec![7; 48 << 10];
    let mut desk = Desk::new(Durability::Durable);
    let core = desk.appender.core.clone();
    desk.appender
        .append(&[NewRecord::value(&value)], &AppendOptions::new())
        .unwrap();
    while let Duty::Fill = desk.duty(None) {
        desk.fail(OpKind::WriteBack, Errno::Eio);
        core.take(Duty::Fill, &mut desk.agenda);
    }
    assert!(core.lock().life.poison().is_some());
}
