//! What was acknowledged, and whether it is there.

use cairnlog::{ErrorKind, Log, Seq};
use std::collections::BTreeMap;

/// An append that was acknowledged: its seq, who made it in which round, and which of theirs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub seq: Seq,
    pub who: u64,
    pub round: u64,
    pub number: u64,
}

impl Ack {
    /// What its record holds: a few bytes, or a few kilobytes.
    pub fn value(&self) -> Vec<u8> {
        let Self {
            who, round, number, ..
        } = self;
        let mut value = format!("{who} {round} {number} ").into_bytes();
        let more = (who * 31 + number * 17) % 200 * if number % 50 == 0 { 40 } else { 1 };
        value.resize(value.len() + more as usize, b'x');
        value
    }

    pub fn line(&self) -> String {
        let Self {
            seq,
            who,
            round,
            number,
        } = self;
        format!("\nack {seq} {who} {round} {number}\n")
    }

    pub fn parse(line: &str) -> Option<Self> {
        let words = line.strip_prefix("ack ")?.split(' ');
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let [seq, who, round, number] = numbers[..] else {
            return None;
        };
        Some(Self {
            seq,
            who,
            round,
            number,
        })
    }
}

/// All that has to be there.
#[derive(Debug, Default)]
pub struct Acked {
    kept: BTreeMap<Seq, Ack>,
    count: u64,
}

impl Acked {
    pub fn take(&mut self, ack: Ack) {
        self.count += 1;
        let twice = self.kept.insert(ack.seq, ack);
        assert_eq!(twice, None, "a seq was given twice");
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// What is below the head was let go of by retention or trimming, and is forgotten here as well.
    pub fn check(&mut self, log: &Log) {
        self.kept = self.kept.split_off(&log.head_seq());
        for (seq, ack) in &self.kept {
            match log.get(*seq) {
                Ok(Some(record)) => assert_eq!(record.value(), Some(&*ack.value()), "{ack:?}"),
                Ok(None) => panic!("{ack:?} is gone; the log ends at {}", log.next_seq()),
                // Retention went on meanwhile.
                Err(error) => assert_eq!(error.kind(), ErrorKind::Trimmed, "{ack:?}: {error}"),
            }
        }
    }
}
