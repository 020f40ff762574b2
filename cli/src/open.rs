//! Opening logs: what is the same for every command, the note about recovery included.

use crate::{
    exit::{Failure, In, Outcome},
    keys,
};
use cairnlog::{CursorInfo, ErrorKind, Log, Options, ReadMode, Reader, Verdict, format::names};
use clap::Args;
use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// The arguments of every command that writes to a log.
#[derive(Args, Debug)]
pub struct WriterArgs {
    /// The directory of the log
    pub dir: PathBuf,
    #[command(flatten)]
    wait: WaitArgs,
}

/// The argument of every command that needs the lock.
#[derive(Args, Debug)]
pub struct WaitArgs {
    /// How long to wait for another writer to let go of the log, such as 10s
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration)]
    pub wait: Duration,
}

/// The argument of the commands that read all of a log.
#[derive(Args, Debug)]
pub struct ThreadsArgs {
    /// How many threads read at a time, compacting only without a rate; by default one for each processor
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl ThreadsArgs {
    pub fn of(&self, options: Options) -> Options {
        let all = || thread::available_parallelism().map_or(1, NonZero::get);
        options.threads(self.threads.map_or_else(all, usize::from))
    }
}

impl WriterArgs {
    /// Opens the log for writing. What recovery did beyond the ordinary is said on standard error.
    pub fn open(&self, options: Options) -> Outcome<Log> {
        self.open_quietly(options).inspect(tell_recovery)
    }

    /// The same; `None` if another process has it open.
    pub fn open_unless_held(&self, options: Options) -> Outcome<Option<Log>> {
        match options.lock_timeout(self.wait.wait).open(&self.dir) {
            Err(error) if error.kind() == ErrorKind::Locked => Ok(None),
            opened => opened.in_log(&self.dir).inspect(tell_recovery).map(Some),
        }
    }

    /// Opens the log for writing, or begins one: never among files of something else.
    pub fn open_or_begin(&self, options: Options) -> Outcome<Log> {
        self.check_place()?;
        self.open(options)
    }

    /// Whether a log is there, or could begin there.
    pub fn check_place(&self) -> Outcome {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Ok(()); // What is wrong with it, opening says.
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let names: Vec<String> = names.map(|name| name.to_string_lossy().into()).collect();
        if names.iter().any(|name| name == names::MANIFEST) {
            return Ok(());
        }
        match names.iter().find(|name| !is_of_a_log(name)) {
            None => Ok(()),
            Some(other) => Err(Failure::Said(format!(
                "{} is no log, and none is begun in it: it holds something else, such as {other}",
                self.dir.display()
            ))),
        }
    }

    /// Opens the log for writing.
    pub fn open_quietly(&self, options: Options) -> Outcome<Log> {
        let options = options.lock_timeout(self.wait.wait);
        options.open(&self.dir).in_log(&self.dir)
    }
}

/// Says what recovery did beyond the ordinary, on standard error.
fn tell_recovery(log: &Log) {
    let recovery = log.recovery();
    if !matches!(recovery.verdict, Verdict::Created | Verdict::Clean) {
        crate::stream::note!("cairn: recovered: {recovery}");
    }
}

/// Whether a log has a file of this name. One that was being created when the power went may have no
/// manifest yet.
fn is_of_a_log(name: &str) -> bool {
    let own = [
        names::MANIFEST_NEW,
        names::MANIFEST_ALT,
        names::LOCK,
        names::RESERVE,
        names::WATERMARK,
        names::BACKUP,
        names::PRODUCERS,
        names::PRODUCERS_NEW,
        names::PRODUCERS_ALT,
        names::QUARANTINE,
        names::CURSORS,
    ];
    own.contains(&name) || names::parse_segment(name).is_some()
}

/// How every command opens a log: with the keys that it was given, and the way to far segments, if it was.
pub fn options() -> Outcome<Options> {
    let options = keys::given_to(Options::new())?;
    #[cfg(feature = "remote")]
    let options = crate::remote::far::given_to(options);
    Ok(options)
}

/// How to open a log that has to be there, to look after it.
///
/// Positional reads: a failing disk gives an error instead of a signal, and memory stays flat however
/// much is read.
pub fn existing() -> Outcome<Options> {
    let options = options()?.create(false);
    Ok(options.read_mode(ReadMode::Positional))
}

/// A reader of the log, whoever writes it: takes no lock, writes nothing.
pub fn read_only(dir: &Path) -> Outcome<Reader> {
    existing()?.open_reader(dir).in_log(dir)
}

/// Why a reader shows no more, if there is more: the rest does not verify, or a newer program wrote it.
pub fn check_end(reader: &Reader, dir: &Path) -> Outcome {
    let mut behind = reader.scan(reader.end_seq()..).in_log(dir)?;
    match behind.next_ref() {
        Some(Err(error)) => Err(error).in_log(dir),
        _ => Ok(()),
    }
}

/// The cursors of the log, whoever writes it: takes no lock, writes nothing.
pub fn cursors(dir: &Path) -> Outcome<Vec<CursorInfo>> {
    read_only(dir)?; // That there is no log is told in the same words everywhere.
    existing()?.cursors(dir).in_log(dir)
}

/// A time span: `90` or `90s`, `15min`, `24h`, `7d`, `0.5`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_seconds = match &text[digits.len()..] {
        "" | "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3_600.0),
        "d" => Some(86_400.0),
        _ => None,
    };
    let number = digits.parse::<f64>().ok();
    let seconds = number.zip(unit_seconds).map(|(number, unit)| number * unit);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "a time span such as 90s, 15min, 24h or 7d was expected".to_owned())
}

/// A size in bytes: `4096`, `64K`, `16M`, `1G`, with or without `iB` behind.
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.strip_suffix("iB").unwrap_or(text);
    let (digits, shift) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 10),
        None => match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 20),
            None => match text.strip_suffix(['G', 'g']) {
                Some(digits) => (digits, 30),
                None => (text, 0),
            },
        },
    };
    let number = digits.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "a size such as 4096, 64K, 16M or 1G was expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("2g"), Ok(2 << 30));
        for wrong in [
            "",
            "K",
            "-1",
            "1.5M",
            "99999999999999999999",
            "17179869184G",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("0", 0.0),
            ("0.5", 0.5),
            ("90s", 90.0),
            ("15min", 900.0),
            ("15m", 900.0),
            ("1.5h", 5_400.0),
            ("7d", 604_800.0),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_secs_f64(seconds)),
                "{text}"
            );
        }
        for wrong in [
            "",
            "s",
            "-1",
            "NaN",
            "inf",
            "5 s",
            "3w",
            "1h30m",
            "99999999999999999999d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
