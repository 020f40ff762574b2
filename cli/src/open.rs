//! Opening logs: what is the same for every command, the note about recovery included.

use crate::exit::{In, Outcome};
use cairnlog::{Log, Options, ReadMode, Reader, Verdict};
use clap::Args;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The arguments of every command that writes to a log.
#[derive(Args, Debug)]
pub struct WriterArgs {
    /// The directory of the log
    pub dir: PathBuf,
    /// How long to wait for another writer to let go of the log, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    pub wait: f64,
}

impl WriterArgs {
    /// Opens the log for writing. What recovery did beyond the ordinary is said on standard error.
    pub fn open(&self, options: Options) -> Outcome<Log> {
        let log = self.open_quietly(options)?;
        let recovery = log.recovery();
        if !matches!(recovery.verdict, Verdict::Created | Verdict::Clean) {
            anstream::eprintln!("cairn: recovered: {recovery}");
        }
        Ok(log)
    }

    /// Opens the log for writing.
    pub fn open_quietly(&self, options: Options) -> Outcome<Log> {
        let wait = Duration::try_from_secs_f64(self.wait).unwrap_or(Duration::MAX);
        options.lock_timeout(wait).open(&self.dir).in_log(&self.dir)
    }
}

/// A reader of the log, whoever writes it: takes no lock, writes nothing.
///
/// Positional reads: a failing disk gives an error instead of a signal, and memory stays flat however
/// much is read.
pub fn read_only(dir: &Path) -> Outcome<Reader> {
    let options = Options::new().read_mode(ReadMode::Positional);
    options.open_reader(dir).in_log(dir)
}

pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds >= 0.0 => Ok(seconds),
        _ => Err("a number of seconds, 0 or more, was expected".to_owned()),
    }
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
    fn waits() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        assert!(seconds("-1").is_err());
        assert!(seconds("NaN").is_err());
    }
}
