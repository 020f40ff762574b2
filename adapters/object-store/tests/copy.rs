//! Is what is restored the log as it was copied, whatever kind of store it went through?

mod common;

use cairnlog::{
    AppendOptions, CompactOptions, Compression, ErrorKind, Key, KeyId, Keys, Log, NewRecord,
    PackOptions, Producer, StoredLog,
};
use cairnlog_object_store::{
    Copier, CopyOptions, Error, RemoteOptions, RemoteReader, Replicator, ReplicatorOptions,
    RestoreOptions, Store, To, restore,
};
use common::{faulty::Fault, shown, store};
use std::{
    path::Path,
    time::{Duration, Instant},
};

fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn fill(log: &Log, count: u64) {
    for _ in 0..count {
        let seq = log.next_seq();
        let (key, value) = (format!("k{}", seq % 7), format!("value {seq} ").repeat(20));
        let record = NewRecord::keyed(&key, &value);
        let by = Producer {
            id: 3,
            epoch: 1,
            number: seq,
        };
        log.append_records(&[record], &AppendOptions::new().producer(by))
            .unwrap();
    }
}

fn log_in(dir: &Path) -> Log {
    Log::options()
        .segment_bytes(64 << 10)
        .open(dir.join("log"))
        .unwrap()
}

/// A log with everything: packed, compacted, trimmed and rewound segments, a tail, cursors, producers, a mark.
fn of_all_kinds(dir: &Path) -> Log {
    let log = log_in(dir);
    fill(&log, 600);
    log.rotate().unwrap();
    log.compact(&CompactOptions::new().rate_bytes_per_s(None))
        .unwrap();
    fill(&log, 600);
    log.rotate().unwrap();
    log.pack(&PackOptions::new(Compression::Lz4)).unwrap();
    log.trim(100).unwrap();
    fill(&log, 300);
    drop(log.consumer("reader").unwrap());
    log.set_cursor("reader", 700).unwrap();
    log.rewind(1400).unwrap();
    fill(&log, 20);
    let consumer = log.consumer("mover").unwrap();
    consumer.ack(900).unwrap();
    fill(&log, 5);
    log.set_mark("vote", "term 3").unwrap();
    log
}

fn check_same(log: &Log, restored: &Path) {
    let again = Log::open(restored).unwrap();
    assert_eq!(shown(&again.reader()), shown(&log.reader()));
    assert_eq!(
        (again.head_seq(), again.next_seq()),
        (log.head_seq(), log.next_seq())
    );
    let cursors = |log: &Log| -> Vec<_> {
        log.cursors()
            .unwrap()
            .into_iter()
            .map(|it| (it.name, it.seq))
            .collect()
    };
    assert_eq!(cursors(&again), cursors(log));
    assert_eq!(again.marks(), log.marks());
    // A repeat is known as one.
    let last = log.next_seq() - 1;
    let by = Producer {
        id: 3,
        epoch: 1,
        number: last,
    };
    let how = AppendOptions::new().producer(by);
    let repeated = again
        .append_records(&[NewRecord::value("again")], &how)
        .unwrap();
    assert_eq!(repeated, last..last + 1);
    assert_eq!(again.append("goes on").unwrap(), log.next_seq());
    again.close().unwrap();
    assert!(Log::options().verify(restored).unwrap().findings.is_empty());
}

#[test]
fn does_a_log_of_all_kinds_come_back_as_it_was() {
    let dir = temp();
    let log = of_all_kinds(dir.path());
    let directory = Store::open(dir.path().join("store").to_str().unwrap()).unwrap();
    let (memory, _) = store();
    for (name, store) in [("directory", directory), ("memory", memory)] {
        let mut copier = Copier::start(log.stored().unwrap(), &store, CopyOptions::new()).unwrap();
        assert!(copier.step().unwrap());
        assert_eq!(copier.end_seq(), log.next_seq());
        let to = dir.path().join(name);
        let report = restore(&store, &to, To::Latest).unwrap();
        assert_eq!(
            (report.head_seq, report.end_seq),
            (log.head_seq(), log.next_seq())
        );
        check_same(&log, &to);
        let refused = restore(&store, &to, To::Latest).unwrap_err();
        assert!(matches!(refused, Error::InvalidInput(_)), "{refused}");
    }
}

#[test]
fn is_what_is_put_of_a_restored_log_little_and_the_old_writer_refused() {
    let dir = temp();
    let log = of_all_kinds(dir.path());
    let (store, _) = store();
    let mut copier = Copier::start(log.stored().unwrap(), &store, CopyOptions::new()).unwrap();
    copier.step().unwrap();
    restore(&store, dir.path().join("restored"), To::Latest).unwrap();
    let again = Log::open(dir.path().join("restored")).unwrap();
    let refused = Copier::start(again.stored().unwrap(), &store, CopyOptions::new()).unwrap_err();
    assert!(matches!(refused, Error::OtherLog(_)), "{refused}");

    let over = CopyOptions::new().take_over(true);
    let mut next = Copier::start(again.stored().unwrap(), &store, over).unwrap();
    fill(&again, 10);
    next.step().unwrap();
    fill(&log, 1);
    let fenced = copier.step().unwrap_err();
    assert!(matches!(fenced, Error::Fenced { epoch: 2 }), "{fenced}");
    // Also once it is started anew: it is not the log that goes on.
    let refused = Copier::start(log.stored().unwrap(), &store, CopyOptions::new()).unwrap_err();
    assert!(matches!(refused, Error::OtherLog(_)), "{refused}");
    restore(&store, dir.path().join("third"), To::Latest).unwrap();
    check_same(&again, &dir.path().join("third"));
}

#[test]
fn does_a_moment_of_before_come_back() {
    let dir = temp();
    let (store, _) = store();
    let log = log_in(dir.path());
    let mut copier = Copier::start(log.stored().unwrap(), &store, CopyOptions::new()).unwrap();
    let mut moments = Vec::new();
    for round in 0..12 {
        fill(&log, 100);
        match round {
            4 => drop(
                log.compact(&CompactOptions::new().rate_bytes_per_s(None))
                    .unwrap(),
            ),
            7 => log.trim(150).unwrap(),
            9 => log.rewind(890).unwrap(),
            _ => {}
        }
        copier.step().unwrap();
        moments.push((copier.moment().unwrap(), shown(&log.reader())));
        std::thread::sleep(Duration::from_millis(2));
    }
    let listed = store.moments().unwrap();
    assert_eq!(listed, moments.iter().map(|it| it.0).collect::<Vec<_>>());
    for (moment, records) in &moments {
        for to in [To::Moment(moment.number), To::Time(moment.taken_ms)] {
            let at = dir.path().join(format!("{to:?}"));
            let report = restore(&store, &at, to).unwrap();
            assert_eq!(report.moment, *moment);
            assert_eq!(shown(&Log::open(&at).unwrap().reader()), *records);
        }
    }
    for seq in [250, 401, 890] {
        let at = dir.path().join(format!("seq {seq}"));
        restore(&store, &at, To::Seq(seq)).unwrap();
        let (_, records) = moments.iter().find(|it| it.0.end_seq >= seq).unwrap();
        let mut records = records.clone();
        records.retain(|record| record.0 < seq);
        assert_eq!(shown(&Log::open(&at).unwrap().reader()), records);
    }
    for to in [To::Time(1000), To::Seq(5000), To::Moment(99)] {
        let error = restore(&store, dir.path().join("none"), to).unwrap_err();
        assert!(matches!(error, Error::NotFound(_)), "{error}");
    }
}

/// A writer that stalled for long puts a number that was used, and collected since. It has to see that it was
/// replaced, tell nobody that something is safe, and do no harm.
#[test]
fn is_a_writer_that_stalled_for_long_fenced_off_and_harmless() {
    let dir = temp();
    let (store, _) = store();
    let log = log_in(dir.path());
    fill(&log, 50);
    let now = CopyOptions::new().keep(Duration::ZERO);
    let mut stalled = Copier::start(log.stored().unwrap(), &store, now.clone()).unwrap();
    stalled.step().unwrap();
    let mut other = Copier::start(log.stored().unwrap(), &store, now.clone()).unwrap();
    for _ in 0..40 {
        fill(&log, 10);
        other.step().unwrap();
        while other.collect().unwrap() {}
    }
    let oldest = store.moments().unwrap()[0].number;
    assert!(oldest > 10, "nothing was collected: {oldest}");
    fill(&log, 1);
    let fenced = stalled.step().unwrap_err();
    assert!(matches!(fenced, Error::Fenced { epoch: 2 }), "{fenced}");
    assert!(stalled.collect().is_err());
    // Nobody takes what it put for a moment, and whoever comes next deletes nothing for its sake.
    let mut last = Copier::start(log.stored().unwrap(), &store, now).unwrap();
    last.step().unwrap();
    while last.collect().unwrap() {}
    let moments = store.moments().unwrap();
    assert!(moments.iter().all(|it| it.number >= oldest));
    for moment in moments {
        restore(
            &store,
            dir.path().join(moment.number.to_string()),
            To::Moment(moment.number),
        )
        .unwrap();
    }
}

#[test]
fn are_only_needed_objects_kept() {
    let dir = temp();
    let path = dir.path().join("store");
    let store = Store::open(path.to_str().unwrap()).unwrap();
    let log = log_in(dir.path());
    let now = CopyOptions::new().keep(Duration::ZERO);
    for _ in 0..4 {
        let mut copier = Copier::start(log.stored().unwrap(), &store, now.clone()).unwrap();
        for _ in 0..20 {
            fill(&log, 40);
            copier.step().unwrap();
            while copier.collect().unwrap() {}
        }
        log.trim(log.next_seq() - 100).unwrap();
    }
    let count = |name: &str| path.join(name).read_dir().unwrap().count();
    assert_eq!(count("manifest"), 16);
    assert!(
        count("objects") < 16 * 4 + 40,
        "{} objects",
        count("objects")
    );
    // An object that was put and never named goes with the next writer.
    std::fs::write(path.join("objects/0000000001-000000009999"), "left behind").unwrap();
    let mut copier = Copier::start(log.stored().unwrap(), &store, now).unwrap();
    while copier.collect().unwrap() {}
    assert!(!path.join("objects/0000000001-000000009999").exists());
    restore(&store, dir.path().join("restored"), To::Latest).unwrap();
}

#[test]
fn does_it_copy_in_the_background_through_an_outage() {
    let dir = temp();
    let (store, faulty) = store();
    let log = log_in(dir.path());
    let options = ReplicatorOptions::new()
        .interval(Duration::from_millis(100))
        .hold("copy");
    let replicator = Replicator::start(&log, &store, options).unwrap();
    fill(&log, 100);
    assert!(
        replicator
            .wait_for(99, Some(Duration::from_secs(20)))
            .unwrap()
    );
    faulty.plan(|_| Fault::Error);
    fill(&log, 100);
    assert!(
        !replicator
            .wait_for(199, Some(Duration::from_millis(700)))
            .unwrap()
    );
    let status = replicator.status();
    assert!(
        status.last_error.is_some() && status.failure_count > 0,
        "{status:?}"
    );
    assert_eq!(
        (status.end_seq, status.durable_seq, status.lag_records),
        (100, 200, 100)
    );
    assert!(
        status.lag > Duration::ZERO && status.lag_bytes > 0,
        "{status:?}"
    );
    faulty.plan(|_| Fault::None);
    assert!(
        replicator
            .wait_for(199, Some(Duration::from_secs(20)))
            .unwrap()
    );
    let begun = Instant::now();
    while log.held_seq().unwrap() != Some(200) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "retention is held for ever"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    // Stopped in the middle of an answer that does not come.
    faulty.plan(|_| Fault::Lost);
    fill(&log, 1);
    let begun = Instant::now();
    assert!(replicator.stop().has_ended);
    assert!(begun.elapsed() < Duration::from_secs(5));
    faulty.plan(|_| Fault::None);
    restore(&store, dir.path().join("restored"), To::Latest).unwrap();
    let restored = Log::open(dir.path().join("restored")).unwrap();
    assert_eq!(restored.next_seq(), 200);
}

#[test]
fn is_an_object_that_changed_told() {
    let dir = temp();
    let path = dir.path().join("store");
    let store = Store::open(path.to_str().unwrap()).unwrap();
    let log = of_all_kinds(dir.path());
    let mut copier = Copier::start(log.stored().unwrap(), &store, CopyOptions::new()).unwrap();
    copier.step().unwrap();
    for name in ["manifest", "objects"] {
        for entry in path.join(name).read_dir().unwrap() {
            let file = entry.unwrap().path();
            let whole = std::fs::read(&file).unwrap();
            let mut changed = whole.clone();
            changed[whole.len() / 2] ^= 1;
            for bad in [changed, whole[..whole.len() - 1].to_vec()] {
                std::fs::write(&file, bad).unwrap();
                let to = dir.path().join("bad");
                // Of the commits only the newest is read.
                let is_read = name == "objects" || file.ends_with("00000000000000000002");
                match restore(&store, &to, To::Latest) {
                    Err(Error::Damaged { .. }) => {
                        let open = || Log::open(&to).map(drop).map_err(|error| error.kind());
                        assert!(
                            !to.exists() || open() == Err(ErrorKind::Damaged),
                            "it is a log"
                        );
                    }
                    other => assert!(!is_read, "{}: {other:?}", file.display()),
                }
                std::fs::remove_dir_all(&to).ok();
            }
            std::fs::write(&file, whole).unwrap();
        }
    }
    restore(&store, dir.path().join("good"), To::Latest).unwrap();
}

#[test]
fn is_a_log_read_from_afar_as_it_is() {
    let dir = temp();
    let log = of_all_kinds(dir.path());
    let (store, faulty) = store();
    let mut copier = Copier::start(log.stored().unwrap(), &store, CopyOptions::new()).unwrap();
    copier.step().unwrap();
    let far = RemoteReader::open(&store).unwrap();
    assert_eq!(shown(&far), shown(&log.reader()));
    assert!(far.verify().unwrap().findings.is_empty());
    let backwards = |reader: &cairnlog::Reader| -> Vec<_> {
        reader
            .scan(..)
            .unwrap()
            .rev()
            .map(|it| it.unwrap().seq())
            .collect()
    };
    assert_eq!(backwards(&far), backwards(&log.reader()));
    let middle = log.get(1000).unwrap().unwrap();
    let time = middle.timestamp_ms();
    assert_eq!(
        far.seek_time(time).unwrap(),
        log.reader().seek_time(time).unwrap()
    );
    let latest = |reader: &cairnlog::Reader| reader.latest(b"k3", ..).unwrap().map(|it| it.seq());
    assert_eq!(latest(&far), latest(&log.reader()));

    let far = RemoteReader::open(&store).unwrap();
    let before = faulty.request_count();
    assert_eq!(far.get(1000).unwrap().unwrap().value(), middle.value());
    assert!(
        faulty.request_count() - before <= 3,
        "one record takes that many requests"
    );
    faulty.plan(|_| Fault::Error);
    assert_eq!(far.get(1000).unwrap().unwrap().value(), middle.value()); // It is kept.
    assert_eq!(far.get(700).unwrap_err().kind(), ErrorKind::Io);
}

/// Another process is what a second handle is here: it has no part of the writer's memory.
#[test]
fn is_a_log_followed_that_others_write() {
    let dir = temp();
    let (store, _) = store();
    let log = log_in(dir.path());
    let stored = StoredLog::open(dir.path().join("log")).unwrap();
    let options = ReplicatorOptions::new().interval(Duration::from_millis(50));
    let replicator = Replicator::follow(stored, &store, options.clone()).unwrap();
    fill(&log, 500);
    log.close().unwrap();
    let log = log_in(dir.path());
    fill(&log, 500);
    assert!(
        replicator
            .wait_for(999, Some(Duration::from_secs(20)))
            .unwrap()
    );
    drop(replicator);
    let stored = StoredLog::open(dir.path().join("log")).unwrap();
    let held = Replicator::follow(stored, &store, options.hold("copy")).unwrap_err();
    assert!(matches!(held, Error::InvalidInput(_)));
    let progress = |done, total| assert!(done <= total);
    let options = RestoreOptions::new().progress(progress);
    options
        .restore(&store, dir.path().join("restored"), To::Latest)
        .unwrap();
    check_same(&log, &dir.path().join("restored"));
}

#[test]
fn does_a_sealed_log_travel_without_its_key() {
    let dir = temp();
    let keys = || Keys::new(KeyId(7), Key::new([7; 32]));
    let options = || Log::options().segment_bytes(64 << 10).keys(keys());
    let log = options().open(dir.path().join("log")).unwrap();
    fill(&log, 300);
    let (store, _) = store();
    let stored = StoredLog::open(dir.path().join("log")).unwrap();
    let mut copier = Copier::start(stored, &store, CopyOptions::new()).unwrap();
    copier.step().unwrap();
    restore(&store, dir.path().join("restored"), To::Latest).unwrap();
    let restored = options().open(dir.path().join("restored")).unwrap();
    assert_eq!(shown(&restored.reader()), shown(&log.reader()));
    let far = RemoteReader::open(&store).unwrap();
    assert_eq!(far.get(0).unwrap_err().kind(), ErrorKind::KeyMissing);
    let far = RemoteOptions::new().log(options()).open(&store).unwrap();
    assert_eq!(shown(&far), shown(&log.reader()));
    // Cutting through a batch is the one thing that needs the key.
    let cut =
        RestoreOptions::new()
            .log(options())
            .restore(&store, dir.path().join("cut"), To::Seq(100));
    assert_eq!(cut.unwrap().end_seq, 300);
    let cut = options().open(dir.path().join("cut")).unwrap();
    assert_eq!(cut.reader().last().unwrap().unwrap().seq(), 99);
}
