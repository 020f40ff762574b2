//! How much is measured: a whole hour, or a few minutes of the same shape.

/// How much is done.
#[derive(Clone, Debug)]
pub struct Effort {
    pub rounds: usize,
    /// The time box of a durable measurement.
    pub durable_seconds: f64,
    /// The time box, and the most bytes, of one without syncs.
    pub unsynced_seconds: f64,
    pub unsynced_bytes: u64,
    /// Of a log that is read, and of one with 100 B records.
    pub read_bytes: u64,
    pub read_bytes_short: u64,
    pub compact_bytes: u64,
    pub mixed_bytes: u64,
    /// Of a text that is packed.
    pub packed_bytes: u64,
    /// Logs in one process.
    pub logs: &'static [u64],
    pub segments: &'static [u64],
    pub mib: &'static [u64],
    /// MiB of a log that is only opened.
    pub large_mib: Option<u64>,
}

pub const FULL: Effort = Effort {
    rounds: 5,
    durable_seconds: 0.6,
    unsynced_seconds: 1.5,
    unsynced_bytes: 1 << 30,
    read_bytes: 1 << 30,
    read_bytes_short: 400 << 20,
    compact_bytes: 1 << 30,
    mixed_bytes: 64 << 20,
    packed_bytes: 64 << 20,
    // Two descriptors each: of 20,000, which many a machine grants, that leaves some hundred.
    logs: &[1000, 9800],
    segments: &[1, 10, 100, 1000, 10_000, 100_000],
    mib: &[1, 10, 100, 1024, 10 * 1024],
    large_mib: Some(10 * 1024),
};

pub const QUICK: Effort = Effort {
    rounds: 3,
    durable_seconds: 0.15,
    unsynced_seconds: 0.2,
    unsynced_bytes: 48 << 20,
    read_bytes: 64 << 20,
    read_bytes_short: 16 << 20,
    compact_bytes: 32 << 20,
    mixed_bytes: 4 << 20,
    packed_bytes: 32 << 20,
    logs: &[1000],
    segments: &[1, 10, 100, 1000, 10_000],
    mib: &[1, 10, 100],
    large_mib: None,
};
