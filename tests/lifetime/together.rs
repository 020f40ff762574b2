//! Do the parts that keep a log in shape get along with those who use it?

use super::{delete, now, open, options, put, shown};
use cairnlog::{
    AppendOptions, Consumer, ConsumerOptions, Durability, ErrorKind, Log, Maintained, NewRecord,
    Producer, Retention, Seq, Start,
};
use std::time::{Duration, Instant};

fn fill(log: &Log, count: u64) {
    for number in 0..count {
        log.append(format!("{number:0100}")).unwrap();
    }
}

/// A consumer that holds keeps what it has not acknowledged, up to what it may hold; beyond that it is
/// told what it lost, and where to go on.
#[test]
fn how_much_does_a_dead_consumer_hold_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let holding = ConsumerOptions::new().start(Start::Head).holds(true);
    let mut slow = log.consumer_with("slow", &holding).unwrap();
    let free = log.consumer("free").unwrap();
    fill(&log, 200);
    slow.ack(99).unwrap();
    let none = Retention::new().bytes_max(0);
    assert!(
        log.retain(&none).unwrap().head_seq <= 100,
        "record 100 is held"
    );
    assert!(log.head_seq() > 80, "what it has passed is not");
    assert_eq!(slow.try_next().unwrap().unwrap().seq(), 100);
    // Holding is free as long as it is little.
    let head_seq = log.head_seq();
    let little = none.clone().held_bytes_max(log.stats().frame_bytes);
    assert_eq!(log.retain(&little).unwrap().head_seq, head_seq);
    let half_bytes = log.stats().frame_bytes / 2;
    let head_seq = log
        .retain(&none.held_bytes_max(half_bytes))
        .unwrap()
        .head_seq;
    assert!(head_seq > 110 && head_seq < 190, "{head_seq}");
    assert!(log.stats().frame_bytes <= half_bytes);
    // What it began to read it may read to the end; then it is told.
    drop(slow);
    let mut slow = log.consumer("slow").unwrap();
    let error = slow.try_next().unwrap_err();
    assert_eq!(
        (error.kind(), error.resume_seq()),
        (ErrorKind::Trimmed, Some(head_seq))
    );
    slow.seek(head_seq).unwrap();
    assert_eq!(slow.try_next().unwrap().unwrap().seq(), head_seq);
    drop(free);
    assert_eq!(log.cursors().unwrap().len(), 2);
}

/// A consumer that holds and has seen a key's value, and the key's tombstone, which it has not seen; sealed.
fn deleted(log: &Log) -> (Consumer, Seq) {
    put(log, "a", "1");
    let holding = ConsumerOptions::new().holds(true);
    let mirror = log.consumer_with("mirror", &holding).unwrap();
    mirror.ack(0).unwrap();
    let tombstone = delete(log, "a");
    log.rotate().unwrap();
    (mirror, tombstone)
}

/// A tombstone whose time has come stays for who holds and has not seen it.
#[test]
fn does_a_tombstone_wait_for_a_consumer_that_holds() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let (mirror, tombstone) = deleted(&log);
    log.compact(&now()).unwrap();
    assert_eq!(shown(&log).into_keys().collect::<Vec<_>>(), [tombstone]);
    mirror.ack(tombstone).unwrap();
    log.compact(&now()).unwrap();
    assert!(shown(&log).is_empty());
}

/// Both are waited for by the work in the background, too, which asks for itself who holds what.
#[test]
fn does_the_background_work_wait_for_a_consumer_that_holds() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Retention::new().bytes_max(0);
    let log = options().retention(limits).open(dir.path().join("log"));
    let log = log.unwrap();
    let holding = ConsumerOptions::new().start(Start::Head).holds(true);
    let slow = log.consumer_with("slow", &holding).unwrap();
    fill(&log, 100);
    slow.ack(49).unwrap();
    while log.maintain().unwrap() != Maintained::Nothing {}
    assert!((30..=50).contains(&log.head_seq()), "{}", log.head_seq());
    slow.ack(99).unwrap();
    while log.maintain().unwrap() != Maintained::Nothing {}
    assert!(log.head_seq() > 80, "{}", log.head_seq());
}

#[test]
fn does_a_tombstone_wait_in_the_background_for_a_consumer_that_holds() {
    let dir = tempfile::tempdir().unwrap();
    let how = now().dirty_ratio_min(0.0);
    let log = options().compaction(how).open(dir.path().join("log"));
    let log = log.unwrap();
    let (mirror, tombstone) = deleted(&log);
    while log.maintain().unwrap() != Maintained::Nothing {}
    assert_eq!(shown(&log).into_keys().collect::<Vec<_>>(), [tombstone]);
    mirror.ack(tombstone).unwrap();
    put(&log, "b", "1");
    log.rotate().unwrap();
    while log.maintain().unwrap() != Maintained::Nothing {}
    assert_eq!(shown(&log).into_keys().collect::<Vec<_>>(), [tombstone + 1]);
}

/// What an append was is known after compaction has dropped its record, after retention has dropped its
/// segment, and after reopening.
#[test]
fn is_a_repeat_known_when_its_record_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let by = |number| {
        let (id, epoch) = (1, 1);
        AppendOptions::new().producer(Producer { id, epoch, number })
    };
    let records = [NewRecord::keyed("key", "value")];
    let log = open(dir.path());
    let seqs = log.append_records(&records, &by(7)).unwrap();
    put(&log, "key", "newer");
    log.rotate().unwrap();
    assert_eq!(log.compact(&now()).unwrap().dropped_count, 1);
    assert!(log.get(seqs.start).unwrap().is_none());
    assert_eq!(log.append_records(&records, &by(7)).unwrap(), seqs);
    fill(&log, 100);
    log.retain(&Retention::new().bytes_max(0)).unwrap();
    assert!(log.head_seq() > seqs.end);
    drop(log);
    let log = open(dir.path());
    let next_seq = log.next_seq();
    assert_eq!(log.append_records(&records, &by(7)).unwrap(), seqs);
    assert_eq!(
        log.append_records(&records, &by(8)).unwrap().start,
        next_seq
    );
}

/// A filter that panics in the background worker is told, once there and else at close; the log goes on.
#[test]
fn is_a_panic_of_the_background_work_told() {
    let dir = tempfile::tempdir().unwrap();
    let how = now().filter(|record| record.value != Some(b"bad"));
    let panics = how.filter(|record| match record.value {
        Some(b"bad") => panic!("on purpose"),
        _ => true,
    });
    let options = options().background(true).compaction(panics);
    let log = options.clone().open(dir.path().join("log")).unwrap();
    put(&log, "a", "good");
    put(&log, "a", "bad");
    log.rotate().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = loop {
        assert!(Instant::now() < deadline, "nothing was told");
        if let Some(error) = log.worker_error() {
            break error;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
    assert_eq!(put(&log, "b", "1"), 2);
    assert_eq!(shown(&log).len(), 3, "nothing was dropped");
    log.close().unwrap();
    drop(log);
    // Who does not ask is told at the end.
    let log = options.open(dir.path().join("log")).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Panicked);
}

/// An error of the background work is kept, too: here a segment that does not verify.
#[test]
fn is_an_error_of_the_background_work_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    put(&log, "a", "first value");
    put(&log, "a", "second");
    log.rotate().unwrap();
    log.close().unwrap();
    drop(log);
    let path = dir.path().join("log/00000000000000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|it| it == b"first").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let options = options().background(true).compaction(now());
    let log = options.open(dir.path().join("log")).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let error = log.close().unwrap_err();
    assert_eq!(
        (error.kind(), error.place().seq),
        (ErrorKind::Damaged, Some(0)),
        "{error}"
    );
}

fn keeps_coming(log: &Log, count: u64) {
    let how = AppendOptions::new().durability(Durability::Buffered);
    for number in 0..count {
        let key = format!("{}", number % 5);
        let records = [NewRecord::keyed(&key, &[7; 100])];
        log.append_records(&records, &how).unwrap();
    }
    log.sync().unwrap();
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The panic of a filter ended retention as well: the disk filled up.
#[test]
fn does_retention_go_on_when_a_filter_panicked() {
    let dir = tempfile::tempdir().unwrap();
    let how = now().dirty_ratio_min(0.0).filter(|_| panic!("on purpose"));
    let limits = Retention::new().bytes_max(16 << 10);
    let options = options().background(true).compaction(how).retention(limits);
    let log = options.open(dir.path().join("log")).unwrap();
    keeps_coming(&log, 50);
    log.rotate().unwrap();
    wait_until("nothing was told", || log.worker_error().is_some());
    keeps_coming(&log, 1000);
    let small = || log.stats().frame_bytes <= (16 << 10) + 4096;
    wait_until("nothing was dropped", small);
}

/// Retention waited until a compaction was done, at its rate: a log of 110 MiB grew to 387. What was
/// trimmed meanwhile does not come back with the copy.
#[test]
fn does_retention_go_on_beside_a_slow_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let how = now().dirty_ratio_min(0.0).rate_bytes_per_s(Some(1 << 20));
    let limits = Retention::new().bytes_max(1 << 20);
    let slow = options().segment_bytes(1 << 16).background(true);
    let path = dir.path().join("log");
    let log = slow.clone().open(&path).unwrap();
    keeps_coming(&log, 20_000);
    log.close().unwrap();
    let log = slow.compaction(how).retention(limits).open(&path).unwrap();
    let begun = Instant::now();
    let mut most = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        keeps_coming(&log, 500);
        let head_seq = log.head_seq();
        if begun.elapsed() > Duration::from_millis(2500) {
            most = most.max(log.stats().frame_bytes);
        }
        let first = log.scan(..).unwrap().next().unwrap().unwrap();
        assert!(first.seq() >= head_seq, "it came back");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(most < 3 << 20, "{most} bytes of 1 MiB");
    assert_eq!(log.worker_error().map(|error| error.to_string()), None);
}

/// A log without keys was never compacted in the background, whatever a filter had to say.
#[test]
fn does_a_filter_run_on_a_log_without_keys() {
    let dir = tempfile::tempdir().unwrap();
    let how = now().dirty_ratio_min(0.0).filter(|it| it.seq % 2 == 0);
    let options = options().background(true).idle_watermark(None);
    let options = options.compaction(how);
    let log = options.open(dir.path().join("log")).unwrap();
    log.append_batch((0..60u32).map(u32::to_le_bytes)).unwrap();
    log.rotate().unwrap();
    wait_until("it never ran", || log.scan(..).unwrap().count() == 30);
    // And it is content with what it saw.
    let before = log.stats();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(log.stats(), before);
}

/// Both ends of a walk that met where records had been dropped showed one twice.
#[test]
fn do_both_ends_of_a_walk_meet_in_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for number in 0..12 {
        put(
            &log,
            if number % 3 == 2 {
                "gone"
            } else {
                &"key"[..2 + number % 2]
            },
            "v",
        );
        log.append(number.to_string()).unwrap();
    }
    log.rotate().unwrap();
    log.compact(&now()).unwrap();
    let all: Vec<u64> = log.scan(..).unwrap().map(|it| it.unwrap().seq()).collect();
    for from in 0..24 {
        for to in from..=24 {
            let (mut scan, mut seen) = (log.scan(from..to).unwrap(), Vec::new());
            while let Some(record) = scan.next() {
                seen.push(record.unwrap().seq());
                seen.extend(scan.next_back().map(|record| record.unwrap().seq()));
            }
            seen.sort_unstable();
            let wanted = all.iter().copied().filter(|seq| (from..to).contains(seq));
            assert_eq!(seen, wanted.collect::<Vec<_>>(), "{from}..{to}");
        }
    }
}
