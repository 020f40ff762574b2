//! What keeps a log in shape over the years: trimming, rewinding, compaction, retention, backup, and
//! the work that is otherwise the background worker's.

use super::Log;
use crate::{
    append::Core,
    backup::{self, BackupOptions, BackupReport, StoredLog},
    compact::{self, Between, CompactProgress, CompactReport, Turn},
    error::{Error, Op, Result},
    options::{CompactOptions, PackOptions, ResealOptions, Retention},
    release::{self, ReleaseReport},
    retain::{self, RetainReport},
    trim,
    types::{SegmentId, Seq},
    upkeep::Maintained,
};
use std::{ops::ControlFlow, path::Path};

impl Log {
    /// Does what the background worker would do, for logs that are opened without one: writes what is
    /// buffered, seals finished segments, prepares the next; or, if there is nothing of that, drops or
    /// compacts segments if that is due. One step, and what it was.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn maintain(&self) -> Result<Maintained> {
        if self.inner.appender.maintain()? {
            return Ok(Maintained::Segments);
        }
        let core = self.core();
        let _inside = core.enter(Op::Compact)?;
        self.inner.keeper.step(core, &mut |pause| core.pause(pause))
    }

    /// Compacts sealed segments now: keeps the newest record of each key and every record without one.
    /// It runs in the caller's thread, beside appends and reads; a compaction that is under way is
    /// waited for.
    ///
    /// # Errors
    /// `Damaged` with its place if a record does not verify, and nothing is changed from there on;
    /// `NoSpace`; `InvalidInput` for options out of range; `Closed`, `Poisoned`; `Io`.
    pub fn compact(&self, how: &CompactOptions) -> Result<CompactReport> {
        self.compact_with(how, |_| ControlFlow::Continue(()))
    }

    /// As [`compact`](Self::compact), telling how far it has come; `Break` ends it. What was swapped
    /// in by then stays, so starting again goes on where it ended.
    ///
    /// # Errors
    /// As [`compact`](Self::compact).
    pub fn compact_with(
        &self,
        how: &CompactOptions,
        progress: impl FnMut(&CompactProgress) -> ControlFlow<()>,
    ) -> Result<CompactReport> {
        self.rewriting(Op::Compact, progress, |core, turn, between| {
            let held_seq = self.inner.cursors.held(core)?.seq;
            compact::compact(core, turn, how, held_seq, between)
        })
    }

    /// Packs now what is sealed and not packed yet: the same records, numbers and times in fewer bytes. As
    /// [`compact`](Self::compact), it runs in the caller's thread beside everything else, and swaps segment
    /// by segment. What gains less than an eighth stays as it is.
    ///
    /// # Errors
    /// `Unsupported` if this program was built without the codec; as [`compact`](Self::compact).
    pub fn pack(&self, how: &PackOptions) -> Result<CompactReport> {
        self.pack_with(how, |_| ControlFlow::Continue(()))
    }

    /// As [`pack`](Self::pack), telling how far it has come; `Break` ends it. What was swapped in by then
    /// stays, so starting again goes on where it ended.
    ///
    /// # Errors
    /// As [`pack`](Self::pack).
    pub fn pack_with(
        &self,
        how: &PackOptions,
        progress: impl FnMut(&CompactProgress) -> ControlFlow<()>,
    ) -> Result<CompactReport> {
        self.rewriting(Op::Pack, progress, |core, turn, between| {
            compact::pack(core, turn, how, between)
        })
    }

    /// Seals everything under the current key of [`Options::keys`](crate::Options::keys): segments that are
    /// in the clear, or under another one, are written anew, with the same records, numbers and times. The
    /// one that is being written is rotated first. It runs in the caller's thread beside everything else, and
    /// swaps segment by segment. After it, keys that [`Reader::keys_in_use`](crate::Reader::keys_in_use) does not name may go.
    ///
    /// Copies made before, hard links of a backup too, are as they were.
    ///
    /// # Errors
    /// `InvalidInput` if the log was opened without keys; `KeyMissing` if something is under a key that is
    /// not to be had; as [`compact`](Self::compact).
    ///
    /// ```
    /// use cairnlog::{Key, KeyId, Keys, Log, ResealOptions};
    /// # if cairnlog::Cipher::Aes256GcmSiv.is_built() {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let dir = dir.path().join("log");
    /// Log::open(&dir)?.append("written in the clear")?;
    /// let keys = Keys::new(KeyId(7), Key::new([7; 32])); // Take random bytes instead.
    /// let log = Log::options().keys(keys).open(&dir)?;
    /// log.reseal(&ResealOptions::new())?;
    /// assert!(log.reader().keys_in_use()?.keys().eq(&[Some(KeyId(7))]));
    /// # }
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    pub fn reseal(&self, how: &ResealOptions) -> Result<CompactReport> {
        self.reseal_with(how, |_| ControlFlow::Continue(()))
    }

    /// As [`reseal`](Self::reseal), telling how far it has come; `Break` ends it. What was swapped in by then
    /// stays, so starting again goes on where it ended.
    ///
    /// # Errors
    /// As [`reseal`](Self::reseal).
    pub fn reseal_with(
        &self,
        how: &ResealOptions,
        progress: impl FnMut(&CompactProgress) -> ControlFlow<()>,
    ) -> Result<CompactReport> {
        if self.core().options().keys.seals() {
            self.rotate()?;
        }
        self.rewriting(Op::Reseal, progress, |core, turn, between| {
            compact::reseal(core, turn, how, between)
        })
    }

    /// Does what writes segments anew, telling how far it has come, until it ends or the log is closed.
    fn rewriting(
        &self,
        op: Op,
        mut progress: impl FnMut(&CompactProgress) -> ControlFlow<()>,
        work: impl FnOnce(&Core, &Turn, &mut Between<'_>) -> Result<CompactReport>,
    ) -> Result<CompactReport> {
        let core = self.core();
        let _inside = core.enter(op)?;
        let mut between = |at: &CompactProgress, pause| {
            core.pause(pause)?;
            progress(at)
        };
        work(core, &self.inner.keeper.turn, &mut between)
    }

    /// Drops whole sealed segments that pass the limits, from the head, now.
    ///
    /// A cursor that does not verify holds nothing back; the report names it.
    ///
    /// # Errors
    /// As [`trim`](Self::trim).
    pub fn retain(&self, limits: &Retention) -> Result<RetainReport> {
        let _inside = self.core().enter(Op::Trim)?;
        let held = self.inner.cursors.held(self.core())?;
        retain::retain(self.core(), limits, held)
    }

    /// Lets go of sealed segments that are elsewhere as well: from now on they live there alone, are read by
    /// [`Options::far_segments`](crate::Options::far_segments), and take no room here. Everything else goes on as before:
    /// scans cross the border unnoticed; trim, retention and a rewind drop them without a look at them (a rewind that cuts one
    /// through reads it). Compaction, packing and resealing leave them as they are.
    ///
    /// Whoever calls it answers for their staying there as long as the log names them. That they are there is seen to: each is
    /// verified here, read in full there, and compared byte by byte; then one commit says so of all, and their files go with
    /// their last readers. Ids of what is not sealed, not here or no part of the log any more are passed over.
    ///
    /// There is no way back but [`backup`](Self::backup), which brings them along. The example is at
    /// [`FarSegments`](crate::FarSegments).
    ///
    /// # Errors
    /// `InvalidInput` without [`Options::far_segments`](crate::Options::far_segments); `Damaged` with its place if one does not
    /// verify, is not there, or is not the same there; `Io`, also if it cannot be asked for there; `Closed`, `Poisoned`. After
    /// an error none was let go of, but after one of the commit, as with [`trim`](Self::trim).
    pub fn release(&self, segments: &[SegmentId]) -> Result<ReleaseReport> {
        let _inside = self.core().enter(Op::Release)?;
        release::release(self.core(), segments)
    }

    /// What last failed in the background, once: compaction, retention, preparing segments. What
    /// nobody asks for is told by [`close`](Self::close).
    #[must_use]
    pub fn worker_error(&self) -> Option<Error> {
        self.inner.appender.take_worker_error()
    }

    /// Drops every record below `head_seq`, durably. What does not fill a whole segment is hidden
    /// now and its space is freed later.
    ///
    /// # Errors
    /// `InvalidInput` beyond the end; as [`sync`](Self::sync).
    pub fn trim(&self, head_seq: Seq) -> Result<()> {
        let _inside = self.core().enter(Op::Trim)?;
        trim::trim(self.core(), head_seq)
    }

    /// Drops every record at or above `end_seq`, durably. Their numbers are not used again: the next
    /// append goes on counting where it would have without. It waits for what is on its way, and takes two commits' time
    /// and the reading of the last segment; written is what stays of one batch, or a mebibyte at most.
    ///
    /// # Errors
    /// `Trimmed` below the head; as [`sync`](Self::sync).
    pub fn rewind(&self, end_seq: Seq) -> Result<()> {
        trim::rewind(self.core(), end_seq)
    }

    /// This log as it is stored, for copying it elsewhere: see [`StoredLog`].
    ///
    /// # Errors
    /// As [`Reader::open`](crate::Reader::open).
    pub fn stored(&self) -> Result<StoredLog> {
        let core = self.core();
        core.options().stored(core.dir().clone())
    }

    /// Copies everything that is durable by now into a directory, which is a log itself, with the
    /// same id and numbers. Appends, trims and all else go on meanwhile.
    ///
    /// Sealed segments are shared by hard links where the file system allows it, else copied; see
    /// [`BackupOptions`]. When it returns, the copy is durable and was read and verified in full.
    ///
    /// The directory is new or empty; or it has an earlier backup of this log, which is brought up to date: sealed
    /// segments that are there stay, what the log has dropped since goes. After an error, or a crash, that is
    /// the former backup or the next, whole. In a new directory there is no log then, and opening it says so: remove it.
    ///
    /// # Errors
    /// `InvalidInput` if it is no directory, inside the log's own, or holds anything else: also a backup that was
    /// opened for writing, of another log, ahead of this one, of what this one held before it was put back from an earlier day, or
    /// that shares files where [`copy`](BackupOptions::copy) is asked for. `Locked` while somebody has it open; `Damaged` if something
    /// does not verify, here or there; `NoSpace`; `Closed`; `Io`.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<BackupReport> {
        self.backup_with(path, &BackupOptions::new())
    }

    /// As [`backup`](Self::backup), with options.
    ///
    /// # Errors
    /// As [`backup`](Self::backup).
    pub fn backup_with(&self, path: impl AsRef<Path>, how: &BackupOptions) -> Result<BackupReport> {
        backup::backup(self.core(), path.as_ref(), how)
    }
}
