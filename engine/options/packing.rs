//! What is packed: sealed segments, and how; records as they are appended.

use super::Options;
use crate::{
    error::{Error, ErrorKind, Op, Result},
    format::Compression,
};

impl Options {
    /// Packs the records of segments once these are sealed, and of those that compaction writes: fewer bytes
    /// on disk, and more work to read them. It is done in the background or by
    /// [`Log::maintain`](crate::Log::maintain), and no append waits for it. Default: not at all; by hand,
    /// [`Log::pack`](crate::Log::pack) does.
    ///
    /// Who reads a packed log needs the codec, also in another process: without it, its segments are
    /// `Unsupported`, and the others are read. Recovery, verification, trimming, retention and backup need
    /// none. Programs from before there was packing refuse such a log by name.
    #[must_use]
    pub fn pack(mut self, how: PackOptions) -> Self {
        self.pack = Some(how);
        self
    }

    /// Packs records as they are appended, before they are written, and sealed if the log has
    /// [`keys`](Self::keys): whatever is written at once and has a KiB or more, where that saves an eighth. So less is
    /// written, and the leader of each group spends the time that the codec takes. An append that is written alone and is
    /// smaller stays as it is; records that come together, from many threads or in a batch, are packed in blocks of up to
    /// 64 KiB. Who reads one record unpacks its block. [`pack`](Self::pack) goes beside it, and packs what is
    /// sealed in full blocks. Default: not at all.
    ///
    /// Who reads such a log needs the codec, as of a log that is packed once it is sealed. Recovery, verification,
    /// trimming, retention and backup need none; a rewind does where it cuts through a block. Programs from
    /// before there was this refuse such a log by name.
    ///
    /// ```
    /// use cairnlog::{Compression, Log};
    /// # if Compression::Lz4.is_built() {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let log = Log::options().pack_appends(Compression::Lz4).open(dir.path().join("log"))?;
    /// let lines: Vec<_> = (0..1000).map(|page| format!("GET /page/{page} 200 OK")).collect();
    /// log.append_batch(&lines)?;
    /// assert!(log.stats().written_bytes < log.stats().appended_bytes / 2);
    /// assert_eq!(&*log.get(7)?.expect("it is there"), b"GET /page/7 200 OK");
    /// # }
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    #[must_use]
    pub fn pack_appends(mut self, codec: Compression) -> Self {
        self.pack_appends = Some(codec);
        self
    }
}

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
        check_built(self.codec, op)?;
        if self.rate_bytes_per_s == Some(0) {
            let note = "rate_bytes_per_s must not be 0";
            return Err(Error::note(ErrorKind::InvalidInput, op, note));
        }
        Ok(())
    }
}

/// Whether this program has the codec.
pub(super) fn check_built(codec: Compression, op: Op) -> Result<()> {
    if codec.is_built() {
        return Ok(());
    }
    let note = "this program was built without the codec: cargo features `lz4`, `zstd`";
    Err(Error::note(ErrorKind::Unsupported, op, note))
}
