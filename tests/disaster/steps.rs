//! What an application may do, and the small histories that are gone through call by call.

use cairnlog::Durability;

/// One record of a step: bytes of value, and a key if it has one.
#[derive(Clone, Debug)]
pub struct New {
    pub key: Option<u8>,
    /// `None`: a tombstone.
    pub value_bytes: Option<usize>,
    pub time_ms: Option<i64>,
}

pub fn plain(value_bytes: usize) -> New {
    New {
        key: None,
        value_bytes: Some(value_bytes),
        time_ms: None,
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    Open,
    Append(Durability, Vec<New>),
    /// Several appends at once, and then the wait for all of them.
    Submit(Durability, Vec<Vec<New>>),
    Expect {
        seq_off_by: u64,
    },
    Sync,
    Rotate,
    Maintain,
    /// Up to this many records before the end are kept.
    Trim {
        keep: u64,
    },
    /// Up to this many durable records before the end are kept.
    TrimDurable {
        keep: u64,
    },
    Rewind {
        drop: u64,
    },
    /// Sets a mark to a number that it never had.
    Mark,
    /// Syncs, rotates and compacts: all records are compared.
    Compact,
    /// Syncs, rotates and packs all that is sealed.
    Pack,
    /// Has the log pack what is appended, from its next opening on.
    PackAppends,
    /// Sealed segments go from the head until about so many bytes are left.
    Retain {
        bytes: u64,
    },
    /// An append that names its producer.
    Named {
        id: u64,
        which: Which,
        level: Durability,
        news: Vec<New>,
    },
    /// One of the consumers does something.
    Consume(Who, Deed),
    /// Into a directory of its own.
    Backup {
        copy: bool,
    },
    Close,
    Kill,
}

/// The number of an append that names its producer.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    Next {
        skip: u64,
    },
    /// One that was used lately, and may be there.
    Again {
        back: u64,
    },
    /// The first of a new epoch.
    TakeOver,
}

/// A consumer, by its name. The till holds back retention.
pub type Who = &'static str;
pub const TILL: Who = "till";
pub const READER: Who = "reader";

/// What a consumer does.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Acknowledges so many more, as far as they are durable.
    Ack { ahead: u64 },
    /// Goes to some durable number, or to the end.
    Seek { to: u64 },
    /// Appends what came of so many more.
    Output { ahead: u64, news: Vec<New> },
    /// Ends, and is opened anew by its next deed.
    Leave,
}

pub use Step::*;

/// One durable append.
pub fn durable(value_bytes: usize) -> Step {
    Append(Durability::Durable, vec![plain(value_bytes)])
}

/// One durable append of a key: a value, or a tombstone.
pub fn keyed(key: u8, value_bytes: impl Into<Option<usize>>) -> Step {
    let new = New {
        key: Some(key),
        value_bytes: value_bytes.into(),
        time_ms: None,
    };
    Append(Durability::Durable, vec![new])
}

pub fn written(value_bytes: usize) -> Step {
    Append(Durability::Written, vec![plain(value_bytes)])
}

pub fn buffered(value_bytes: usize) -> Step {
    Append(Durability::Buffered, vec![plain(value_bytes)])
}

pub fn batch(sizes: &[usize]) -> Step {
    Append(
        Durability::Durable,
        sizes.iter().map(|size| plain(*size)).collect(),
    )
}

/// The histories that are gone through call by call.
pub fn canonical() -> Vec<(&'static str, u64, Vec<Step>)> {
    let unclean = vec![Open, durable(40), durable(40), written(30), written(30)];
    let then = |mut start: Vec<Step>, more: &[Step]| {
        start.extend_from_slice(more);
        start
    };
    vec![
        ("fresh create", 1024, vec![Open]),
        (
            "durable appends",
            1024,
            vec![Open, durable(20), durable(60), durable(20), durable(0)],
        ),
        (
            "restarts: what is small is carried whole",
            4096,
            vec![
                Open,
                durable(40),
                written(30),
                Kill,
                Open,
                durable(20),
                batch(&[10, 20]),
                Kill,
                Open,
                durable(10),
            ],
        ),
        (
            "batches",
            1024,
            vec![Open, batch(&[10, 20, 30]), durable(9), batch(&[50, 60])],
        ),
        (
            "rotation",
            512,
            vec![
                Open,
                durable(150),
                durable(150),
                durable(150),
                Maintain,
                durable(150),
            ],
        ),
        (
            "trim",
            512,
            vec![
                Open,
                durable(150),
                durable(150),
                durable(150),
                Maintain,
                Trim { keep: 2 },
                durable(100),
                Maintain,
                Trim { keep: 0 },
                durable(10),
            ],
        ),
        (
            "files that come back",
            12_288,
            vec![
                Open,
                batch(&[3_500, 3_500, 3_500]),
                batch(&[5_500, 5_500]),
                batch(&[7_000, 3_500]),
                Maintain,
                durable(2_000),
                Trim { keep: 1 },
                durable(9_000),
                Maintain,
                // Now into a file that was the first segment.
                durable(3_000),
                written(2_000),
                written(3_000),
                durable(100),
                Maintain,
                durable(4_500),
                written(20),
                Sync,
            ],
        ),
        (
            "rewind",
            512,
            vec![
                Open,
                durable(100),
                durable(100),
                durable(100),
                Rewind { drop: 2 },
                durable(100),
                Rewind { drop: 1 },
                durable(20),
            ],
        ),
        (
            "marks",
            512,
            vec![
                Open,
                Mark,
                durable(100),
                Mark,
                durable(300),
                Maintain,
                Mark,
                durable(20),
            ],
        ),
        (
            "compaction",
            512,
            vec![
                Open,
                keyed(1, 90),
                keyed(2, 90),
                keyed(1, 100),
                durable(80),
                keyed(2, None),
                Compact,
                keyed(1, 20),
                Compact,
                durable(10),
            ],
        ),
        (
            "retention of what was compacted",
            512,
            vec![
                Open,
                keyed(1, 150),
                keyed(1, 150),
                durable(150),
                durable(150),
                Compact,
                durable(150),
                Maintain,
                Retain { bytes: 600 },
                durable(10),
            ],
        ),
        (
            "packing",
            1024,
            vec![
                Open,
                durable(700),
                keyed(1, 300),
                Pack,
                keyed(1, 250),
                keyed(2, 250),
                Pack,
                Compact,
                Kill,
                Open,
                durable(10),
            ],
        ),
        (
            "packed as they are appended",
            4096,
            vec![
                PackAppends,
                Open,
                batch(&[600, 700]),
                batch(&[500, 20, 600]),
                written(1_500),
                Submit(
                    Durability::Written,
                    vec![vec![plain(1_100)], vec![plain(30)]],
                ),
                Kill,
                Open,
                batch(&[900, 900]),
                Rewind { drop: 1 },
                batch(&[1_500, 1_500]),
                Maintain,
                batch(&[700, 700]),
                Pack,
                written(1_200),
                durable(10),
            ],
        ),
        (
            "clean close and reopen",
            1024,
            vec![Open, durable(40), written(40), Close, Open, durable(40)],
        ),
        (
            "unclean reopen",
            1024,
            then(unclean.clone(), &[Kill, Open, durable(30)]),
        ),
        (
            "unclean reopen over a rotation",
            512,
            vec![
                Open,
                durable(120),
                written(120),
                written(120),
                Kill,
                Open,
                durable(30),
            ],
        ),
        (
            "buffered and written",
            512,
            vec![
                Open,
                buffered(60),
                buffered(60),
                written(60),
                buffered(150),
                Sync,
                buffered(30),
                durable(60),
                written(100),
                Close,
            ],
        ),
        (
            "submitted together",
            512,
            vec![
                Open,
                Submit(
                    Durability::Durable,
                    vec![
                        vec![plain(50)],
                        vec![plain(60), plain(10)],
                        vec![plain(150)],
                    ],
                ),
                Rotate,
                Submit(Durability::Written, vec![vec![plain(50)], vec![plain(60)]]),
                Trim { keep: 3 },
                Close,
            ],
        ),
    ]
}

/// Histories in which the disk is given bytes before the sync that is to cover them: what was only
/// written, once it is much, and a large append piece by piece. With the size of segments and of buffers.
pub fn given_early() -> Vec<(&'static str, u64, usize, Vec<Step>)> {
    let much = [written(2_500), written(2_500), Maintain];
    let mut unsynced = vec![Open, durable(20)];
    unsynced.extend(much.clone());
    unsynced.extend(much);
    unsynced.extend([durable(20), written(5_000), Maintain, Close]);
    let large = vec![Open, durable(20), durable(10_000), durable(20)];
    vec![
        ("much that is only written", 16_384, 1_024, unsynced),
        ("a large append", 16_384, 4_096, large),
    ]
}
