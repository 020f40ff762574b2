//! Does waiting cost nobody but who waits, and does nothing go round, hang or stay behind?
#![cfg(feature = "async")]

use cairnlog::{
    AppendOptions, ErrorKind, Log, NewRecord, Options, Reader, TailStream,
    vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
};
use futures_util::StreamExt;
use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// Whoever waits longer is stuck.
const DEADLINE: Duration = Duration::from_secs(20);

fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// What `run` gives, in a thread of its own: it may hang.
fn within<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, told) = mpsc::channel();
    thread::spawn(move || done.send(run()).ok());
    told.recv_timeout(DEADLINE)
        .unwrap_or_else(|_| panic!("{what} never came back"))
}

/// A waker that says who woke it, and does something then.
struct Told<F> {
    woken: AtomicU64,
    by: Mutex<Vec<ThreadId>>,
    then: F,
}

impl<F: Fn()> Told<F> {
    fn new(then: F) -> Arc<Self> {
        let (woken, by) = (AtomicU64::new(0), Mutex::default());
        Arc::new(Self { woken, by, then })
    }
}

impl<F: Fn() + Send + Sync + 'static> Wake for Told<F> {
    fn wake(self: Arc<Self>) {
        self.by.lock().unwrap().push(thread::current().id());
        (self.then)();
        self.woken.fetch_add(1, SeqCst);
    }
}

fn poll(stream: &mut TailStream, waker: &Waker) -> Poll<Option<cairnlog::Result<u64>>> {
    let polled = stream.poll_next_unpin(&mut Context::from_waker(waker));
    polled.map(|next| next.map(|record| record.map(|it| it.seq())))
}

fn sim(disk: &SimFs) -> Options {
    Log::options().vfs(Arc::new(disk.clone()))
}

/// Who appended woke every stream that waited, itself, under the writer's lock: with 16,000 of them an
/// append took 81 ms, and one waker that looked at the log stood still for ever.
#[test]
fn does_an_append_pay_for_those_who_wait() {
    let log = sim(&SimFs::new(1)).open("/log").unwrap();
    let wakers: Vec<_> = (0..2000).map(|_| Told::new(|| ())).collect();
    let mut streams: Vec<_> = wakers.iter().map(|_| log.tail(0).into_stream()).collect();
    for round in 0..3 {
        for (stream, waker) in streams.iter_mut().zip(&wakers) {
            assert!(poll(stream, &waker.clone().into()).is_pending());
        }
        log.append("news").unwrap();
        for waker in &wakers {
            soon("woken", || waker.woken.load(SeqCst) == round + 1);
            let us = thread::current().id();
            assert!(!waker.by.lock().unwrap().contains(&us), "we woke it");
        }
        for (stream, waker) in streams.iter_mut().zip(&wakers) {
            let next = poll(stream, &waker.clone().into());
            assert!(matches!(next, Poll::Ready(Some(Ok(seq))) if seq == round));
        }
    }
    // Whom it cannot help is not woken at all.
    let far = Told::new(|| ());
    let mut stream = log.tail(1000).into_stream();
    assert!(poll(&mut stream, &far.clone().into()).is_pending());
    log.append_batch(["a"; 900]).unwrap();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(far.woken.load(SeqCst), 0);
    log.append_batch(["b"; 200]).unwrap();
    soon("woken", || far.woken.load(SeqCst) == 1);
}

/// A waker is a user's, and so are its clone and its end: none of them runs under a lock of the log.
#[test]
fn may_a_waker_use_the_log() {
    struct Busy(Log);
    impl Busy {
        fn use_it(&self) {
            let seq = self.0.append("of a waker").unwrap();
            assert!(self.0.get(seq).unwrap().is_some());
        }
    }
    impl Drop for Busy {
        fn drop(&mut self) {
            self.use_it();
        }
    }
    let log = sim(&SimFs::new(1)).open("/log").unwrap();
    let other = log.clone();
    let count = within("a waker that uses the log", move || {
        let busy = Busy(log.clone());
        let waker = Told::new(move || busy.use_it());
        let mut stream = log.tail(0).into_stream();
        assert!(poll(&mut stream, &waker.clone().into()).is_pending());
        log.append("news").unwrap();
        soon("woken", || waker.woken.load(SeqCst) == 1);
        // The last that is known of it is dropped with the stream.
        let mut stream = log.tail(100).into_stream();
        assert!(poll(&mut stream, &waker.into()).is_pending());
        drop(stream);
        log.next_seq()
    });
    assert_eq!(count, 3);
    other.close().unwrap();
}

/// Streams that waited for a moment at the end of an idle log left their wakers, and with them their tasks.
#[test]
fn do_streams_that_are_dropped_leave_nothing() {
    let log = sim(&SimFs::new(1)).open("/log").unwrap();
    let waker = Told::new(|| ());
    for _ in 0..100 {
        let mut streams: Vec<_> = (0..10).map(|_| log.tail(0).into_stream()).collect();
        for stream in &mut streams {
            let one: Waker = waker.clone().into();
            assert!(poll(stream, &one).is_pending());
        }
    }
    assert_eq!(Arc::strong_count(&waker), 1);
    log.append("news").unwrap();
    thread::sleep(Duration::from_millis(20));
    assert_eq!(waker.woken.load(SeqCst), 0);
}

/// A ticket that was polled when all was done left its waker with what the next group uses again: of an idle
/// log that may be never. A task that had the last handle kept the log open so.
#[test]
fn does_a_ticket_that_is_ready_leave_nothing() {
    let log = sim(&SimFs::new(1)).open("/log").unwrap();
    let waker = Told::new(|| ());
    let how = AppendOptions::new();
    let mut ticket = log.submit(&[NewRecord::value("news")], &how).unwrap();
    log.sync().unwrap();
    let one: Waker = waker.clone().into();
    let polled = Pin::new(&mut ticket).poll(&mut Context::from_waker(&one));
    assert!(matches!(polled, Poll::Ready(Ok(seqs)) if seqs == (0..1)));
    drop((ticket, one));
    assert_eq!(Arc::strong_count(&waker), 1);
}

#[test]
fn is_a_waker_that_panics_its_own_trouble() {
    let log = sim(&SimFs::new(1)).open("/log").unwrap();
    let bad = Told::new(|| panic!("a waker that panics, on purpose"));
    let good = Told::new(|| ());
    let mut streams: Vec<_> = (0..3).map(|_| log.tail(0).into_stream()).collect();
    let wakers: [Waker; 3] = [bad.into(), good.clone().into(), good.clone().into()];
    for (stream, waker) in streams.iter_mut().zip(&wakers) {
        assert!(poll(stream, waker).is_pending());
    }
    log.append("news").unwrap();
    soon("woken", || good.woken.load(SeqCst) == 2);
    assert!(poll(&mut streams[1], &wakers[1]).is_ready());
    assert!(poll(&mut streams[1], &wakers[1]).is_pending());
    log.close().unwrap();
    soon("the end is told", || good.woken.load(SeqCst) >= 3);
    assert!(matches!(
        poll(&mut streams[1], &wakers[1]),
        Poll::Ready(None)
    ));
}

/// What a stream of another process had met once, in the thread that waits for it, ended the waiting and
/// not the stream: its next poll went round for ever.
#[test]
fn does_a_stream_outlive_what_has_passed() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (path, aside) = (dir.path().join("log"), dir.path().join("aside"));
    let log = Log::open(&path).unwrap();
    log.append("first").unwrap();
    // On the real disk a directory that goes, and comes back before anybody looks.
    let mut stream = Reader::open(&path).unwrap().tail(1).into_stream();
    let waker = Told::new(|| ());
    assert!(poll(&mut stream, &waker.clone().into()).is_pending());
    let begun = waker.woken.load(SeqCst);
    std::fs::rename(&path, &aside).unwrap();
    thread::sleep(Duration::from_millis(20));
    std::fs::rename(&aside, &path).unwrap();
    let one = waker.clone().into();
    let mut stream = within("a poll", move || {
        assert!(poll(&mut stream, &one).is_pending());
        stream
    });
    log.append("second").unwrap();
    soon("woken", || waker.woken.load(SeqCst) > begun);
    soon("shown", || {
        matches!(
            poll(&mut stream, &waker.clone().into()),
            Poll::Ready(Some(Ok(1)))
        )
    });
}

#[test]
fn is_a_passing_error_of_the_watch_survived_and_a_lasting_one_told() {
    for lasting in [false, true] {
        let disk = SimFs::new(1);
        let log = sim(&disk).open("/log").unwrap();
        log.append("first").unwrap();
        let reader = sim(&disk).open_reader("/log").unwrap();
        let mut stream = reader.tail(1).into_stream();
        let waker = Told::new(|| ());
        assert!(poll(&mut stream, &waker.clone().into()).is_pending());
        let out_of_files = FaultRule::nth(OpKind::Open, 0, Fault::Error(Errno::Emfile));
        let rule = out_of_files.on(Path::new("/log/WATERMARK"));
        disk.fail(if lasting { rule.for_ever() } else { rule });
        soon("have a look", || waker.woken.load(SeqCst) > 0);
        let one = waker.clone().into();
        let (mut stream, polled) = within("a poll", move || {
            let polled = poll(&mut stream, &one);
            (stream, polled)
        });
        if lasting {
            let Poll::Ready(Some(Err(error))) = polled else {
                panic!("{polled:?}");
            };
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            assert!(matches!(
                poll(&mut stream, &waker.into()),
                Poll::Ready(None)
            ));
            continue;
        }
        assert!(polled.is_pending());
        let how = AppendOptions::new();
        log.append_records(&[NewRecord::value("second")], &how)
            .unwrap();
        soon("shown", || {
            matches!(
                poll(&mut stream, &waker.clone().into()),
                Poll::Ready(Some(Ok(1)))
            )
        });
    }
}

/// A tail could be let go by nothing but a record or the end of the log; one of another process waits for
/// ever once its writer is dead.
#[test]
fn does_every_wait_end_that_another_thread_ends() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("log");
    let log = Log::open(&path).unwrap();
    log.append("first").unwrap();
    let disk = SimFs::new(1);
    let on_sim = sim(&disk).open("/log").unwrap();
    on_sim.append("first").unwrap();
    let tails = [
        log.tail(0),
        Reader::open(&path).unwrap().tail(0),
        Reader::open(&path).unwrap().including_written().tail(0),
        sim(&disk).open_reader("/log").unwrap().tail(0),
    ];
    drop(log); // No tail and no handle keeps it open.
    let log = Log::open(&path).unwrap();
    let tails: Vec<_> = [log.tail(0)].into_iter().chain(tails).collect();
    for (number, mut tail) in tails.into_iter().enumerate() {
        for at_once in [true, false] {
            let stop = tail.interrupt_handle();
            let started = Instant::now();
            let waiting = thread::spawn(move || {
                let seen = tail.by_ref().count();
                (seen, tail)
            });
            if !at_once {
                thread::sleep(Duration::from_millis(20));
            }
            stop.interrupt();
            let (seen, back) = within("a tail", move || waiting.join().unwrap());
            assert!(started.elapsed() < DEADLINE / 4, "tail {number}");
            assert!(seen <= 1 && stop.is_interrupted());
            tail = back;
            let rest = tail.try_next().unwrap().map(|record| record.seq());
            assert_eq!(seen as u64 + u64::from(rest.is_some()), u64::from(at_once));
        }
    }
}

#[test]
fn do_batches_come_as_they_are_there_and_errors_after_them() {
    let log = sim(&SimFs::new(1)).segment_bytes(512).open("/log").unwrap();
    log.append_batch(["a", "b", "c"]).unwrap();
    let mut tail = log.tail(0);
    let mut seqs = |max: usize, wait_ms: u64| {
        let batch = tail.next_batch(max, Duration::from_millis(wait_ms));
        batch.map(|records| records.iter().map(|it| it.seq()).collect::<Vec<_>>())
    };
    assert_eq!(seqs(2, 0).unwrap(), [0, 1]);
    assert_eq!(seqs(2, 0).unwrap(), [2]);
    assert_eq!(seqs(0, 10_000).unwrap(), []);
    assert_eq!(seqs(5, 10).unwrap(), []);
    let other = log.clone();
    let later = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        other.append("d").unwrap()
    });
    assert_eq!(seqs(5, 20_000).unwrap(), [3]);
    later.join().unwrap();
    log.append_batch(["e", "f"]).unwrap();
    log.trim(5).unwrap();
    let error = seqs(5, 0).unwrap_err();
    assert_eq!(error.resume_seq(), Some(5));
    assert_eq!(seqs(5, 0).unwrap(), [], "an error ends it");
}

/// What was appended as written was seen up to a second later, and nothing said when.
#[test]
fn can_what_is_only_written_be_waited_for() {
    let log = sim(&SimFs::new(1)).background(false).open("/log").unwrap();
    let written = AppendOptions::new().durability(cairnlog::Durability::Written);
    let append = || log.append_records(&[NewRecord::value("x")], &written);
    let seq = append().unwrap().start;
    let short = Duration::from_millis(10);
    assert!(!log.wait_durable_timeout(seq, short).unwrap());
    let reader = log.reader().including_written();
    assert!(reader.wait_for(seq, None).unwrap());
    assert_eq!(reader.last().unwrap().unwrap().seq(), seq);
    assert_eq!(log.last().unwrap(), None);
    let other = log.clone();
    let waiting = thread::spawn(move || other.wait_durable(seq).map(|()| other.get(seq).unwrap()));
    log.sync().unwrap();
    assert!(waiting.join().unwrap().unwrap().is_some());
    // What is closed comes to no more.
    let other = log.clone();
    let waiting = thread::spawn(move || other.wait_durable(seq + 1));
    thread::sleep(short);
    log.close().unwrap();
    assert_eq!(
        waiting.join().unwrap().unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[test]
fn does_a_log_tell_its_first_its_last_and_its_segments() {
    let disk = SimFs::new(1);
    let options = sim(&disk).segment_bytes(512).background(false);
    let log = options.clone().open("/log").unwrap();
    assert_eq!((log.first().unwrap(), log.last().unwrap()), (None, None));
    for number in 0..20u32 {
        let at = NewRecord::keyed("K", "some bytes of a value").timestamp_ms(i64::from(number));
        log.append_records(&[at], &AppendOptions::new()).unwrap();
    }
    while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
    log.trim(3).unwrap();
    let reader = options.open_reader("/log").unwrap();
    for segments in [log.segments().unwrap(), reader.segments().unwrap()] {
        assert!(segments.len() > 2);
        assert!(
            segments
                .windows(2)
                .all(|two| two[0].next_seq == two[1].base_seq)
        );
        assert!(
            segments
                .iter()
                .rev()
                .skip(1)
                .all(|it| it.is_sealed || it.frame_bytes > 0)
        );
        assert_eq!(segments.last().unwrap().next_seq, 20);
    }
    assert_eq!(log.first().unwrap().unwrap().seq(), 3);
    let last = log.last().unwrap().unwrap();
    assert_eq!(log.latest(b"K", ..).unwrap().unwrap(), last);
    assert_eq!(log.seek_time(10).unwrap(), 10);
    // Kept for long, it keeps its own bytes alone.
    let own = last.clone().detach();
    assert_eq!(own, last);
    assert_ne!(own.key().unwrap().as_ptr(), last.key().unwrap().as_ptr());
}
