//! "Without limit", said as the largest number there is: once that was an overflow, and a panic, in
//! compaction's memory and in every time span.

use crate::path_of;
use cairnlog::{
    AppendOptions, CompactOptions, ConsumerOptions, Durability, Error, ErrorKind, KeyMatch, Log,
    NewRecord, Options, Producer, QueueOptions, Reader, Retention,
};
use std::time::Duration;

const FOR_EVER: Duration = Duration::MAX;

/// Everything that waits or counts, with these options. They may be refused, with a reason.
fn live(options: &Options) -> Result<(), Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = path_of(dir.path());
    let log = options.open(&path)?;
    for level in [
        Durability::Buffered,
        Durability::Written,
        Durability::Durable,
    ] {
        let how = AppendOptions::new().durability(level);
        log.append_records(&[NewRecord::keyed("key", "value")], &how)?;
        // The worker looks what is due.
        std::thread::sleep(Duration::from_millis(5));
    }
    log.sync()?;
    log.rotate()?;
    log.append("last")?;
    log.maintain()?;
    let mut tail = log.reader().tail(0);
    // Compaction may have dropped the older ones of the key.
    assert!(tail.next_timeout(FOR_EVER)?.is_some());
    let mut follower = Reader::open(&path)?.tail(0);
    assert!(follower.next_timeout(FOR_EVER)?.is_some());
    log.worker_error().map_or(Ok(()), Err)?;
    log.close()
}

trait OpenRef {
    fn open(&self, path: &std::path::Path) -> Result<Log, Error>;
}

impl OpenRef for &Options {
    fn open(&self, path: &std::path::Path) -> Result<Log, Error> {
        Options::clone(self).open(path)
    }
}

#[test]
fn is_every_option_safe_at_its_end() {
    let small = Log::options().segment_bytes(64 << 10);
    let with = || small.clone();
    let compact = CompactOptions::new;
    for (name, options) in [
        ("buffer_interval", with().buffer_interval(FOR_EVER)),
        ("idle_watermark", with().idle_watermark(Some(FOR_EVER))),
        ("sync_interval", with().sync_interval(Some(FOR_EVER))),
        ("lock_timeout", with().lock_timeout(FOR_EVER)),
        ("queue_bytes_max", with().queue_bytes_max(usize::MAX)),
        ("buffer_bytes", with().buffer_bytes(usize::MAX)),
        (
            "retention",
            with().retention(
                Retention::new()
                    .age_max(FOR_EVER)
                    .bytes_max(u64::MAX)
                    .seq_min(0)
                    .held_bytes_max(u64::MAX),
            ),
        ),
        (
            "compaction",
            with().compaction(
                compact()
                    .dirty_ratio_min(0.0)
                    .age_min(FOR_EVER)
                    .tombstone_age_min(FOR_EVER)
                    .memory_bytes_max(usize::MAX)
                    .run_bytes_max(u64::MAX)
                    .rate_bytes_per_s(Some(u64::MAX)),
            ),
        ),
        (
            "compaction at once",
            with().compaction(compact().dirty_ratio_min(0.0).memory_bytes_max(usize::MAX)),
        ),
    ] {
        if let Err(error) = live(&options) {
            panic!("{name}: {error}");
        }
    }
    // What no segment or record can have is refused by name.
    for options in [
        with().segment_bytes(u64::MAX),
        with().record_bytes_max(u32::MAX),
    ] {
        let error = live(&options).unwrap_err();
        assert_eq!(error.kind(), cairnlog::ErrorKind::InvalidInput, "{error}");
    }
}

#[test]
fn does_compaction_take_no_more_memory_than_there_are_keys() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::options().open(path_of(dir.path())).unwrap();
    for value in ["1", "2"] {
        let records = [NewRecord::keyed("key", value)];
        log.append_records(&records, &AppendOptions::new()).unwrap();
    }
    log.rotate().unwrap();
    for keys in [KeyMatch::Exact, KeyMatch::Hashed] {
        let how = CompactOptions::new()
            .memory_bytes_max(usize::MAX)
            .run_bytes_max(u64::MAX)
            .rate_bytes_per_s(Some(u64::MAX))
            .tombstone_age_min(FOR_EVER)
            .keys(keys);
        log.compact(&how).unwrap();
    }
    assert_eq!(log.scan(..).unwrap().count(), 1);
    let kept = log.retain(&Retention::new().age_max(FOR_EVER)).unwrap();
    assert_eq!(kept.segment_count, 0);
}

#[test]
fn may_a_lease_and_a_wait_for_work_last_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(path_of(dir.path())).unwrap();
    log.append("job").unwrap();
    let consumer = log
        .consumer_with("jobs", &ConsumerOptions::new().holds(true))
        .unwrap();
    let without_end = QueueOptions::new().in_flight_max(usize::MAX);
    let error = consumer.into_queue(without_end).unwrap_err();
    assert_eq!(error.kind(), cairnlog::ErrorKind::InvalidInput, "{error}");
    let consumer = log.consumer("jobs").unwrap();
    let how = QueueOptions::new().lease(FOR_EVER).deliveries_max(u32::MAX);
    let queue = consumer.into_queue(how).unwrap();
    let lease = queue.next_timeout(FOR_EVER).unwrap().unwrap();
    assert_eq!(lease.record().seq(), 0);
    lease.ack().unwrap();
    assert!(queue.next_timeout(Duration::ZERO).unwrap().is_none());
}

/// Whoever cuts batches guessed how much one may hold, and was wrong where segments are small.
#[test]
fn does_a_log_say_how_many_records_one_batch_takes() {
    let dir = tempfile::tempdir().unwrap();
    let (id, epoch) = (1, 0);
    for (number, segment_bytes) in (1..).zip([512, 2000, 65_536]) {
        let path = dir.path().join(number.to_string());
        let log = Log::options()
            .segment_bytes(segment_bytes)
            .open(path)
            .unwrap();
        for size in [0, 1, 9, 130, 200, 1000] {
            let value = vec![7; size];
            let records = vec![NewRecord::keyed("key", &value); 10_000];
            let number = size as u64;
            let named = AppendOptions::new().producer(Producer { id, epoch, number });
            for how in [AppendOptions::new(), named] {
                let len = log.batch_len(&records, &how);
                assert!(len < records.len());
                let error = log.append_records(&records[..=len], &how).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
                if len > 0 {
                    let seqs = log.append_records(&records[..len], &how).unwrap();
                    assert_eq!(seqs.end - seqs.start, len as u64);
                }
            }
        }
        assert_eq!(log.batch_len(&[], &AppendOptions::new()), 0);
    }
}
