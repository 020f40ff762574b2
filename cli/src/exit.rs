//! How the tool ends: one place for every exit code, every error line and every hint.

use crate::keys;
use cairnlog::{Defect, Error, ErrorKind, Op, format::names};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Done.
pub const OK: u8 = 0;
/// It could not be done.
pub const ERROR: u8 = 1;
/// `verify` and `plan`: an unfinished end, which opening would cut.
pub const TORN: u8 = 2;
/// Bytes that were durable do not verify.
pub const DAMAGED: u8 = 3;
/// A newer program wrote a part of the log.
pub const UNSUPPORTED: u8 = 4;
/// Records are sealed under a key that is not to be had; nothing is wrong with them.
pub const KEY_MISSING: u8 = 5;
/// Records were changed since they were sealed, by somebody who could make their checksum right.
pub const TAMPERED: u8 = 6;
/// The command line makes no sense.
pub const USAGE: u8 = 64;
/// Whoever read the acknowledgements went away before all input was appended.
pub const PIPE: u8 = 141;

/// What `cairn --help` says about the codes.
pub const HELP: &str = "\
Exit codes:
  0    done
  1    it could not be done; standard error says why
  2    verify, plan: an unfinished end, which opening would cut
  3    bytes that were durable do not verify
  4    a newer version of cairn wrote a part of the log; nothing was changed
  5    records are sealed under a key that the key file has not got, or there was no --key-file
  6    records were changed since they were sealed, although their checksum holds
  64   the command line makes no sense
  141  append, replay: the reader of the output went away too early

A reader of any other output may go away at any time: that ends the tool quietly, with 0.";

/// What the help of each command says about the codes, if it has no more to say.
pub const HELP_OF_ONE: &str = "\
Exit codes: 0 done; 1 it could not be done; 3 bytes that were durable do not verify; 4 a newer version of
cairn wrote a part of the log; 5 a key is missing; 6 sealed records were changed; 64 the command line makes
no sense. `cairn --help` says more.";

/// What there is to do about a log of a newer program.
const NEWER: &str =
    "use the newer cairn that wrote it; nothing here is damaged, and this one changes nothing";

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// The engine's error, and the log that it happened in.
    Engine(Error, PathBuf),
    /// The operating system's error, and what it was about.
    Io(String, io::Error),
    /// Anything else, in words.
    Said(String),
    /// A command line that parses and still makes no sense.
    Usage(String),
    /// Nobody reads the output any more.
    PipeClosed,
    /// A part of the log is a newer program's; which one was said.
    Newer,
    /// All is said; only the code is left.
    Code(u8),
    /// Another, of which the command knows the next step.
    #[cfg_attr(
        not(feature = "remote"),
        expect(dead_code, reason = "`replicate` is the one that does")
    )]
    Hinted(Box<Failure>, String),
}

/// What every command returns.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Gives an error the place where it happened.
pub trait In<T> {
    /// The log in which it happened, for the hint.
    fn in_log(self, dir: &Path) -> Outcome<T>;
}

impl<T> In<T> for cairnlog::Result<T> {
    fn in_log(self, dir: &Path) -> Outcome<T> {
        self.map_err(|error| Failure::Engine(error, dir.to_path_buf()))
    }
}

/// Gives an operating-system error what it was about.
pub trait About<T> {
    /// The file, or what was being done.
    fn about(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T> About<T> for io::Result<T> {
    fn about(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure::Io(what.to_string(), error))
    }
}

/// Writing to standard output is the only thing that `?` takes without a place.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::PipeClosed
        } else {
            Self::Io("standard output".to_owned(), error)
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}

impl Failure {
    fn say(&self) {
        match self {
            Self::Engine(error, dir) => {
                let (text, dir) = (error.to_string(), dir.display().to_string());
                match text.contains(&dir) {
                    true => crate::stream::say!("cairn: {text}"),
                    false => crate::stream::say!("cairn: {dir}: {text}"),
                }
            }
            Self::Io(what, error) => crate::stream::say!("cairn: {what}: {error}"),
            Self::Said(text) | Self::Usage(text) => crate::stream::say!("cairn: {text}"),
            Self::PipeClosed | Self::Newer | Self::Code(_) => {}
            Self::Hinted(failure, _) => failure.say(),
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Engine(error, _) if error.kind() == ErrorKind::Damaged => DAMAGED,
            Self::Engine(error, _) if error.kind() == ErrorKind::Unsupported => UNSUPPORTED,
            Self::Newer => UNSUPPORTED,
            Self::Engine(error, _) if error.kind() == ErrorKind::KeyMissing => KEY_MISSING,
            Self::Engine(error, _) if error.kind() == ErrorKind::Tampered => TAMPERED,
            Self::Engine(..) | Self::Io(..) | Self::Said(_) => ERROR,
            Self::Usage(_) => USAGE,
            Self::PipeClosed => OK,
            Self::Code(code) => *code,
            Self::Hinted(failure, _) => failure.code(),
        }
    }

    /// The next step, where there is an obvious one.
    fn hint(&self) -> Option<String> {
        let (error, path) = match self {
            Self::Engine(error, path) => (error, path),
            Self::Newer => return Some(NEWER.into()),
            Self::Hinted(_, hint) => return Some(hint.clone()),
            _ => return None,
        };
        let dir = quoted(path);
        Some(match error.kind() {
            ErrorKind::Damaged if error.defect_found() == Some(Defect::UnfinishedBackup) => {
                format!("remove {dir} and back up again")
            }
            ErrorKind::Damaged if is_of_cursor(error) => format!(
                "`cairn cursor list {dir}` lists it, `cairn cursor delete {dir} FILE` gives it up"
            ),
            ErrorKind::Damaged if error.defect_found() == Some(Defect::MissingFar) => {
                "is that the store that the log was copied to? `cairn remote stat URL` says which log it has"
                    .into()
            }
            ErrorKind::Damaged => format!(
                "`cairn verify {dir}` lists all that does not verify, `cairn repair {dir}` what can \
                 be done about it"
            ),
            ErrorKind::Locked => "its holder alone can change the log; --wait waits for \
                                  it, and what only reads needs no lock: cat, tail, stat, verify, \
                                  cursor list"
                .into(),
            ErrorKind::NotFound if error.op() == Op::Consume => {
                format!("`cairn cursor list {dir}` shows which there are")
            }
            ErrorKind::NotFound if is_free(path) => {
                format!("`cairn append {dir}` creates a log there")
            }
            ErrorKind::NoSpace => full_disk(error, path)?,
            ErrorKind::Poisoned | ErrorKind::Indeterminate => format!(
                "the disk failed a sync; `cairn stat {dir}` shows up to which seq the log is whole"
            ),
            ErrorKind::Trimmed => {
                let seq = error.resume_seq()?;
                format!("the oldest record kept is seq {seq}")
            }
            ErrorKind::Unsupported => NEWER.into(),
            ErrorKind::KeyMissing => where_keys_are(error),
            ErrorKind::Far => where_far_segments_are(),
            ErrorKind::Tampered => changed(&dir),
            _ => return None,
        })
    }
}

/// Says on standard error what went wrong, and gives the code to end with.
pub fn report(outcome: Outcome) -> ExitCode {
    let Err(failure) = outcome else {
        return ExitCode::from(OK);
    };
    failure.say();
    if let Some(hint) = failure.hint() {
        crate::stream::say!("  hint: {hint}");
    }
    ExitCode::from(failure.code())
}

/// What there is to do about a key that is missing.
fn where_keys_are(error: &Error) -> String {
    match (keys::file(), error.defect_found()) {
        (Some(file), Some(Defect::KeyMissing(id))) => format!(
            "{} has no key {id}: nothing is wrong with the log, and with the line of that key above the \
             last it reads again",
            quoted(file)
        ),
        (_, Some(Defect::KeyMissing(id))) => format!(
            "--key-file, or {}, names the file with key {id}; nothing is wrong with the log",
            keys::VARIABLE
        ),
        _ => format!(
            "--key-file, or {}, names the file of its keys; in the clear nothing is appended to it",
            keys::VARIABLE
        ),
    }
}

/// What there is to do about a segment that lives elsewhere.
fn where_far_segments_are() -> String {
    let how = match cfg!(feature = "remote") {
        true => "--store URL reads it there",
        false => "a cairn that was built with `--features remote` reads it with --store URL",
    };
    format!("nothing is wrong with it: {how}, if the log was copied to a store")
}

/// What there is to do about records that are not what was sealed.
fn changed(dir: &str) -> String {
    let Some(file) = keys::file().map(quoted) else {
        return format!("somebody changed them: `cairn verify {dir}` lists what does not verify");
    };
    format!(
        "somebody changed them, or {file} has another key under this number: `cairn verify {dir} \
         --key-file {file}` lists all that is so"
    )
}

/// What makes room: dropping records does only on the log's own disk, and only if there is a log.
fn full_disk(error: &Error, dir: &Path) -> Option<String> {
    let is_copy = [Op::Backup, Op::Salvage].contains(&error.op());
    let file_dir = error.place().path.as_ref().and_then(|file| file.parent());
    let elsewhere = file_dir.filter(|file_dir| {
        is_copy && !file_dir.as_os_str().is_empty() && !file_dir.starts_with(dir)
    });
    match elsewhere {
        Some(place) => Some(format!("free some space on the disk of {}", quoted(place))),
        None if !dir.join(names::MANIFEST).exists() => None,
        None => {
            let dir = quoted(dir);
            Some(match error.op() {
                // Not what has just failed.
                Op::Open | Op::Lock | Op::Trim | Op::Repair => {
                    format!("free some space beside {dir}: there was not even enough for this")
                }
                Op::Backup | Op::Salvage => {
                    "free some space where the copy goes, or make it somewhere else".into()
                }
                _ => format!("`cairn trim {dir} SEQ` makes room, also on a full disk"),
            })
        }
    }
}

/// Whether it is about the file of a cursor.
fn is_of_cursor(error: &Error) -> bool {
    let path = error.place().path.as_ref();
    path.is_some_and(|path| path.starts_with(names::CURSORS))
}

/// Whether a log could be made there: nothing is, or an empty directory.
fn is_free(path: &Path) -> bool {
    match path.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// A path as it can be pasted into a shell.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+@:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
