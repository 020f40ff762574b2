//! Text that a codec finds something in, as records of about 100 bytes: the same bytes each time.
//!
//! Called by the jobs that pack.

use serde::{Deserialize, Serialize};

/// What kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Text {
    /// This machine's list of packages, in pieces of 100 bytes; if it is no Debian, made-up lines of one.
    Packages,
    /// A line for each request, as services write them. Made up.
    Json,
    /// The same as a web server writes it. Made up.
    Server,
}

const PACKAGES: &str = "/var/lib/dpkg/status";
const PIECE_BYTES: usize = 100;

/// Records, one behind the other.
pub struct Corpus {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Corpus {
    /// So many bytes, and the rest of the last record.
    pub fn new(text: Text, bytes: usize) -> Self {
        let mut corpus = Self {
            bytes: Vec::with_capacity(bytes + 4 * PIECE_BYTES),
            ends: Vec::new(),
        };
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
        let list = (text == Text::Packages)
            .then(|| std::fs::read(PACKAGES).ok())
            .flatten();
        let mut pieces = list
            .iter()
            .flat_map(|it| it.chunks_exact(PIECE_BYTES))
            .cycle();
        let mut number = 0;
        while corpus.bytes.len() < bytes {
            match (pieces.next(), text) {
                (Some(piece), _) => corpus.bytes.extend_from_slice(piece),
                (None, Text::Packages) => corpus.bytes.extend(package(&mut chance).bytes()),
                (None, Text::Json) => corpus.bytes.extend(json(&mut chance, number).bytes()),
                (None, Text::Server) => corpus.bytes.extend(server(&mut chance, number).bytes()),
            }
            corpus.ends.push(corpus.bytes.len());
            number += 1;
        }
        corpus
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn records(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let bounds = starts.zip(&self.ends);
        bounds
            .map(|(&start, &end)| &self.bytes[start..end])
            .collect()
    }
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }

    /// The first ones more often, as users, pages and sizes are: each power of two as often as the next.
    fn early(&mut self, bound: u64) -> u64 {
        let bits = self.below(u64::from(bound.ilog2()) + 1);
        self.below(2 << bits).min(bound - 1)
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.early(words.len() as u64) as usize]
    }
}

const PATHS: &[&str] = &[
    "/api/items",
    "/api/users",
    "/static/app.js",
    "/api/orders",
    "/login",
    "/search",
    "/api/carts",
    "/health",
];
const STATUSES: &[&str] = &["200", "200", "200", "304", "404", "201", "500"];
const METHODS: &[&str] = &["GET", "GET", "POST", "PUT"];
const LEVELS: &[&str] = &["info", "info", "info", "debug", "warn", "error"];
const WORDS: &[&str] = &[
    "library",
    "shared",
    "for",
    "development",
    "files",
    "tools",
    "common",
    "the",
    "data",
    "module",
    "runtime",
    "support",
    "documentation",
    "parser",
    "client",
    "server",
    "simple",
    "network",
    "utilities",
    "system",
    "python",
    "fast",
    "text",
];

/// The time of a record: milliseconds within a day.
fn clock(chance: &mut Chance, number: u64) -> (u64, u64, u64, u64) {
    let ms = (number * 7 + chance.below(7)) % 86_400_000;
    (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

fn json(chance: &mut Chance, number: u64) -> String {
    let (hours, minutes, seconds, ms) = clock(chance, number);
    let (level, path, id) = (chance.of(LEVELS), chance.of(PATHS), chance.early(10_000));
    let (user, took) = (chance.early(50_000), chance.early(400));
    format!(
        r#"{{"time":"2026-11-29T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z","level":"{level}","user":{user},"path":"{path}/{id}","ms":{took}}}"#
    )
}

fn server(chance: &mut Chance, number: u64) -> String {
    let (hours, minutes, seconds, _) = clock(chance, number);
    let (a, b) = (chance.early(16), chance.early(250));
    let (method, path, id) = (chance.of(METHODS), chance.of(PATHS), chance.early(10_000));
    let (status, bytes) = (chance.of(STATUSES), chance.early(20_000));
    format!(
        r#"10.0.{a}.{b} - - [29/Nov/2026:{hours:02}:{minutes:02}:{seconds:02} +0000] "{method} {path}/{id} HTTP/1.1" {status} {bytes} "-" "curl/7.88.1""#
    )
}

fn package(chance: &mut Chance) -> String {
    let (name, part) = (chance.of(WORDS), chance.of(WORDS));
    let (major, minor) = (chance.early(9), chance.early(30));
    let says: Vec<&str> = (0..5).map(|_| chance.of(WORDS)).collect();
    format!(
        "ii  lib{name}-{part}{major}:amd64   {major}.{minor}-1+deb12u1   amd64   {}",
        says.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::{Corpus, Text};

    #[test]
    fn is_each_text_the_same_again_and_its_records_about_a_hundred_bytes() {
        for text in [Text::Packages, Text::Json, Text::Server] {
            let (one, other) = (Corpus::new(text, 1 << 16), Corpus::new(text, 1 << 16));
            assert_eq!(one.bytes(), other.bytes());
            let records = one.records();
            assert_eq!(records.concat(), one.bytes());
            let mean = one.bytes().len() / records.len();
            assert!((80..=120).contains(&mean), "{text:?}: {mean}");
        }
    }
}
