//! Telling readers in other processes how far the log is durable: `format.md`, "Watermark".
//!
//! INVARIANTS: what is told is true whatever happens afterwards, because it names only what a sync
//! and a commit have confirmed; it never goes down; whoever is told that something is durable is told so
//! after it was written here, so that a kill leaves nobody knowing more than readers and recovery do.
//! Failing to tell is no error. Never synced: what a power cut loses of it, they do without.
//!
//! Called by the leader before it tells anybody, after each commit, and at opening.

use super::Core;
use crate::{
    format::{WatermarkFile, names},
    types::Seq,
    vfs::{Access, Dir, Syncs, VfsFile, write_all_at},
};
use std::io;

/// The file, and what was written to it last.
#[derive(Debug, Default)]
pub(super) struct Published {
    file: Option<std::sync::Arc<dyn VfsFile>>,
    told: Option<WatermarkFile>,
    /// The highest that was told: whoever tells a commit may not have heard of a sync that was told already.
    durable_seq: Seq,
}

impl Core {
    /// Tells what is durable by now, unless that was told already.
    pub(crate) fn publish(&self) {
        self.publish_below(0);
    }

    /// As [`publish`](Self::publish), of a sync that has returned and that nobody was told of yet.
    pub(super) fn publish_below(&self, synced_seq: Seq) {
        if !self.options.publish {
            return;
        }
        // Looked at under the lock: of two who tell at once, the later has the later news. And the
        // durable seq before the generation: whatever lies below the one, a manifest of the other or
        // a later one names its segment.
        let mut published = self.published.lock();
        let durable_seq = (self.durable_seq().max(synced_seq)).max(published.durable_seq);
        published.durable_seq = durable_seq;
        let now = WatermarkFile {
            log_id: self.owner.log_id,
            incarnation: self.owner.incarnation,
            durable_seq,
            generation: self.manifest.generation(),
        };
        if published.told != Some(now) {
            let written = published.write(&self.dir, &now.encode());
            published.told = written.is_ok().then_some(now);
        }
    }
}

impl Published {
    fn write(&mut self, dir: &Dir, bytes: &[u8]) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open(dir)?,
        };
        // Over the old one, in one call. A reader that sees half of each knows it by the checksum,
        // and is woken once more when the call is done. After an error the file is looked for anew.
        write_all_at(&*file, bytes, 0)?;
        self.file = Some(file);
        Ok(())
    }
}

fn open(dir: &Dir) -> io::Result<std::sync::Arc<dyn VfsFile>> {
    let file = match dir.open(names::WATERMARK, Access::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => dir.create_new(names::WATERMARK),
        opened => opened,
    };
    Ok(dir.resting(names::WATERMARK, file?, Syncs::Never))
}
