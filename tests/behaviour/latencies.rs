//! Does a log say how long its appends and syncs take, and how many share a sync?

use crate::sim;
use cairnlog::{
    AppendOptions, Durability, Histogram, Log, NewRecord,
    vfs::sim::{Errno, Fault, FaultRule, OpKind},
};
use std::time::{Duration, Instant};

fn append(log: &Log, level: Durability, count: usize) {
    let how = AppendOptions::new().durability(level);
    let records = vec![NewRecord::value("x"); count];
    log.append_records(&records, &how).unwrap();
}

#[test]
fn does_a_durable_append_count_once_in_each() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let before = log.stats();
    assert_eq!(before.durable_append_ns, Histogram::default());
    let start = Instant::now();
    for _ in 0..20 {
        append(&log, Durability::Durable, 3);
    }
    let all = u64::try_from(start.elapsed().as_nanos()).unwrap();
    let stats = log.stats();
    let (appends, syncs) = (&stats.durable_append_ns, &stats.sync_ns);
    assert_eq!((appends.count(), stats.sync_records.count()), (20, 20));
    assert_eq!(
        (stats.sync_records.sum(), stats.sync_records.max()),
        (60, Some(3))
    );
    assert_eq!(syncs.count(), stats.sync_count);
    // An append takes longer than its sync, and all of them no longer than it took in all.
    assert!(appends.sum() <= all, "{} of {all}", appends.sum());
    assert!(appends.quantile(0.5) >= syncs.min(), "{stats:?}");
    let quantiles = [0.0, 0.5, 0.9, 0.99, 1.0].map(|part| appends.quantile(part));
    assert!(quantiles.is_sorted() && quantiles[0] >= appends.min());
    assert_eq!(quantiles[4], appends.max());
    assert_eq!(
        stats.buffered_append_ns.count() + stats.written_append_ns.count(),
        0
    );
    drop(log);
    let log = Log::open(dir.path().join("log")).unwrap();
    assert_eq!(
        log.stats().durable_append_ns.count(),
        0,
        "since it was opened"
    );
}

/// The first of them is timed, and then one in 64 records, whatever their number.
#[test]
fn are_appends_that_wait_for_no_disk_timed_now_and_then() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    append(&log, Durability::Buffered, 1);
    assert_eq!(log.stats().buffered_append_ns.count(), 1);
    for _ in 0..6400 {
        append(&log, Durability::Buffered, 1);
    }
    let timed = log.stats().buffered_append_ns.count();
    assert!((90..=101).contains(&timed), "{timed}");
    for _ in 0..640 {
        append(&log, Durability::Written, 1);
    }
    let stats = log.stats();
    let timed = stats.written_append_ns.count();
    assert!((9..=11).contains(&timed), "{timed}");
    assert_eq!(stats.durable_append_ns.count(), 0);
    log.sync().unwrap();
    assert!(log.stats().sync_records.sum() == 7041);
}

/// The memory is that of the buckets, of which there are never more, however many appends there are.
#[test]
fn is_a_look_small_after_many_appends() {
    let (_disk, options) = sim();
    let log = options.segment_bytes(1 << 20).open("/log").unwrap();
    for _ in 0..5000 {
        append(&log, Durability::Durable, 1);
    }
    let stats = log.stats();
    assert_eq!(stats.durable_append_ns.count(), 5000);
    assert!(stats.durable_append_ns.buckets().count() < 497);
    let counts = stats.durable_append_ns.buckets().map(|(_, count)| count);
    assert_eq!(counts.sum::<u64>(), 5000);
}

#[test]
fn is_an_append_that_failed_left_out() {
    let (disk, options) = sim();
    let log = options.open("/log").unwrap();
    append(&log, Durability::Durable, 1);
    disk.fail(FaultRule::nth(OpKind::Sync, 0, Fault::Error(Errno::Eio)));
    log.append("lost").unwrap_err();
    let stats = log.stats();
    assert_eq!(stats.durable_append_ns.count(), 1);
    assert_eq!((stats.sync_ns.count(), stats.sync_records.sum()), (1, 1));
    let took = Duration::from_nanos(stats.durable_append_ns.max().unwrap());
    assert!(
        took < Duration::from_secs(1),
        "{took:?} on a disk of memory"
    );
}

#[cfg(feature = "async")]
#[test]
fn is_an_append_that_is_awaited_timed_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("log")).unwrap();
    let records = [NewRecord::value("x")];
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    let how = AppendOptions::new();
    runtime.block_on(log.append_async(&records, &how)).unwrap();
    assert_eq!(log.stats().durable_append_ns.count(), 1);
}

/// The feature `metrics`: what a recorder of the application is told.
#[cfg(feature = "metrics")]
mod export {
    use super::append;
    use cairnlog::{Durability, Log, MetricsExport};
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, HistogramFn, Key, KeyName, Metadata, Recorder,
        SharedString, Unit,
    };
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    #[derive(Default)]
    struct Told {
        described: BTreeMap<String, Option<Unit>>,
        /// By name and labels.
        values: BTreeMap<String, Vec<f64>>,
    }

    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Told>>);

    struct Note(String, Notes);

    impl Note {
        fn add(&self, value: f64) {
            let mut told = self.1.0.lock().unwrap();
            told.values.entry(self.0.clone()).or_default().push(value);
        }
    }

    impl CounterFn for Note {
        fn increment(&self, value: u64) {
            self.add(value as f64);
        }
        fn absolute(&self, value: u64) {
            panic!(
                "{} set to {value}: it would stand still after a reopening",
                self.0
            );
        }
    }

    impl GaugeFn for Note {
        fn increment(&self, value: f64) {
            self.add(value);
        }
        fn decrement(&self, value: f64) {
            self.add(-value);
        }
        fn set(&self, value: f64) {
            self.add(value);
        }
    }

    impl HistogramFn for Note {
        fn record(&self, value: f64) {
            self.add(value);
        }
    }

    impl Notes {
        fn describe(&self, name: &KeyName, unit: Option<Unit>) {
            let mut told = self.0.lock().unwrap();
            told.described.insert(name.as_str().to_owned(), unit);
        }

        fn note(&self, key: &Key) -> Arc<Note> {
            let labels = key
                .labels()
                .map(|label| format!(" {}={}", label.key(), label.value()));
            let name = format!("{}{}", key.name(), labels.collect::<String>());
            Arc::new(Note(name, self.clone()))
        }

        fn of(&self, name: &str) -> Vec<f64> {
            let mut told = self.0.lock().unwrap();
            told.values.remove(name).unwrap_or_default()
        }
    }

    impl Recorder for Notes {
        fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
            self.describe(&name, unit);
        }
        fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
            self.describe(&name, unit);
        }
        fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
            self.describe(&name, unit);
        }
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.note(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.note(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
            metrics::Histogram::from_arc(self.note(key))
        }
    }

    #[test]
    fn is_a_recorder_told_what_was_added_since_it_was_told_last() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::default();
        let log = Log::open(dir.path().join("log")).unwrap();
        metrics::with_local_recorder(&notes, || {
            let mut export = MetricsExport::new("orders");
            for count in [2, 3, 0] {
                for _ in 0..count {
                    append(&log, Durability::Durable, 1);
                }
                export.export(&log.stats());
            }
        });
        let records = notes.of("cairn_appended_records_total log=orders");
        assert_eq!(records, [2.0, 3.0, 0.0]);
        assert_eq!(notes.of("cairn_next_seq log=orders"), [2.0, 5.0, 5.0]);
        let appends = notes.of("cairn_append_seconds log=orders level=durable");
        assert_eq!(appends.len(), 5);
        assert!(
            appends.iter().all(|time| (1e-7..10.0).contains(time)),
            "{appends:?}"
        );
        assert_eq!(notes.of("cairn_sync_records log=orders"), [1.0; 5]);
        assert_eq!(notes.of("cairn_sync_seconds log=orders").len(), 5);
        let told = notes.0.lock().unwrap();
        assert_eq!(told.described["cairn_append_seconds"], Some(Unit::Seconds));
        for name in told.values.keys() {
            let name = name.split(' ').next().unwrap();
            assert!(told.described.contains_key(name), "{name} is not described");
        }
    }
}
