//! How sealed segments are packed.

use crate::{
    error::{Error, ErrorKind, Op, Result},
    format::Compression,
};

/// What sealed segments are packed with, and how fast.
///
/// ```
/// use cairnlog::{Compression, Log, PackOptions};
/// # if Compression::Lz4.is_built() {
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("server.log"))?;
/// for number in 0..1000 {
///     log.append(&format!("GET /page/{number} 200 OK"))?;
/// }
/// log.rotate()?; // Only sealed segments are packed.
/// let report = log.pack(&PackOptions::new(Compression::Lz4))?;
/// assert!(report.bytes_after < report.bytes_before / 2);
/// assert_eq!(&*log.get(7)?.expect("it is as it was"), b"GET /page/7 200 OK");
/// # }
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackOptions {
    pub(crate) codec: Compression,
    pub(crate) rate_bytes_per_s: Option<u64>,
}

impl PackOptions {
    /// Packs with this codec, at 64 MiB a second.
    #[must_use]
    pub fn new(codec: Compression) -> Self {
        Self {
            codec,
            rate_bytes_per_s: Some(64 << 20),
        }
    }

    /// How many bytes it reads and writes a second, together, packed or not. Default: 64 MiB. `None`: as
    /// fast as it can.
    #[must_use]
    pub fn rate_bytes_per_s(mut self, rate: Option<u64>) -> Self {
        self.rate_bytes_per_s = rate;
        self
    }

    pub(crate) fn check(&self, op: Op) -> Result<()> {
        if !self.codec.is_built() {
            let note = "this program was built without the codec: cargo features `lz4`, `zstd`";
            return Err(Error::note(ErrorKind::Unsupported, op, note));
        }
        if self.rate_bytes_per_s == Some(0) {
            let note = "rate_bytes_per_s must not be 0";
            return Err(Error::note(ErrorKind::InvalidInput, op, note));
        }
        Ok(())
    }
}
