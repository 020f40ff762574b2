//! Does an append come back, in every way of appending and reading?

use cairnlog::{AppendOptions, CompactOptions, Durability, Log, NewRecord, Reader};

#[test]
fn what_is_appended_comes_back_in_order_before_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::options().segment_bytes(2048).open(&path).unwrap();
    for number in 0..500u64 {
        assert_eq!(log.append(format!("record {number}")).unwrap(), number);
    }
    let check = |log: &Log| {
        let all: Vec<_> = log.scan(..).unwrap().map(|r| r.unwrap()).collect();
        assert_eq!(all.len(), 500);
        for (number, record) in all.iter().enumerate() {
            assert_eq!(record.seq(), number as u64);
            assert_eq!(&**record, format!("record {number}").as_bytes());
            assert_eq!(log.get(number as u64).unwrap().as_ref(), Some(record));
        }
        let mut back: Vec<_> = log.scan(..).unwrap().rev().map(|r| r.unwrap()).collect();
        back.reverse();
        assert_eq!(back, all);
    };
    check(&log);
    log.close().unwrap();
    drop(log);
    let log = Log::open(&path).unwrap();
    println!("{}", log.recovery());
    check(&log);
    assert!(log.stats().segment_count > 5);
}

#[test]
fn written_and_buffered_records_come_back_after_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::options()
        .durability(Durability::Buffered)
        .open(dir.path().join("log"))
        .unwrap();
    for number in 0..10_000u64 {
        assert_eq!(log.append(format!("record {number}")).unwrap(), number);
    }
    let how = AppendOptions::new().durability(Durability::Written);
    log.append_records(&[NewRecord::value("x")], &how).unwrap();
    assert_eq!(log.sync().unwrap(), 10_001);
    assert_eq!(log.scan(..).unwrap().count(), 10_001);
}

#[test]
fn what_is_appended_past_the_page_cache_is_seen_at_once_by_every_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let options = Log::options().segment_bytes(1 << 20).direct_writes(true);
    let mut expected: Vec<Vec<u8>> = Vec::new();
    // Closed and opened again, each time in the middle of a block.
    for round in 0..3u8 {
        let log = options.clone().open(&path).unwrap();
        let elsewhere = Reader::open(&path).unwrap();
        let mut tail = log.tail(log.next_seq());
        for number in 0..300usize {
            let value = vec![round + 1; [9, 700, 4_000, 30_000][number % 4] + number];
            // Some by way of the page cache, between the others.
            let level = [
                Durability::Durable,
                Durability::Durable,
                Durability::Written,
            ][number % 3];
            let how = AppendOptions::new().durability(level);
            let record = [NewRecord::value(&value)];
            let seqs = log.append_records(&record, &how).unwrap();
            expected.push(value);
            if level == Durability::Durable {
                let last = elsewhere.get(seqs.start).unwrap().unwrap();
                assert_eq!(&*last, expected.last().unwrap());
            }
        }
        log.sync().unwrap();
        for value in &expected[expected.len() - 300..] {
            assert_eq!(&*tail.next().unwrap().unwrap(), value);
        }
        let all: Vec<_> = log.scan(..).unwrap().map(|r| r.unwrap().to_vec()).collect();
        assert!(all == expected, "round {round}");
        log.close().unwrap();
    }
}

#[test]
fn records_of_callers_that_share_a_batch_have_its_time_and_cost_eight_bytes_each() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let now_ms = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        i64::try_from(since.unwrap().as_millis()).unwrap()
    };
    let before_ms = now_ms();
    let how = AppendOptions::new().durability(Durability::Buffered);
    for number in 0..1000u64 {
        let value = number.to_le_bytes();
        log.append_records(&[NewRecord::value(&value)], &how)
            .unwrap();
    }
    log.sync().unwrap();
    let after_ms = now_ms();
    for record in log.scan(..).unwrap() {
        let time = record.unwrap().timestamp_ms();
        assert!((before_ms..=after_ms).contains(&time), "{time}");
    }
    // 128 of header, 8 of framing and 8 of payload a record, a few batch headers.
    let stats = log.stats();
    assert!(
        stats.frame_bytes < 128 + 16_000 + 24 * 20,
        "{}",
        stats.frame_bytes
    );
}

#[test]
fn a_directory_that_is_not_there_is_no_log_to_whoever_only_looks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none");
    let options = cairnlog::Options::new();
    let kinds = [
        options.open_reader(&path).unwrap_err().kind(),
        options.verify(&path).unwrap_err().kind(),
        options.plan(&path).unwrap_err().kind(),
    ];
    assert_eq!(kinds, [cairnlog::ErrorKind::NotFound; 3]);
    assert!(!path.exists());
}

#[test]
fn a_fresh_log_takes_less_than_a_mebibyte() {
    fn bytes(dir: &std::path::Path) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let entries = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .map(|path| {
                if path.is_dir() {
                    bytes(&path)
                } else {
                    path.metadata().unwrap().blocks() * 512
                }
            })
            .sum()
    }
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    log.append("the first").unwrap();
    assert!(bytes(dir.path()) < 1 << 20, "{} bytes", bytes(dir.path()));
}

/// A reader that waited at the end was let go in silence when a sync failed, as if the log had been
/// closed: it could not know that nothing more would come for a bad reason. Now it is told, once.
#[test]
fn a_waiting_tail_is_told_that_the_log_was_poisoned() {
    use cairnlog::{
        ErrorKind,
        vfs::sim::{Errno, Fault, FaultRule, OpKind, SimFs},
    };
    let disk = SimFs::new(3);
    let log = Log::options()
        .vfs(std::sync::Arc::new(disk.clone()))
        .background(false)
        .open("log")
        .unwrap();
    log.append("durable").unwrap();
    let mut tail = log.tail(0);
    assert_eq!(&*tail.next().unwrap().unwrap(), b"durable");
    let follower = std::thread::spawn(move || (tail.next(), tail.next(), tail.is_finished()));
    disk.fail(FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eio)));
    let failed = log.append("lost").unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Indeterminate);
    let (told, after, finished) = follower.join().unwrap();
    let told = told.unwrap().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Poisoned);
    assert!(told.to_string().contains("sync"), "{told}");
    assert!(after.is_none() && finished);
}

/// A buffered record that joined a batch begun long before it was given that batch's time, however
/// old: without a worker nothing else ends a group.
#[test]
fn a_record_does_not_take_the_time_of_a_batch_begun_long_ago() {
    let disk = cairnlog::vfs::sim::SimFs::new(5);
    let log = Log::options()
        .vfs(std::sync::Arc::new(disk.clone()))
        .durability(Durability::Buffered)
        .background(false)
        .open("log")
        .unwrap();
    log.append("early").unwrap();
    disk.advance(std::time::Duration::from_secs(60));
    log.append("late").unwrap();
    log.sync().unwrap();
    let time = |seq| log.get(seq).unwrap().unwrap().timestamp_ms();
    let apart = time(1) - time(0);
    assert!((60_000..61_000).contains(&apart), "{apart} ms apart");
}

/// Where compaction had left a gap between the two ends of a walk, the end that came backwards gave once more
/// what the other had shown.
#[test]
fn do_both_ends_of_a_walk_meet_in_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let how = AppendOptions::new();
    let keyed = [NewRecord::keyed("k", "value")];
    log.append_batch(["0", "1"]).unwrap();
    log.append_records(&keyed, &how).unwrap();
    log.append("3").unwrap();
    log.rotate().unwrap();
    log.append_records(&keyed, &how).unwrap();
    log.rotate().unwrap();
    let all = CompactOptions::new()
        .dirty_ratio_min(0.0)
        .rate_bytes_per_s(None);
    assert_eq!(log.compact(&all).unwrap().dropped_count, 1);
    let mut scan = log.scan(0..4).unwrap();
    let mut seqs = Vec::new();
    while let Some(front) = scan.next() {
        seqs.push(front.unwrap().seq());
        seqs.extend(scan.next_back().map(|back| back.unwrap().seq()));
    }
    assert_eq!(seqs, [0, 3, 1]);
    assert!(scan.next_back().is_none());
}
