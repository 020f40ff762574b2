//! How a log is sealed anew, and keys that come from a file.

use super::Options;
use crate::{
    error::{Error, ErrorKind, Op, Place, Result},
    seal::{Cipher, KEY_BYTES, Key, KeyId, Keys},
    vfs::read_private,
};
use std::{io, path::Path};

/// A key file is no longer than this, in bytes: some 800 keys.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How fast segments are sealed under another key, see [`Log::reseal`](crate::Log::reseal).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResealOptions {
    pub(crate) rate_bytes_per_s: Option<u64>,
}

impl Default for ResealOptions {
    fn default() -> Self {
        Self {
            rate_bytes_per_s: Some(64 << 20),
        }
    }
}

impl ResealOptions {
    /// The defaults: 64 MiB a second.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes it reads and writes a second, together. Default: 64 MiB. `None`: as fast as it can.
    #[must_use]
    pub fn rate_bytes_per_s(mut self, rate: Option<u64>) -> Self {
        self.rate_bytes_per_s = rate;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.rate_bytes_per_s == Some(0) {
            let note = "rate_bytes_per_s must not be 0";
            return Err(Error::note(ErrorKind::InvalidInput, Op::Reseal, note));
        }
        Ok(())
    }
}

impl Options {
    /// Whether there is a way to seal, if records are to be sealed.
    pub(super) fn check_keys(&self) -> Result<()> {
        let Some(id) = self.keys.current_id() else {
            return Ok(());
        };
        if !Cipher::Aes256GcmSiv.is_built() {
            let note = "this program was built without the cipher: cargo feature `seal`";
            return Err(Error::note(ErrorKind::Unsupported, Op::Open, note));
        }
        match self.keys.current() {
            Some(_) => Ok(()),
            None => Err(Error::key_missing(Op::Open, id)),
        }
    }
}

impl Keys {
    /// The keys of a file, of which each line holds one: its number, a space, and its 32 bytes in 64
    /// hexadecimal digits. The last one is the current one. Empty lines and those that begin with `#` mean
    /// nothing. `cairn keygen` makes such a file, and adds a key to it.
    ///
    /// # Errors
    /// `InvalidInput` if others than its owner may read it (its mode has a bit of 077), if it is not a regular
    /// file, is longer than 64 KiB, or a line is not as above: the place names the line; `Io`.
    ///
    /// ```
    /// use cairnlog::{KeyId, KeyProvider, Keys};
    /// # #[cfg(unix)] {
    /// use std::{fs, io::Write, os::unix::fs::OpenOptionsExt};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let path = dir.path().join("keys");
    /// let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
    /// writeln!(file, "1 {}", "07".repeat(32))?;
    /// assert_eq!(Keys::from_file(&path)?.current(), KeyId(1));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let at = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidInput => Error::refused(Op::Open, error).at(Place::file(path)),
            _ => Error::io(Op::Open, error).at(Place::file(path)),
        };
        let text = read_private(path, FILE_BYTES_MAX).map_err(at)?;
        Self::parse(&text).map_err(at)
    }

    fn parse(text: &[u8]) -> io::Result<Self> {
        let mut keys: Option<Self> = None;
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let refuse = || {
                let what = format!(
                    "line {number}: a number, a space and 64 hexadecimal digits are expected"
                );
                io::Error::new(io::ErrorKind::InvalidInput, what)
            };
            let (id, key) = parse_line(line).ok_or_else(refuse)?;
            keys = Some(match keys {
                None => Self::new(id, key),
                Some(keys) => keys.with(id, key),
            });
        }
        keys.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no key is in it"))
    }
}

fn parse_line(line: &[u8]) -> Option<(KeyId, Key)> {
    let line = std::str::from_utf8(line).ok()?;
    let (id, digits) = line.split_once(char::is_whitespace)?;
    let digits = digits.trim().as_bytes();
    if digits.len() != KEY_BYTES * 2 {
        return None;
    }
    let mut key = [0; KEY_BYTES];
    for (slot, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *slot = u8::from_str_radix(pair, 16).ok()?;
    }
    Some((KeyId(id.parse().ok()?), Key::new(key)))
}
