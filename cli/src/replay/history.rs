//! A history of operations as text: one a line, `#` begins a comment. Text in, operations out; the
//! grammar is `GRAMMAR`, which `cairn replay --help` prints.

use cairnlog::{Durability, Seq};

/// What `cairn replay --help` says of the grammar.
pub const GRAMMAR: &str = "\
A history has one operation a line; # begins a comment. SIZE is in bytes; SEED decides which bytes, so
that an expectation can name them again. LEVEL is durable, written or buffered; durable by default.

  append SIZE SEED [key=KEY] [LEVEL]   a record
  tombstone KEY [LEVEL]                the end of a key
  batch N SIZE SEED [LEVEL]            N records that enter together, with seeds SEED, SEED + 1, ...
  sync                                 makes everything so far durable
  rotate                               ends the segment
  maintain                             does what the background worker would do
  trim SEQ, rewind SEQ                 drop records below, or at and above, SEQ
  close, reopen                        closes; closes unless closed, and opens
  crash                                ends the process without closing anything, and opens again
  sleep MS                             waits, in milliseconds
  expect SEQ SIZE SEED                 the record is there and has these bytes
  expect-none SEQ                      there is no such record, or it is trimmed
  expect-next SEQ, expect-head SEQ     the next seq, the oldest record kept
  expect-count N                       the records that a scan gives
  expect-verdict VERDICT               the last opening found: created, clean, unclean or torn";

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Append {
        size: u32,
        seed: u64,
        key: Option<String>,
        level: Durability,
    },
    Tombstone {
        key: String,
        level: Durability,
    },
    Batch {
        count: u32,
        size: u32,
        seed: u64,
        level: Durability,
    },
    Sync,
    Rotate,
    Maintain,
    Trim(Seq),
    Rewind(Seq),
    Close,
    Reopen,
    Crash,
    Sleep(u64),
    Expect {
        seq: Seq,
        size: u32,
        seed: u64,
    },
    ExpectNone(Seq),
    ExpectNext(Seq),
    ExpectHead(Seq),
    ExpectCount(u64),
    ExpectVerdict(String),
}

/// An operation and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// As it was written, without comment.
    pub text: String,
    pub op: Op,
}

/// Reads a whole history.
pub fn parse(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let text = line.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let op = parse_op(text).map_err(|error| format!("line {number}: `{text}`: {error}"))?;
        let text = text.to_owned();
        lines.push(Line { number, text, op });
    }
    Ok(lines)
}

fn parse_op(text: &str) -> Result<Op, String> {
    let mut words = Words(text.split_whitespace());
    let op = match words.next("an operation")? {
        "append" => {
            let (size, seed) = (words.number("SIZE")?, words.number("SEED")?);
            let (key, level) = words.key_and_level()?;
            Op::Append {
                size,
                seed,
                key,
                level,
            }
        }
        "tombstone" => {
            let key = words.next("KEY")?.to_owned();
            let level = words.level()?;
            Op::Tombstone { key, level }
        }
        "batch" => Op::Batch {
            count: words.number("N")?,
            size: words.number("SIZE")?,
            seed: words.number("SEED")?,
            level: words.level()?,
        },
        "sync" => Op::Sync,
        "rotate" => Op::Rotate,
        "maintain" => Op::Maintain,
        "trim" => Op::Trim(words.number("SEQ")?),
        "rewind" => Op::Rewind(words.number("SEQ")?),
        "close" => Op::Close,
        "reopen" => Op::Reopen,
        "crash" => Op::Crash,
        "sleep" => Op::Sleep(words.number("MS")?),
        "expect" => Op::Expect {
            seq: words.number("SEQ")?,
            size: words.number("SIZE")?,
            seed: words.number("SEED")?,
        },
        "expect-none" => Op::ExpectNone(words.number("SEQ")?),
        "expect-next" => Op::ExpectNext(words.number("SEQ")?),
        "expect-head" => Op::ExpectHead(words.number("SEQ")?),
        "expect-count" => Op::ExpectCount(words.number("N")?),
        "expect-verdict" => match words.next("VERDICT")? {
            verdict @ ("created" | "clean" | "unclean" | "torn") => {
                Op::ExpectVerdict(verdict.to_owned())
            }
            other => return Err(format!("`{other}` is no verdict")),
        },
        other => return Err(format!("`{other}` is no operation")),
    };
    words.end()?;
    Ok(op)
}

struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self, what: &str) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| format!("{what} is missing"))
    }

    fn number<N: std::str::FromStr>(&mut self, what: &str) -> Result<N, String> {
        let word = self.next(what)?;
        let number = word.parse();
        number.map_err(|_| format!("`{word}` is no {what}"))
    }

    fn level(&mut self) -> Result<Durability, String> {
        self.0.next().map_or(Ok(Durability::Durable), level)
    }

    fn key_and_level(&mut self) -> Result<(Option<String>, Durability), String> {
        let Some(word) = self.0.next() else {
            return Ok((None, Durability::Durable));
        };
        match word.strip_prefix("key=") {
            Some(key) => Ok((Some(key.to_owned()), self.level()?)),
            None => Ok((None, level(word)?)),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        match self.0.next() {
            Some(word) => Err(format!("`{word}` is too much")),
            None => Ok(()),
        }
    }
}

fn level(word: &str) -> Result<Durability, String> {
    match word {
        "durable" => Ok(Durability::Durable),
        "written" => Ok(Durability::Written),
        "buffered" => Ok(Durability::Buffered),
        other => Err(format!("`{other}` is no level")),
    }
}

/// The bytes of a seed: always the same (splitmix64).
pub fn bytes(size: u32, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(size as usize + 8);
    while out.len() < size as usize {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    out.truncate(size as usize);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Op {
        let lines = parse(text).expect("it parses");
        assert_eq!(lines.len(), 1, "{text}");
        lines.into_iter().next().expect("one line").op
    }

    #[test]
    fn operations() {
        let append = |key: Option<&str>, level| Op::Append {
            size: 10,
            seed: 7,
            key: key.map(str::to_owned),
            level,
        };
        assert_eq!(one("append 10 7"), append(None, Durability::Durable));
        assert_eq!(
            one("append 10 7 written"),
            append(None, Durability::Written)
        );
        assert_eq!(
            one("append 10 7 key=a"),
            append(Some("a"), Durability::Durable)
        );
        let buffered = append(Some("a=b"), Durability::Buffered);
        assert_eq!(one("append 10 7 key=a=b buffered"), buffered);
        assert_eq!(one("  trim 5  # all of it"), Op::Trim(5));
        assert_eq!(one("crash"), Op::Crash);
        assert_eq!(one("expect-verdict torn"), Op::ExpectVerdict("torn".into()));
        let batch = Op::Batch {
            count: 3,
            size: 4,
            seed: 5,
            level: Durability::Written,
        };
        assert_eq!(one("batch 3 4 5 written"), batch);
    }

    #[test]
    fn comments_and_line_numbers() {
        let lines = parse("# a history\n\nsync\n  # more\nclose # the end\n").expect("it parses");
        let numbers: Vec<usize> = lines.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [3, 5]);
        assert_eq!(lines.last().map(|line| line.text.as_str()), Some("close"));
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, part) in [
            ("sync\nfoo", "line 2: `foo`: `foo` is no operation"),
            ("append 10", "SEED is missing"),
            ("append ten 1", "`ten` is no SIZE"),
            ("append 1 1 durably", "`durably` is no level"),
            ("append 1 1 key=a written more", "`more` is too much"),
            ("expect-verdict fine", "`fine` is no verdict"),
            ("trim -1", "`-1` is no SEQ"),
        ] {
            let error = parse(text).expect_err("it does not parse");
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn bytes_are_decided_by_size_and_seed() {
        assert!(bytes(0, 1).is_empty());
        assert_eq!(bytes(13, 1).len(), 13);
        assert_eq!(bytes(13, 1), bytes(13, 1));
        assert_ne!(bytes(13, 1), bytes(13, 2));
        assert_eq!(bytes(100, 1)[..13], bytes(13, 1));
    }

    #[test]
    fn the_grammar_names_every_operation() {
        for name in GRAMMAR.lines().filter_map(|line| line.strip_prefix("  ")) {
            let name = name.split([' ', ',']).next().expect("a word");
            let error = parse_op(&format!("{name} x y z u v w")).expect_err("too much");
            assert!(!error.contains("is no operation"), "{name}: {error}");
        }
    }
}
