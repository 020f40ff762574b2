//! What the objects are called and what is in them: lines of text, ended by a checksum, that name the stored
//! bytes of a log.
//!
//! Each is decoded whole or not at all: bad bytes are values, told by what is wrong.

use bytes::Bytes;
use cairnlog::{
    LogId, SegmentId, Seq,
    format::{Manifest, crc32c, manifest::SealedEntry},
};
use std::{collections::BTreeMap, fmt::Write, str::SplitWhitespace};

/// The directory of the commits, by their numbers.
pub(crate) const COMMITS: &str = "manifest";
/// The directory of all else.
pub(crate) const OBJECTS: &str = "objects";
/// Put by whoever starts to copy, and refused once it is there: so it is known that the store refuses.
pub(crate) const PROBE: &str = "probe";

const COMMIT: &str = "cairn-copy 1";
const SET: &str = "cairn-set 1";
/// One that keeps something, which a program from before may not drop.
const KEEPING_SET: &str = "cairn-set 2";

/// The name of a commit.
pub(crate) fn commit_name(number: u64) -> String {
    format!("{COMMITS}/{number:020}")
}

/// The number of a commit of that file name.
pub(crate) fn parse_commit(file_name: &str) -> Option<u64> {
    (file_name.len() == 20)
        .then(|| file_name.parse().ok())
        .flatten()
}

/// An object's name: which writer put it, and as which of its objects. Given once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

impl Key {
    pub(crate) fn name(self) -> String {
        format!("{OBJECTS}/{:010}-{:012}", self.epoch, self.number)
    }

    pub(crate) fn parse(file_name: &str) -> Option<Self> {
        let (epoch, number) = file_name.split_once('-')?;
        Some(Self {
            epoch: epoch.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

/// An object as what names it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: Key,
    pub(crate) bytes: u64,
    /// CRC-32C of all of it.
    pub(crate) checksum: u32,
}

/// A segment's file, as objects that stand one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    pub(crate) parts: Vec<Object>,
    /// Whether the segment changes no more and nothing of it is left to put.
    pub(crate) finished: bool,
}

impl File {
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// How many of its parts, from the first, hold nothing behind an offset.
    pub(crate) fn parts_within(&self, end: u64) -> usize {
        let mut bytes = 0;
        let within = self.parts.iter().take_while(|part| {
            bytes += part.bytes;
            bytes <= end
        });
        within.count()
    }
}

/// The log as a commit states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Without the sealed segments.
    pub(crate) manifest: Manifest,
    /// The object with the [`Set`] of these.
    pub(crate) set: Object,
    pub(crate) producers: Option<Object>,
    pub(crate) cursors: Option<Object>,
    /// The segments that grow.
    pub(crate) tails: Vec<File>,
}

/// The sealed segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) sealed: Vec<SealedEntry>,
    pub(crate) files: Vec<File>,
    /// What is named whatever else is: of it there may be no other copy.
    pub(crate) kept: Vec<Kept>,
}

/// A segment that a log has let go of, or is about to: it is kept until that log itself has dropped it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Which continuation of the log it is that has no other copy.
    pub(crate) incarnation: u32,
    /// The seq after its last record: once that log's head is there, it needs it no more.
    pub(crate) next_seq: Seq,
    pub(crate) file: File,
}

impl Kept {
    /// Whose it is, and what.
    pub(crate) fn name(&self) -> (u32, SegmentId, u64) {
        (self.incarnation, self.file.id, self.file.salt)
    }
}

/// One moment of the log in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    /// Drawn by each writer: whose it is.
    pub(crate) writer: u64,
    /// When it was made, by the writer's clock, never before the one before; milliseconds since 1970.
    pub(crate) taken_ms: i64,
    /// No commit below belongs to the history any more.
    pub(crate) first: u64,
    /// CRC-32C of the commit before it.
    pub(crate) previous: u32,
    pub(crate) log_id: LogId,
    pub(crate) incarnation: u32,
    /// Nothing before the first copy is whole.
    pub(crate) state: Option<State>,
}

impl Commit {
    /// The seq after the last record in it.
    pub(crate) fn end_seq(&self) -> Seq {
        self.state.as_ref().map_or(0, |it| it.manifest.durable_seq)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut text = format!(
            "{COMMIT}\nnumber {}\nepoch {}\nwriter {:016x}\ntaken {}\nfirst {}\nprevious {:08x}\nlog {} {}\n",
            self.number,
            self.epoch,
            self.writer,
            self.taken_ms,
            self.first,
            self.previous,
            hex(&self.log_id.0),
            self.incarnation
        );
        if let Some(state) = &self.state {
            line(
                &mut text,
                format_args!("state {}", hex(&state.manifest.encode())),
            );
            object(&mut text, "set", &state.set);
            for (name, it) in [("producers", &state.producers), ("cursors", &state.cursors)] {
                it.iter().for_each(|it| object(&mut text, name, it));
            }
            files(&mut text, &state.tails);
        }
        end(text)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut lines = Lines::of(bytes, COMMIT)?;
        let number = lines.number("number")?;
        let epoch = lines.number("epoch")?;
        let writer = lines.hex_number("writer")?;
        let taken_ms = lines.one("taken")?.parse().map_err(|_| "bad time")?;
        let first = lines.number("first")?;
        let previous = u32::try_from(lines.hex_number("previous")?).map_err(|_| "bad checksum")?;
        let mut log = lines.fields("log")?;
        let log_id = log.next().and_then(unhex).and_then(|it| it.try_into().ok());
        let incarnation = log.next().and_then(|it| it.parse().ok());
        let state = match lines.is("state") {
            false => None,
            true => {
                let manifest = manifest(lines.one("state")?)?;
                let set = lines.object("set")?.ok_or("no set")?;
                let producers = lines.object("producers")?;
                let cursors = lines.object("cursors")?;
                let tails = lines.files(false)?;
                let is = |id| tails.iter().any(|file| file.id == id);
                if !is(manifest.tail.id) || manifest.spare.is_some_and(|it| !is(it.id)) {
                    return Err("a segment is missing".into());
                }
                Some(State {
                    manifest,
                    set,
                    producers,
                    cursors,
                    tails,
                })
            }
        };
        lines.end()?;
        Ok(Self {
            number,
            epoch,
            writer,
            taken_ms,
            first,
            previous,
            log_id: LogId(log_id.ok_or("bad log id")?),
            incarnation: incarnation.ok_or("bad incarnation")?,
            state,
        })
    }
}

impl Set {
    /// The set as stored; `of` is what else the manifest says, which nobody reads here.
    pub(crate) fn encode(&self, of: &Manifest) -> Bytes {
        let whole = Manifest {
            sealed: self.sealed.clone(),
            ..of.clone()
        };
        let kind = if self.kept.is_empty() {
            SET
        } else {
            KEEPING_SET
        };
        let mut text = format!("{kind}\nsealed {}\n", hex(&whole.encode()));
        files(&mut text, &self.files);
        for kept in &self.kept {
            let (incarnation, next_seq) = (kept.incarnation, kept.next_seq);
            line(&mut text, format_args!("kept {incarnation} {next_seq}"));
            files(&mut text, std::slice::from_ref(&kept.file));
        }
        end(text)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let keeps = bytes.starts_with(KEEPING_SET.as_bytes());
        let mut lines = Lines::of(bytes, if keeps { KEEPING_SET } else { SET })?;
        let sealed = manifest(lines.one("sealed")?)?.sealed;
        let files = lines.files(true)?;
        let mut kept = Vec::new();
        while lines.is("kept") {
            kept.push(lines.kept()?);
        }
        lines.end()?;
        let fits = |(entry, file): (&SealedEntry, &File)| {
            entry.id == file.id && entry.salt == file.salt && entry.frames_end <= file.bytes()
        };
        if sealed.len() != files.len() || !sealed.iter().zip(&files).all(fits) {
            return Err("its files are not those of its segments".into());
        }
        Ok(Self {
            sealed,
            files,
            kept,
        })
    }
}

impl Set {
    /// The objects that it names.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let kept = self.kept.iter().map(|kept| &kept.file);
        let parts = self.files.iter().chain(kept).flat_map(|file| &file.parts);
        parts.map(|part| part.key)
    }
}

/// The files of cursors, one behind the other.
pub(crate) fn encode_cursors(cursors: &BTreeMap<u64, Vec<u8>>) -> Bytes {
    let mut out = Vec::new();
    for (id, file) in cursors {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&(file.len() as u64).to_le_bytes());
        out.extend_from_slice(file);
    }
    out.into()
}

pub(crate) fn decode_cursors(mut bytes: &[u8]) -> Option<BTreeMap<u64, Vec<u8>>> {
    let mut cursors = BTreeMap::new();
    while !bytes.is_empty() {
        let (id, rest) = bytes.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        let (file, rest) = rest.split_at_checked(len)?;
        cursors.insert(u64::from_le_bytes(*id), file.to_vec());
        bytes = rest;
    }
    Some(cursors)
}

// Lines -------------------------------------------------------------------------------------------------

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("memory");
}

fn object(text: &mut String, name: &str, it: &Object) {
    let Key { epoch, number } = it.key;
    let (bytes, checksum) = (it.bytes, it.checksum);
    line(
        text,
        format_args!("{name} {epoch} {number} {bytes} {checksum:08x}"),
    );
}

fn files(text: &mut String, files: &[File]) {
    for file in files {
        line(text, format_args!("file {} {:016x}", file.id.0, file.salt));
        file.parts
            .iter()
            .for_each(|part| object(text, "part", part));
    }
}

fn end(mut text: String) -> Bytes {
    let checksum = crc32c(0, text.as_bytes());
    line(&mut text, format_args!("end {checksum:08x}"));
    text.into()
}

fn manifest(text: &str) -> Result<Manifest, String> {
    let bytes = unhex(text).ok_or("bad digits")?;
    Manifest::decode(&bytes).map_err(|defect| defect.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

struct Lines<'a> {
    lines: std::iter::Peekable<std::str::Lines<'a>>,
}

impl<'a> Lines<'a> {
    /// The lines between the first, which says what this is, and the checksum, which is right.
    fn of(bytes: &'a [u8], kind: &str) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
        let (body, last) = text
            .strip_suffix('\n')
            .and_then(|text| text.rsplit_once('\n'))
            .ok_or("it is cut")?;
        let covered = &bytes[..body.len() + 1];
        if last != format!("end {:08x}", crc32c(0, covered)) {
            return Err("its checksum is wrong".into());
        }
        let mut lines = body.lines().peekable();
        match lines.next() {
            Some(first) if first == kind => Ok(Self { lines }),
            Some(first) => Err(format!("it is {first:?}, which is not known here")),
            None => Err("it is empty".into()),
        }
    }

    fn is(&mut self, name: &str) -> bool {
        let first = self.lines.peek().and_then(|line| line.split(' ').next());
        first == Some(name)
    }

    fn fields(&mut self, name: &str) -> Result<SplitWhitespace<'a>, String> {
        if !self.is(name) {
            return Err(format!("no {name}"));
        }
        let mut fields = self.lines.next().unwrap_or_default().split_whitespace();
        fields.next();
        Ok(fields)
    }

    fn one(&mut self, name: &str) -> Result<&'a str, String> {
        self.fields(name)?
            .next()
            .ok_or_else(|| format!("no {name}"))
    }

    fn number(&mut self, name: &str) -> Result<u64, String> {
        self.one(name)?.parse().map_err(|_| format!("bad {name}"))
    }

    fn hex_number(&mut self, name: &str) -> Result<u64, String> {
        u64::from_str_radix(self.one(name)?, 16).map_err(|_| format!("bad {name}"))
    }

    fn object(&mut self, name: &str) -> Result<Option<Object>, String> {
        if !self.is(name) {
            return Ok(None);
        }
        let mut fields = self.fields(name)?;
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (epoch, own, bytes) = (number(), number(), number());
        let checksum = fields
            .next()
            .and_then(|it| u32::from_str_radix(it, 16).ok());
        let object = || {
            let key = Key {
                epoch: epoch?,
                number: own?,
            };
            Some(Object {
                key,
                bytes: bytes?,
                checksum: checksum?,
            })
        };
        object().map(Some).ok_or_else(|| format!("bad {name}"))
    }

    fn files(&mut self, finished: bool) -> Result<Vec<File>, String> {
        let mut files = Vec::new();
        while self.is("file") {
            let mut fields = self.fields("file")?;
            let id = fields.next().and_then(|it| it.parse().ok());
            let salt = fields
                .next()
                .and_then(|it| u64::from_str_radix(it, 16).ok());
            let mut parts = Vec::new();
            while let Some(part) = self.object("part")? {
                parts.push(part);
            }
            files.push(File {
                id: SegmentId(id.ok_or("bad segment id")?),
                salt: salt.ok_or("bad salt")?,
                parts,
                finished,
            });
        }
        Ok(files)
    }

    fn kept(&mut self) -> Result<Kept, String> {
        let mut fields = self.fields("kept")?;
        let incarnation = fields.next().and_then(|it| it.parse().ok());
        let next_seq = fields.next().and_then(|it| it.parse().ok());
        let [file] = <[File; 1]>::try_from(self.files(true)?).map_err(|_| "bad kept file")?;
        Ok(Kept {
            incarnation: incarnation.ok_or("bad incarnation")?,
            next_seq: next_seq.ok_or("bad seq")?,
            file,
        })
    }

    fn end(&mut self) -> Result<(), String> {
        match self.lines.next() {
            None => Ok(()),
            Some(line) => Err(format!("{line:?} has no place there")),
        }
    }
}
