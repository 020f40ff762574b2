//! Every verb of the tool, once or in a few forms, and what it leaves of the log.

use std::ops::Range;

/// Records in the log that each verb is tried on.
pub const RECORDS: u64 = 1000;
/// Where its cursor `mailer` stands.
pub const CURSOR: u64 = 10;

/// One form of a verb.
#[derive(Clone, Copy)]
pub struct Verb {
    /// The command line, words between blanks.
    pub line: &'static str,
    /// What it reads from standard input, if it does.
    pub input: Option<&'static str>,
    /// The records that are still there, whatever becomes of it.
    pub keeps: (u64, u64),
    /// Whether it opens the log for writing.
    pub writes: bool,
    /// Whether it makes the log if there is none.
    pub begins: bool,
    /// Whether it has anything to do with the log.
    pub needs_log: bool,
}

impl Verb {
    pub fn keeps(&self) -> Range<u64> {
        self.keeps.0..self.keeps.1
    }
}

const fn reads(line: &'static str) -> Verb {
    Verb {
        line,
        input: None,
        keeps: (0, RECORDS),
        writes: false,
        begins: false,
        needs_log: true,
    }
}

const fn writes(line: &'static str, first: u64, end: u64) -> Verb {
    Verb {
        keeps: (first, end),
        writes: true,
        ..reads(line)
    }
}

const fn begins(line: &'static str) -> Verb {
    Verb {
        begins: true,
        ..writes(line, 0, RECORDS)
    }
}

const fn needs_none(line: &'static str) -> Verb {
    Verb {
        needs_log: false,
        ..reads(line)
    }
}

const fn fed(verb: Verb, input: &'static str) -> Verb {
    Verb {
        input: Some(input),
        ..verb
    }
}

pub const VERBS: &[Verb] = &[
    fed(begins("append log"), "one\ntwo\nthree\n"),
    fed(begins("append log --acks"), "one\ntwo\nthree\n"),
    fed(begins("append log --quiet"), "one\ntwo\nthree\n"),
    begins("append log input.txt --json"),
    reads("cat log"),
    reads("cat log --json"),
    reads("cat log --reverse --format hex"),
    reads("cat log --grep 9 --limit 3"),
    reads("get log 7 5"),
    reads("tail log"),
    reads("stat log"),
    reads("stat log --json"),
    reads("stat log --keys"),
    reads("inspect log 1"),
    reads("top log --once --interval 0.01"),
    reads("verify log"),
    reads("verify log --json"),
    reads("plan log"),
    reads("repair log"),
    writes("repair log --apply", 0, RECORDS),
    reads("salvage log out"),
    writes("trim log 100", 100, RECORDS),
    reads("trim log 100 --dry-run"),
    writes("rewind log 900", 0, 900),
    writes("compact log --rotate", 0, RECORDS),
    writes("pack log --rotate", 0, RECORDS),
    writes("reseal log --key-file keys", 0, RECORDS),
    writes("retain log --seq 500", 500, RECORDS),
    writes("backup log out", 0, RECORDS),
    reads("compact log --dry-run"),
    reads("retain log --seq 500 --dry-run"),
    reads("cursor list log"),
    writes("cursor set log mailer 5", 0, RECORDS),
    writes("cursor delete log mailer", 0, RECORDS),
    writes("consume log mailer", 0, RECORDS),
    writes("consume log fresh --json", 0, RECORDS),
    reads("consume log mailer --no-ack"),
    begins("replay log history.txt"),
    fed(begins("replay log -"), "append 10 1\nsync\n"),
    reads("export log"),
    fed(
        begins("import log"),
        "{\"value\":\"a\"}\n{\"key\":\"k\",\"tombstone\":true}\n",
    ),
    needs_none("bench . --seconds 0.005"),
    needs_none("keygen out"),
    needs_none("completions bash"),
    needs_none("man cat"),
    needs_none("man --dir out"),
    needs_none("demo input.txt --dir out --records 20"),
];
