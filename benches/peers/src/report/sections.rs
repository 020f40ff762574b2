//! The sections of the report: what stands in them, and the columns of their tables.

use crate::book::Better;

/// A column: its title, the number, what it is multiplied by, and which way is better, if that is marked.
pub type Column = (&'static str, &'static str, f64, Option<Better>);

const MIB: f64 = 1.0 / (1 << 20) as f64;
const DURABLE: &[Column] = &[
    ("records/s", "rate", 1.0, Some(Better::More)),
    ("p50 µs", "p50_us", 1.0, None),
    ("p99 µs", "p99_us", 1.0, Some(Better::Less)),
    ("p99.9 µs", "p999_us", 1.0, None),
    ("syncs/record", "flushes", 1.0, None),
    ("device B/B", "device_ratio", 1.0, None),
    ("CPU µs", "cpu_us", 1.0, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const UNSYNCED: &[Column] = &[
    ("records/s, synced", "rate", 1.0, Some(Better::More)),
    ("handed over/s", "handed_over_rate", 1.0, Some(Better::More)),
    ("device B/B", "device_ratio", 1.0, None),
    ("CPU µs", "cpu_us", 1.0, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const SCAN: &[Column] = &[
    ("records/s", "rate", 1.0, Some(Better::More)),
    ("MB/s", "bytes_per_s", 1e-6, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const GET: &[Column] = &[
    ("reads/s", "get_rate", 1.0, Some(Better::More)),
    ("p50 µs", "get_p50_us", 1.0, None),
    ("p99 µs", "get_p99_us", 1.0, Some(Better::Less)),
];
const OPEN: &[Column] = &[
    ("open ms", "open_ms", 1.0, Some(Better::Less)),
    ("MiB after", "open_mib", 1.0, None),
    ("peak MiB", "open_peak_mib", 1.0, Some(Better::Less)),
    ("files MiB", "length_bytes", MIB, None),
];
const FRESH: &[Column] = &[
    (
        "on disk KiB",
        "allocated_bytes",
        1.0 / 1024.0,
        Some(Better::Less),
    ),
    ("file lengths KiB", "length_bytes", 1.0 / 1024.0, None),
];
const TAIL: &[Column] = &[
    ("p50 µs", "p50_us", 1.0, None),
    ("p90 µs", "p90_us", 1.0, None),
    ("p99 µs", "p99_us", 1.0, None),
    ("from the call, p50 µs", "total_p50_us", 1.0, None),
];
const COMPACT: &[Column] = &[
    ("live MB/s", "rate", 1e-6, None),
    ("plain copy MB/s", "copy_rate", 1e-6, None),
    ("append p99 alone µs", "held_p99_us", 1.0, None),
    ("beside µs", "beside_p99_us", 1.0, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const MIXED: &[Column] = &[
    ("appends/s", "rate", 1.0, Some(Better::More)),
    ("p50 µs", "p50_us", 1.0, None),
    ("p99 µs", "p99_us", 1.0, Some(Better::Less)),
    ("read MB/s", "read_bytes_per_s", 1e-6, Some(Better::More)),
];
const QUEUE: &[Column] = &[
    ("jobs/s", "rate", 1.0, Some(Better::More)),
    ("p50 µs", "p50_us", 1.0, None),
    ("p99 µs", "p99_us", 1.0, Some(Better::Less)),
    ("syncs/job", "flushes", 1.0, None),
    ("CPU µs", "cpu_us", 1.0, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const ACKNOWLEDGE: &[Column] = &[
    ("acknowledgements/s", "rate", 1.0, None),
    ("p50 µs", "p50_us", 1.0, None),
    ("p99 µs", "p99_us", 1.0, None),
    ("durable appends/s", "append_rate", 1.0, None),
    ("of those", "of_appends", 1.0, None),
];
const PARALLEL: &[Column] = &[
    ("scan, one thread, MB/s", "scan_rate", 1e-6, None),
    ("many", "scan_many_rate", 1e-6, None),
    ("gain", "scan_gain", 1.0, None),
    ("verify, one thread, MB/s", "verify_rate", 1e-6, None),
    ("many", "verify_many_rate", 1e-6, None),
    ("gain", "verify_gain", 1.0, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const SUBMITTED: &[Column] = &[
    ("records/s", "rate", 1.0, Some(Better::More)),
    ("p50 µs", "p50_us", 1.0, None),
    ("p99 µs", "p99_us", 1.0, Some(Better::Less)),
    ("syncs/record", "flushes", 1.0, None),
    ("device B/B", "device_ratio", 1.0, None),
    ("CPU µs", "cpu_us", 1.0, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const MANY: &[Column] = &[
    ("threads", "threads", 1.0, None),
    ("descriptors", "descriptors", 1.0, None),
    ("memory B", "memory_bytes", 1.0, None),
    ("after an append B", "used_memory_bytes", 1.0, None),
    ("on disk KiB", "disk_bytes", 1.0 / 1024.0, None),
    ("one append to each µs", "append_us", 1.0, None),
    ("CPU ms in 10 s at rest", "idle_cpu_ms", 1.0, None),
    ("creating all s", "create_s", 1.0, None),
    ("opening all s", "open_s", 1.0, None),
];
const PACKED: &[Column] = &[
    ("on disk B/B", "disk_ratio", 1.0, Some(Better::Less)),
    ("scan, records/s", "rate", 1.0, Some(Better::More)),
    ("MB/s", "bytes_per_s", 1e-6, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const PACKING: &[Column] = &[
    ("packing MB/s", "rate", 1e-6, None),
    ("bare codec MB/s", "bare_rate", 1e-6, None),
    ("bare unpacking MB/s", "bare_unpack_rate", 1e-6, None),
    ("packed B/B", "disk_ratio", 1.0, None),
    ("bare codec B/B", "bare_ratio", 1.0, None),
    ("append p99 alone µs", "held_p99_us", 1.0, None),
    ("beside µs", "beside_p99_us", 1.0, None),
    ("peak MiB", "peak_mib", 1.0, None),
];
const GROWTH_BYTES: &[Column] = &[
    ("append µs", "append_us", 1.0, None),
    ("rotate µs", "rotate_us", 1.0, None),
    ("open ms", "open_ms", 1.0, None),
    ("get µs", "get_us", 1.0, None),
    ("append to tail µs", "wake_us", 1.0, None),
];
const GROWTH: &[Column] = &[
    ("append µs", "append_us", 1.0, None),
    ("rotate µs", "rotate_us", 1.0, None),
    ("open ms", "open_ms", 1.0, None),
    ("get µs", "get_us", 1.0, None),
    ("append to tail µs", "wake_us", 1.0, None),
    (
        "memory per segment, B",
        "memory_bytes_per_segment",
        1.0,
        None,
    ),
];

/// A workload of the report: its tables come from these works.
pub struct Section {
    pub name: &'static str,
    pub title: &'static str,
    pub text: &'static str,
    pub tables: &'static [(&'static str, &'static [Column])],
}

pub const SECTIONS: &[Section] = &[
    Section {
        name: "W1",
        title: "durable appends, one thread",
        text: "Each append returns when the record survives power loss. The limits write the payload and 32 bytes.",
        tables: &[("W1", DURABLE)],
    },
    Section {
        name: "W2",
        title: "durable appends, 8 and 64 threads",
        text: "Two limits have one thread, and write as many records with one sync as Cairn did on average in the round before; `raw-group` is the plainest group commit: as many threads, of which the last to come writes and syncs for all. Who syncs each append alone lets one thread go on and on while the others wait: p99 is that of the one, p99.9 that of the others.",
        tables: &[("W2", DURABLE)],
    },
    Section {
        name: "W3",
        title: "durable batches of 100",
        text: "Latencies are of a batch, the rest is per record.",
        tables: &[("W3", DURABLE)],
    },
    Section {
        name: "W4",
        title: "not durable",
        text: "The cheapest mode that each has, up to 1 GiB or the time box, one sync at the end: how fast records are handed over, \
               and with that sync in. Then the same with at least one write to the operating system for each record.",
        tables: &[("W4", UNSYNCED), ("W4-written", UNSYNCED)],
    },
    Section {
        name: "W5",
        title: "sequential reading, warm",
        text: "The second pass over a log that was closed and opened again.",
        tables: &[("read", SCAN)],
    },
    Section {
        name: "W6",
        title: "random reads by number, warm",
        text: "One thread; transactions, where there are any, for each read.",
        tables: &[("read", GET)],
    },
    Section {
        name: "W7",
        title: "opening",
        text: "After a clean close, then after a SIGKILL. Memory is what opening added.",
        tables: &[("read", OPEN), ("killed", OPEN)],
    },
    Section {
        name: "W8",
        title: "space",
        text: "A log with one durable record, while it is open. The bytes that reached the device for each byte of payload are in \
               the tables of W1 to W4.",
        tables: &[("fresh", FRESH)],
    },
    Section {
        name: "W9",
        title: "tail latency",
        text: "From the return of a durable append to a waiting reader's having the record: a thread of the same process, then \
               another process. No peer has a reader that waits.",
        tables: &[("W9-here", TAIL), ("W9-elsewhere", TAIL)],
    },
    Section {
        name: "W10",
        title: "compaction",
        text: "A keyed log, half of it dead: as fast as it can beside a plain copy of the live bytes, synced; and durable appends \
               of 100 B beside a compaction at the default rate.",
        tables: &[("W10", COMPACT)],
    },
    Section {
        name: "W11",
        title: "one durable writer, four scanning readers",
        text: "Two cores or few: who reads faster leaves less for the writer.",
        tables: &[("W11", MIXED)],
    },
    Section {
        name: "W12",
        title: "a write-ahead log with checkpoints",
        text: "Durable appends by 1, 8 and 64 threads; after each 12 MiB of payload all that is there is let go of, each by its own way. The limits start over in their file. Letting go is in the rates, and in no latency but that of who waits for it. Before, each appends 48 MiB, or as much as it can in three times the time. Of 100 B by one thread no checkpoint comes within it.",
        tables: &[("W12", DURABLE)],
    },
    Section {
        name: "W13",
        title: "a queue of jobs",
        text: "1, 8 and 64 workers of one process; each puts a job of 100 B, takes the oldest that nobody has, with a lease, and acknowledges it: all three durable when they return. SQLite: an `INSERT`, an `UPDATE` that leases, a `DELETE`; redb and fjall: moved from a table of those that are ready into one of those that are leased, and removed there.",
        tables: &[("W13", QUEUE)],
    },
    Section {
        name: "W14",
        title: "acknowledgements alone",
        text: "1, 8 and 64 consumers, each of which says again and again that it is done with one more record; in turns with durable appends of 100 B by as many threads.",
        tables: &[("W14", ACKNOWLEDGE)],
    },
    Section {
        name: "W15",
        title: "scanning and verifying by two threads",
        text: "A log in the cache: a scan that lends against `Reader::split`, and `verify` with `threads(1)` against two. 1.8 is asked for where two processors are free.",
        tables: &[("W15", PARALLEL)],
    },
    Section {
        name: "W16",
        title: "text that is packed",
        text: "Records of about 100 B: the package list of the machine it ran on (`/var/lib/dpkg/status`, in pieces), and made-up lines of JSON and of a web server's log, the same each time; handed over by 1,000, packed by each in its own way, closed. *On disk*: all that its directory takes for each byte of payload. The scan is the second one after opening again. Then how fast a sealed log is packed, in bytes of payload, beside the bare codec on the same bytes in blocks of 64 KiB, which also unpacks them; and durable appends of 100 B beside packing at the default rate.",
        tables: &[
            ("W16-packages", PACKED),
            ("W16-json", PACKED),
            ("W16-server", PACKED),
            ("W16-codec", PACKING),
        ],
    },
    Section {
        name: "W17",
        title: "many logs in one process",
        text: "A log for each group, with one `Worker` of four threads for all; and a store that has all groups in files which they share, so that a group costs it memory and nothing else, and none has an end of its own on the disk. Descriptors, memory and space are for each group, before it has a record; then each gets a durable one, and nothing is done for 10 s.",
        tables: &[("W17", MANY)],
    },
    Section {
        name: "W18",
        title: "durable appends that are handed over",
        text: "One thread hands over records and waits for the oldest whenever 1, 64 or 1,024 of them are on their way. Latencies are from handing over to knowing that it is durable. Then the same through what openraft 0.10 asks of the log store of a node: one task appends entries one by one and goes on, a callback tells of each, and what is on its way can be read. Cairn by `cairnlog-openraft`, entries and all; the others by as little as they allow, payloads alone: raft-log calls back itself, raft-engine has a thread that writes what has come since, with one sync, and calls back.",
        tables: &[("W18", SUBMITTED), ("W18-stores", SUBMITTED)],
    },
    Section {
        name: "growth",
        title: "what each thing costs as the log grows",
        text: "Cairn alone. By segments: a log of small ones that is made with the format's encoders. By MiB: segments as by default. Memory is what is in use once the log is open.",
        tables: &[("growth-segments", GROWTH), ("growth-bytes", GROWTH_BYTES)],
    },
];
