//! A log's numbers for the `metrics` crate, which hands them to whatever the application collects with.

use super::{Histogram, Stats};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const NS_PER_SECOND: f64 = 1e9;

/// A name, its unit, what it says, and where the number is found.
type Row<T> = (&'static str, Unit, &'static str, fn(&Stats) -> T);

#[rustfmt::skip]
const COUNTERS: [Row<u64>; 6] = [
    ("cairn_appended_records_total", Unit::Count, "Records appended.", |s| s.appended_records),
    ("cairn_appended_bytes_total", Unit::Bytes, "Bytes of keys and values appended.", |s| s.appended_bytes),
    ("cairn_written_bytes_total", Unit::Bytes, "Bytes written into segments.", |s| s.written_bytes),
    ("cairn_groups_total", Unit::Count, "Groups written.", |s| s.group_count),
    ("cairn_syncs_total", Unit::Count, "Syncs for appends.", |s| s.sync_count),
    ("cairn_rotations_total", Unit::Count, "Segments begun.", |s| s.rotation_count),
];

#[rustfmt::skip]
const GAUGES: [Row<u64>; 9] = [
    ("cairn_head_seq", Unit::Count, "The oldest record kept.", |s| s.head_seq),
    ("cairn_next_seq", Unit::Count, "The number that the next append gets.", |s| s.next_seq),
    ("cairn_written_seq", Unit::Count, "Everything below is written.", |s| s.written_seq),
    ("cairn_durable_seq", Unit::Count, "Everything below survives power loss.", |s| s.durable_seq),
    ("cairn_segments", Unit::Count, "Segments, the tail included.", |s| s.segment_count),
    ("cairn_frame_bytes", Unit::Bytes, "Bytes of frames in all segments.", |s| s.frame_bytes),
    ("cairn_sealed_bytes", Unit::Bytes, "Bytes of frames in sealed segments.", |s| s.sealed_bytes),
    ("cairn_dirty_bytes", Unit::Bytes, "Bytes that were never compacted.", |s| s.dirty_bytes),
    ("cairn_queued_bytes", Unit::Bytes, "Bytes waiting to be written.", |s| s.queued_bytes),
];

const APPEND_SECONDS: &str = "cairn_append_seconds";
const SYNC_SECONDS: &str = "cairn_sync_seconds";
const SYNC_RECORDS: &str = "cairn_sync_records";

/// Hands a log's numbers to the recorder that the application has installed for the `metrics` crate.
///
/// Call [`export`](Self::export) every few seconds, with one `MetricsExport` for each opening of a log: it
/// knows what it has told. Every name has the label `log`.
///
/// | Name | Kind, unit |
/// |---|---|
/// | `cairn_appended_records_total`, `cairn_groups_total`, `cairn_syncs_total`, `cairn_rotations_total` | counters |
/// | `cairn_appended_bytes_total`, `cairn_written_bytes_total` | counters, bytes |
/// | `cairn_head_seq`, `cairn_next_seq`, `cairn_written_seq`, `cairn_durable_seq`, `cairn_segments` | gauges |
/// | `cairn_frame_bytes`, `cairn_sealed_bytes`, `cairn_dirty_bytes`, `cairn_queued_bytes` | gauges, bytes |
/// | `cairn_append_seconds`, with the label `level`: `durable`, `written`, `buffered` | histogram, seconds |
/// | `cairn_sync_seconds` | histogram, seconds |
/// | `cairn_sync_records` | histogram, records |
///
/// What each says stands at the fields of [`Stats`]; the values of histograms are at most an eighth too
/// large.
///
/// ```
/// use cairnlog::{Log, MetricsExport};
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// let mut metrics = MetricsExport::new("orders");
/// log.append("one")?;
/// metrics.export(&log.stats()); // From a timer of the application.
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Debug)]
pub struct MetricsExport {
    log: String,
    last: Option<Stats>,
}

impl MetricsExport {
    /// Describes the names to the recorder that is installed by now; `log` is the label of all of them.
    #[must_use]
    pub fn new(log: &str) -> Self {
        for (name, unit, about, _) in COUNTERS {
            describe_counter!(name, unit, about);
        }
        for (name, unit, about, _) in GAUGES {
            describe_gauge!(name, unit, about);
        }
        describe_histogram!(APPEND_SECONDS, Unit::Seconds, "Time until told.");
        describe_histogram!(SYNC_SECONDS, Unit::Seconds, "Time of a sync for appends.");
        describe_histogram!(SYNC_RECORDS, Unit::Count, "Records made durable at once.");
        Self {
            log: log.to_owned(),
            last: None,
        }
    }

    /// Tells the numbers as they are, and of counters and histograms what was added since the last call.
    pub fn export(&mut self, stats: &Stats) {
        let last = self.last.as_ref();
        for (name, _, _, of) in COUNTERS {
            let added = of(stats).saturating_sub(last.map_or(0, of));
            counter!(name, "log" => self.log.clone()).increment(added);
        }
        for (name, _, _, of) in GAUGES {
            gauge!(name, "log" => self.log.clone()).set(of(stats) as f64);
        }
        let tell = |to: &metrics::Histogram, of: fn(&Stats) -> &Histogram, unit: f64| {
            let added = last.map_or_else(|| of(stats).clone(), |last| of(stats).since(of(last)));
            for (value, count) in added.buckets() {
                to.record_many(value as f64 / unit, usize::try_from(count).unwrap_or(0));
            }
        };
        let append = |level: &'static str| histogram!(APPEND_SECONDS, "log" => self.log.clone(), "level" => level);
        tell(&append("durable"), |s| &s.durable_append_ns, NS_PER_SECOND);
        tell(&append("written"), |s| &s.written_append_ns, NS_PER_SECOND);
        tell(
            &append("buffered"),
            |s| &s.buffered_append_ns,
            NS_PER_SECOND,
        );
        let sync = histogram!(SYNC_SECONDS, "log" => self.log.clone());
        tell(&sync, |s| &s.sync_ns, NS_PER_SECOND);
        let records = histogram!(SYNC_RECORDS, "log" => self.log.clone());
        tell(&records, |s| &s.sync_records, 1.0);
        self.last = Some(stats.clone());
    }
}
