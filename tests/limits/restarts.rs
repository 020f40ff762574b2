//! A process that is killed again and again: each unclean end left a segment of some 250 bytes behind, a
//! loop of restarts a thousand in a day, and nothing joined them but a compaction that was asked for.

use cairnlog::{AppendOptions, Log, NewRecord, Options, Producer, Verdict, vfs::sim::SimFs};
use std::sync::Arc;

fn on(disk: &SimFs, options: &Options) -> Log {
    let options = options.clone().vfs(Arc::new(disk.clone()));
    options.background(false).open("/log").unwrap()
}

/// So many lives of one record each; gives the disk after the last.
fn restart(options: &Options, count: u64) -> SimFs {
    let mut disk = SimFs::new(1);
    for number in 0..count {
        let log = on(&disk, options);
        assert_eq!(log.next_seq(), number);
        let expected = if number == 0 {
            Verdict::Created
        } else {
            Verdict::Unclean
        };
        assert_eq!(log.recovery().verdict, expected);
        // It was synced, and nothing on disk says so yet.
        assert!(log.recovery().carried_count <= 1);
        let who = Producer {
            id: number % 3,
            epoch: 0,
            number,
        };
        let how = AppendOptions::new().producer(who);
        let value = format!("life {number}");
        let records = [NewRecord::value(value.as_bytes())];
        let seqs = log.append_records(&records, &how).unwrap();
        assert_eq!(seqs.start, number);
        disk = disk.kill();
    }
    disk
}

#[test]
fn are_segments_as_many_as_the_bytes_and_not_as_the_restarts() {
    let options = Log::options();
    let disk = restart(&options, 1000);
    let log = on(&disk, &options);
    let stats = log.stats();
    assert!(stats.segment_count <= 3, "{} segments", stats.segment_count);
    for (number, record) in (0..).zip(log.scan(..).unwrap()) {
        let record = record.unwrap();
        assert_eq!(record.seq(), number);
        assert_eq!(&*record, format!("life {number}").as_bytes());
    }
    assert_eq!(log.next_seq(), 1000);
    // A repeat of the last of each producer is known, whichever life it was of.
    for number in 997..1000 {
        let who = Producer {
            id: number % 3,
            epoch: 0,
            number,
        };
        let how = AppendOptions::new().producer(who);
        let value = format!("life {number}");
        let again = log.append_records(&[NewRecord::value(value.as_bytes())], &how);
        assert_eq!(again.unwrap(), number..number + 1);
    }
    assert_eq!(log.next_seq(), 1000);
    drop(log);
    let report = options.vfs(Arc::new(disk)).verify("/log").unwrap();
    assert_eq!(report.findings, []);
}

/// Where a quarter of a segment is less than the usual bound.
#[test]
fn is_what_is_not_small_sealed_where_it_stands() {
    let options = Log::options().segment_bytes(4096);
    let disk = restart(&options, 300);
    let log = on(&disk, &options);
    let stats = log.stats();
    let bytes = stats.sealed_bytes;
    assert!(bytes > 10_000, "{bytes} bytes");
    // Each has a quarter of a segment at least.
    assert!(stats.segment_count <= bytes / 1024 + 2, "{stats:?}");
    assert_eq!(log.scan(..).unwrap().count(), 300);
}
