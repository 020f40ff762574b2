//! Does a rewind cost what it drops, and leave what it should?
//!
//! It copied all that stays of the last segment: 60 MiB were written to drop one record of a full one, and a Raft node
//! does that whenever a leader falls with entries that nobody else has.

use cairnlog::{
    AppendOptions, Durability, FindingKind, Log, NewRecord, Options, Seq,
    vfs::sim::{OpKind, SimFs},
};
use std::sync::Arc;

fn options(disk: &SimFs) -> Options {
    let options = Log::options().vfs(Arc::new(disk.clone()));
    options.segment_bytes(16 << 20).background(false)
}

/// Appends batches of records that say their number.
fn append(log: &Log, batches: u64, records: u64, bytes: usize) {
    for _ in 0..batches {
        let first = log.next_seq();
        let values: Vec<String> = (first..first + records)
            .map(|seq| format!("{seq:bytes$}"))
            .collect();
        let records: Vec<_> = values.iter().map(NewRecord::value).collect();
        let how = AppendOptions::new().durability(Durability::Written);
        log.append_records(&records, &how).unwrap();
    }
    log.sync().unwrap();
}

fn seqs(log: &Log) -> Vec<Seq> {
    let records = log.scan(..).unwrap().map(Result::unwrap);
    let said = records.map(|record| {
        let text = String::from_utf8(record.to_vec()).unwrap();
        assert_eq!(text.trim().parse(), Ok(record.seq()));
        record.seq()
    });
    said.collect()
}

fn bytes(disk: &SimFs, kind: OpKind) -> u64 {
    let trace = disk.trace();
    let calls = trace.iter().filter(|event| event.kind == kind);
    calls.map(|event| event.len).sum()
}

#[test]
fn is_no_more_written_than_a_batch_and_what_stays_read_once() {
    let disk = SimFs::new(1);
    let log = options(&disk).open("/log").unwrap();
    append(&log, 800, 10, 1000); // Eight megabytes.
    let ids = |log: &Log| -> Vec<u64> {
        let all = log.segments().unwrap();
        all.iter().map(|it| it.id.0).collect()
    };
    let first = ids(&log)[0];
    let before = [OpKind::Write, OpKind::Read].map(|kind| bytes(&disk, kind));
    log.rewind(7_995).unwrap(); // In the midst of a batch: of that, five records are copied.
    let after = [OpKind::Write, OpKind::Read].map(|kind| bytes(&disk, kind));
    let (written, read) = (after[0] - before[0], after[1] - before[1]);
    assert!(written < 150_000, "{written} bytes");
    // It was read twice where the end cuts through a batch.
    assert!((8_000_000..9_000_000).contains(&read), "{read} bytes");
    assert_eq!(seqs(&log), (0..7_995).collect::<Vec<_>>());
    assert_eq!(
        (ids(&log)[0], ids(&log).len()),
        (first, 3),
        "it stands where it stood"
    );
}

/// Rewinds to every place of a tail with batches of many sizes, beside readers that hold what was, and again after each
/// way that the power can fail.
#[test]
fn is_everything_below_the_end_there_and_nothing_else() {
    for end_seq in 0..=60 {
        let disk = SimFs::new(end_seq);
        let small = || options(&disk).segment_bytes(64 << 10);
        let log = small().open("/log").unwrap();
        append(&log, 4, 1, 700);
        append(&log, 4, 9, 700);
        append(&log, 10, 2, 700);
        assert_eq!(log.next_seq(), 60);
        let mut held = log.scan(..).unwrap();
        held.next().unwrap().unwrap();
        let begun = disk.op_count();
        log.rewind(end_seq).unwrap();
        let ended = disk.op_count();
        assert_eq!(held.count(), 59, "who reads already goes on");
        let kept: Vec<Seq> = (0..end_seq).collect();
        assert_eq!(seqs(&log), kept);
        append(&log, 3, 2, 10);
        let all: Vec<Seq> = kept.iter().copied().chain(60..66).collect();
        assert_eq!(seqs(&log), all, "no number is used again");
        let reader = small().open_reader("/log").unwrap();
        assert_eq!(reader.scan(..).unwrap().count(), all.len());
        log.close().unwrap();
        drop(log);
        let report = small().verify("/log").unwrap();
        let bad = report
            .findings
            .iter()
            .filter(|it| it.kind != FindingKind::Derived);
        assert_eq!(bad.count(), 0, "{report:?}");
        let log = small().open("/log").unwrap();
        assert_eq!(seqs(&log), all);
        log.backup("/backup").unwrap();
        assert_eq!(seqs(&small().open("/backup").unwrap()), all);
        log.trim(end_seq).unwrap();
        assert_eq!(seqs(&log), (60..66).collect::<Vec<_>>());
        if end_seq % 7 == 3 {
            for op in begun..ended {
                let point = disk.crash_at(op);
                for (_, state) in point.all(16) {
                    let log = options(&state)
                        .segment_bytes(64 << 10)
                        .open("/log")
                        .unwrap();
                    let found = seqs(&log);
                    let whole: Vec<Seq> = (0..60).collect();
                    assert!(found == kept || found == whole, "{op}: {found:?}");
                }
            }
        }
    }
}

/// What stays of a segment that was sealed is copied still, as it was.
#[test]
fn is_a_sealed_segment_rewound() {
    let disk = SimFs::new(3);
    let log = options(&disk).segment_bytes(8192).open("/log").unwrap();
    append(&log, 100, 3, 100);
    while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
    assert!(log.segments().unwrap().len() > 4);
    for end_seq in (1..300).rev().step_by(17) {
        log.rewind(end_seq).unwrap();
        assert_eq!(seqs(&log), (0..end_seq).collect::<Vec<_>>());
    }
    drop(log);
    let log = options(&disk).open("/log").unwrap();
    assert_eq!(log.next_seq(), 300);
}

/// Records that no sync covers, more than are copied.
fn written_only(disk: &SimFs) -> Log {
    let log = options(disk).segment_bytes(64 << 10).open("/log").unwrap();
    let how = AppendOptions::new().durability(Durability::Written);
    for seq in 0..20 {
        let value = format!("{seq:700}");
        log.append_records(&[NewRecord::value(&value)], &how)
            .unwrap();
    }
    log
}

/// A segment that is sealed where it stands is synced before a manifest says so.
#[test]
fn is_what_was_only_written_there_after_a_rewind_and_a_power_cut() {
    let disk = SimFs::new(5);
    let log = written_only(&disk);
    log.rewind(15).unwrap();
    for (_, state) in disk.crash_at(disk.op_count()).all(64) {
        let log = options(&state).open("/log").unwrap();
        assert_eq!(seqs(&log), (0..15).collect::<Vec<_>>());
    }
}

#[test]
fn is_what_was_only_written_shown_after_a_rewind() {
    let disk = SimFs::new(6);
    let log = written_only(&disk);
    assert_eq!(log.durable_seq(), 0);
    log.rewind(15).unwrap();
    assert_eq!(seqs(&log), (0..15).collect::<Vec<_>>());
}

/// Tasks have the worker do it, beside appends.
#[cfg(feature = "async")]
#[test]
fn is_what_tasks_ask_for_done_in_the_order_in_which_they_ask() {
    let disk = SimFs::new(4);
    for background in [false, true] {
        let path = format!("/log-{background}");
        let log = options(&disk).background(background).open(path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let how = AppendOptions::new();
            let record = |text: &'static str| [NewRecord::value(text)];
            for round in 0..20u64 {
                let first = log.submit_async(&record("kept"), &how).await.unwrap();
                let second = log.submit_async(&record("dropped"), &how).await.unwrap();
                let end_seq = second.seqs().start;
                log.rewind_async(end_seq).await.unwrap();
                assert_eq!(
                    (first.await.unwrap(), second.await.unwrap().end),
                    (2 * round..end_seq, end_seq + 1)
                );
                log.set_mark_async("round", round.to_le_bytes())
                    .await
                    .unwrap();
                assert_eq!(log.mark("round"), Some(round.to_le_bytes().to_vec()));
            }
            assert_eq!(log.scan(..).unwrap().count(), 20);
            log.trim_async(20).await.unwrap();
            assert_eq!(log.head_seq(), 20);
            assert!(log.trim_async(1000).await.is_err());
            log.close().unwrap();
            for closed in [
                log.rewind_async(0).await,
                log.trim_async(30).await,
                log.set_mark_async("a", "").await,
            ] {
                assert_eq!(closed.unwrap_err().kind(), cairnlog::ErrorKind::Closed);
            }
        });
    }
}
