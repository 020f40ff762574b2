//! What is queued: how much, behind what, and what is done about it where there is no thread but the caller's.

use crate::{sim, values};
use cairnlog::{
    AppendOptions, Durability, ErrorKind, Log, Maintained, NewRecord, Options,
    format::{Manifest, ProducersFile},
    vfs::sim::{Choice, Errno, Fault, FaultRule, OpKind, SimFs},
};
use std::{path::Path, sync::Arc, time::Duration};

fn buffered() -> AppendOptions {
    AppendOptions::new().durability(Durability::Buffered)
}

fn put(log: &Log, value: &str) -> cairnlog::Result<std::ops::Range<u64>> {
    log.append_records(&[NewRecord::value(value)], &buffered())
}

fn manifest(disk: &SimFs) -> Manifest {
    let bytes = disk.read_file(Path::new("/log/MANIFEST")).unwrap();
    Manifest::decode(&bytes).unwrap()
}

#[test]
fn does_no_more_wait_in_memory_than_it_may() {
    let (_, options) = sim();
    let options = options.segment_bytes(1 << 20).queue_bytes_max(10_000);
    let log = options.open("/log").unwrap();
    let value = "x".repeat(1000);
    let mut most = 0;
    for number in 0..40 {
        put(&log, &value).unwrap();
        let queued = log.stats().queued_bytes;
        assert!(number > 0 || (1000..1100).contains(&queued), "{queued}");
        most = most.max(queued);
    }
    assert!((9_000..=10_000).contains(&most), "{most}");
    // What is larger than all that may wait goes alone, and is not held back for ever.
    put(&log, &value.repeat(30)).unwrap();
    log.sync().unwrap();
    let stats = log.stats();
    assert_eq!((stats.queued_bytes, stats.appended_records), (0, 41));
    assert_eq!(stats.appended_bytes, 70_000);
}

/// A record, and a batch, as large as they may be, and a byte more.
#[test]
fn where_the_size_of_records_and_batches_ends() {
    let disk = SimFs::new(1);
    let options = Options::new().vfs(Arc::new(disk.clone())).background(false);
    let log = options
        .segment_bytes(4096)
        .record_bytes_max(1000)
        .open("/log")
        .unwrap();
    let of = |sizes: &[usize]| {
        let values: Vec<String> = sizes.iter().map(|size| "x".repeat(*size)).collect();
        let records: Vec<_> = values.iter().map(NewRecord::value).collect();
        log.append_records(&records, &AppendOptions::new())
    };
    let refused = |sizes: &[usize]| of(sizes).unwrap_err().kind();
    assert_eq!(of(&[1000]).unwrap(), 0..1);
    assert_eq!(refused(&[1001]), ErrorKind::TooLarge);
    // Behind the segment's header and its own; a record takes 16 bytes beside its value, at most.
    let room = 4096 - 128 - 24 - 4 * 16;
    let last = room - 3 * 1000;
    assert_eq!(of(&[1000, 1000, 1000, last]).unwrap(), 1..5);
    assert_eq!(refused(&[1000, 1000, 1000, last + 1]), ErrorKind::TooLarge);
    let keyed = NewRecord::keyed("key", "x".repeat(998).leak());
    let told = log.append_records(&[keyed], &AppendOptions::new());
    assert_eq!(
        told.unwrap_err().kind(),
        ErrorKind::TooLarge,
        "with its key"
    );
}

#[test]
fn where_the_size_of_keys_ends() {
    let (_, options) = sim();
    let log = options.segment_bytes(1 << 20).open("/log").unwrap();
    for (key_bytes, is_in) in [(65_535, true), (65_536, false), (70_000, false)] {
        let key = vec![7; key_bytes];
        let told = log.append_records(&[NewRecord::keyed(&key, "v")], &buffered());
        assert_eq!(told.is_ok(), is_in, "{key_bytes}");
    }
}

/// Records that share a batch share its time. Without a worker nobody says how long a batch may wait: what
/// came a while later was said to be as old as the first.
#[test]
fn how_old_may_a_record_seem_that_joins_others() {
    let (disk, options) = sim();
    let log = options.open("/log").unwrap();
    for pause_ms in [0, 50, 200, 1000] {
        disk.advance(Duration::from_millis(pause_ms));
        put(&log, "x").unwrap();
    }
    log.sync().unwrap();
    let times: Vec<i64> = log
        .scan(..)
        .unwrap()
        .map(|it| it.unwrap().timestamp_ms())
        .collect();
    let since: Vec<i64> = times.iter().map(|time| time - times[0]).collect();
    assert_eq!(since, [0, 0, 250, 1250]);
}

/// An acknowledgement goes into an annex of its own, also where records wait to be written: within their
/// batch it would be a batch that does not verify.
#[test]
fn does_an_acknowledgement_begin_its_own_batch_behind_records() {
    let (disk, options) = sim();
    let log = options.clone().open("/log").unwrap();
    log.append("first").unwrap();
    let mail = log.consumer("mail").unwrap();
    put(&log, "before").unwrap();
    mail.ack(0).unwrap();
    put(&log, "after").unwrap();
    log.sync().unwrap();
    let after = disk.crash_at(u64::MAX).state(&Choice::lost());
    let log = options.vfs(Arc::new(after)).open("/log").unwrap();
    assert_eq!(values(&log), ["first", "before", "after"]);
    assert_eq!(log.consumer("mail").unwrap().seq(), 1);
}

#[test]
fn does_maintain_say_that_it_wrote() {
    let (disk, options) = sim();
    let log = options.open("/log").unwrap();
    while log.maintain().unwrap() != Maintained::Nothing {}
    put(&log, "buffered").unwrap();
    assert_eq!(log.maintain().unwrap(), Maintained::Segments);
    assert_eq!((log.stats().queued_bytes, log.durable_seq()), (0, 0));
    assert_eq!(log.maintain().unwrap(), Maintained::Nothing);
    drop(log);
    assert!(manifest(&disk).clean);
}

/// A small tail is read in a moment by the next who opens; a large one would be read whole.
#[test]
fn is_a_large_tail_sealed_when_its_log_is_closed() {
    for (bytes, sealed) in [(100_000, 0), ((1 << 20) - 1000, 0), (1 << 20, 1)] {
        let (disk, options) = sim();
        let log = options.segment_bytes(8 << 20).open("/log").unwrap();
        log.append("x".repeat(bytes)).unwrap();
        log.close().unwrap();
        assert_eq!(manifest(&disk).sealed.len(), sealed, "{bytes}");
        assert!(manifest(&disk).clean);
    }
}

/// The segment has ended, and that is what was asked for. That there is no room for the one after the next
/// is told to whoever needs it; any other trouble is told at once.
#[test]
fn does_a_rotation_need_room_for_the_segment_after_the_next() {
    for (errno, told) in [(Errno::Enospc, None), (Errno::Eio, Some(ErrorKind::Io))] {
        let (disk, options) = sim();
        let log = options.open("/log").unwrap();
        log.append("a").unwrap();
        let rule = FaultRule::nth(OpKind::CreateNew, 0, Fault::Error(errno));
        disk.fail(rule.on("/log/00000000000000000003.seg"));
        assert_eq!(
            log.rotate().err().map(|error| error.kind()),
            told,
            "{errno:?}"
        );
        let sealed = usize::from(told.is_none());
        assert_eq!(manifest(&disk).sealed.len(), sealed);
        log.append("b").unwrap();
        log.rotate().unwrap();
        assert_eq!((values(&log).len(), manifest(&disk).sealed.len()), (2, 2));
    }
}

/// Without the ledger nothing that is finished can be sealed: for want of room the end is named all the same;
/// what else keeps it from that is told.
#[test]
fn does_closing_say_what_kept_it_from_sealing() {
    for (errno, told) in [(Errno::Enospc, None), (Errno::Eio, Some(ErrorKind::Io))] {
        let (disk, options) = sim();
        let log = options.clone().open("/log").unwrap();
        let by = |number| {
            let producer = cairnlog::Producer {
                id: 1,
                epoch: 0,
                number,
            };
            let how = AppendOptions::new().producer(producer);
            log.append_records(&[NewRecord::value("x".repeat(300).leak())], &how)
        };
        (0..3).for_each(|number| assert!(by(number).is_ok()));
        assert_eq!(manifest(&disk).sealed.len(), 0, "finished, and not sealed");
        let rule = FaultRule::nth(OpKind::Write, 0, Fault::Error(errno)).for_ever();
        for name in ["PRODUCERS", "PRODUCERS.new", "PRODUCERS.alt"] {
            disk.fail(rule.clone().on(format!("/log/{name}")));
        }
        let rotated = log.rotate().unwrap_err().kind();
        assert_eq!(rotated, told.unwrap_or(ErrorKind::NoSpace));
        assert_eq!(
            log.close().err().map(|error| error.kind()),
            told,
            "{errno:?}"
        );
        disk.clear_faults();
        drop(log);
        let log = options.open("/log").unwrap();
        assert_eq!(values(&log).len(), 3);
        log.rotate().unwrap();
        let ledger = disk.read_file(Path::new("/log/PRODUCERS")).unwrap();
        assert_eq!(ProducersFile::decode(&ledger).unwrap().producers.len(), 1);
    }
}

#[cfg(feature = "async")]
mod tasks {
    use super::*;
    use futures_util::{FutureExt, SinkExt};

    /// There is nobody who would wake it.
    #[test]
    fn is_a_ticket_awaited_where_there_is_no_worker() {
        let (_, options) = sim();
        let log = options.open("/log").unwrap();
        let ticket = log.submit(&[NewRecord::value("x")], &AppendOptions::new());
        assert_eq!(ticket.unwrap().now_or_never().unwrap().unwrap(), 0..1);
        assert_eq!(log.durable_seq(), 1);
    }

    /// What has no word of its own is appended as the sink says.
    #[test]
    fn does_a_sink_append_bytes_as_it_was_told() {
        let (_, options) = sim();
        let log = options.open("/log").unwrap();
        let mut sink = log.sink(buffered());
        sink.send("x").now_or_never().unwrap().unwrap();
        sink.close().now_or_never().unwrap().unwrap();
        assert_eq!((log.next_seq(), log.durable_seq()), (1, 0));
        assert_eq!(log.stats().queued_bytes, 33);
        assert!(format!("{sink:?}").contains("in_flight: 0"));
    }

    /// Whoever closes a sink is told as if it were flushed.
    #[test]
    fn does_closing_a_sink_wait_for_what_it_took() {
        let (_, options) = sim();
        let log = options.open("/log").unwrap();
        let mut sink = log.sink(AppendOptions::new());
        sink.feed("x").now_or_never().unwrap().unwrap();
        assert_eq!(log.durable_seq(), 0);
        sink.close().now_or_never().unwrap().unwrap();
        assert_eq!(log.durable_seq(), 1);
    }
}
