//! Replacing a file whole: the old content is in force or the new one, at every instant.
//!
//! The new content is written to a file of its own, synced, and takes the name. Where there is no room
//! for such a file, the content goes over the *alternate*, which is there beforehand: it is written over
//! in place and exchanged with the file, so that no block is needed and no name comes or goes. The old
//! file is the alternate then. Where the content has come to need one block more, that one is too short for
//! the next: the ballast's file takes its place.
//!
//! INVARIANTS: what stands in the alternate means nothing. It is touched only after a sync of the
//! directory that returned success: before, its file might be the one in force after a power cut.
//! On a full disk nothing outgrows what is there, if nothing as large could replace it again.
//!
//! Called by manifest and cursor; calls `Dir` and `ballast`.

use super::{Access, Ballast, Dir, ballast::is_full, write_all_at};
use std::{borrow::Cow, io};

/// The alternate grows in steps of this many bytes: what file systems allocate at once.
const STEP_BYTES: u64 = 4096;

/// A file that is replaced whole, and the names beside it.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub(crate) name: Cow<'static, str>,
    /// Under which its successor is written.
    new_name: Cow<'static, str>,
    alt_name: Cow<'static, str>,
    /// The alternate is known to have so many bytes.
    alt_bytes: u64,
}

/// Why a file was not replaced.
#[derive(Debug)]
pub(crate) enum NotReplaced {
    /// The old content is in force.
    Before(io::Error),
    /// One of the two is, and nobody knows which.
    Undecided(io::Error),
}

impl NotReplaced {
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Before(error) | Self::Undecided(error) => error,
        }
    }
}

impl Replaced {
    pub(crate) fn new<T: Into<Cow<'static, str>>>(name: T, new_name: T, alt_name: T) -> Self {
        Self {
            name: name.into(),
            new_name: new_name.into(),
            alt_name: alt_name.into(),
            alt_bytes: 0,
        }
    }

    /// Replaces the content. On a full disk it goes over the alternate, or into the ballast's room.
    pub(crate) fn replace(
        &mut self,
        dir: &Dir,
        ballast: &Ballast,
        content: &[u8],
    ) -> Result<(), NotReplaced> {
        use NotReplaced::{Before, Undecided};
        match self.write_new(dir, content) {
            Ok(()) => {}
            Err(error) if is_full(&error) => {
                if self.write_over(dir, ballast, content).map_err(Before)? {
                    self.exchange(dir).map_err(Undecided)?;
                    // As below: it is replaced, whatever becomes of this.
                    self.lengthen(dir, ballast, content.len() as u64).ok();
                    return Ok(());
                }
                // The first failure, for the ballast's work.
                let mut first = Some(error);
                let write = || {
                    first
                        .take()
                        .map_or_else(|| self.write_new(dir, content), Err)
                };
                ballast.lend(write).map_err(Before)?;
            }
            Err(error) => return Err(Before(error)),
        }
        let renamed = dir.rename(&self.new_name, &self.name);
        // DURABILITY: after this line the new content is in force, whatever happens. Before it
        // either may be; both are complete.
        renamed.and_then(|()| dir.sync()).map_err(Undecided)?;
        // It is replaced, whatever becomes of this; a sync that failed is told by the directory.
        self.prepare(dir, content.len() as u64).ok();
        Ok(())
    }

    /// Writes the content to a file of its own; where there is no room for it, nothing is left.
    fn write_new(&self, dir: &Dir, content: &[u8]) -> io::Result<()> {
        dir.remove_if_there(&self.new_name)?;
        let written = dir.write_new(&self.new_name, content);
        if written.as_ref().is_err_and(is_full) {
            dir.remove_if_there(&self.new_name)?;
        }
        written
    }

    /// Writes the content over the alternate; false if there is none, or no room for that either.
    fn write_over(&mut self, dir: &Dir, ballast: &Ballast, content: &[u8]) -> io::Result<bool> {
        let len = content.len() as u64;
        if dir.len(&self.alt_name)?.is_none() || !self.can_go_on(dir, ballast, len)? {
            return Ok(false);
        }
        // DURABILITY: after this line the alternate is not the file itself by any name that survives.
        dir.sync()?;
        self.alt_bytes = 0;
        let is_lent = match self.lengthen(dir, ballast, len) {
            Err(error) if is_full(&error) => return Ok(false),
            lengthened => lengthened?,
        };
        let file = dir.open(&self.alt_name, Access::ReadWrite)?;
        match write_all_at(&*file, content, 0) {
            // Nothing is written in place here: as ballast it does more.
            Err(error) if is_full(&error) && is_lent => {
                ballast.change_with(&self.alt_name)?;
                return Ok(false);
            }
            Err(error) if is_full(&error) => return Ok(false),
            written => written?,
        }
        if file.len()? > len {
            file.set_len(len)?;
        }
        // DURABILITY: after this line the content survives under whatever name it durably has.
        file.sync()?;
        Ok(true)
    }

    /// Whether so many bytes can replace the content, and be replaced by as many again: what is in force now is
    /// the alternate then. For one of the two that is too short the ballast can stand in.
    fn can_go_on(&self, dir: &Dir, ballast: &Ballast, len: u64) -> io::Result<bool> {
        let mut short_count = 0;
        for name in [&self.name, &self.alt_name] {
            short_count += u32::from(is_short(dir, name, len)?);
        }
        match short_count {
            0 => Ok(true),
            1 => ballast.can_stand_in(dir, len),
            _ => Ok(false),
        }
    }

    /// Sees to it that the alternate has room for so many bytes; true if it is the ballast's now.
    fn lengthen(&self, dir: &Dir, ballast: &Ballast, len: u64) -> io::Result<bool> {
        let lent = is_short(dir, &self.alt_name, len)? && ballast.can_stand_in(dir, len)?;
        if lent {
            ballast.change_with(&self.alt_name)?;
        }
        Ok(lent)
    }

    fn exchange(&self, dir: &Dir) -> io::Result<()> {
        if !dir.exchange(&self.alt_name, &self.name)? {
            dir.rename(&self.alt_name, &self.name)?;
        }
        // DURABILITY: after this line the new content is in force. Before it either may be.
        dir.sync()
    }

    /// Sees to it that the alternate has room for content a little longer than this, if the disk has.
    fn prepare(&mut self, dir: &Dir, len: u64) -> io::Result<()> {
        let wanted = (len + len / 4).next_multiple_of(STEP_BYTES);
        if self.alt_bytes >= wanted {
            return Ok(());
        }
        let there = dir.len(&self.alt_name)?.unwrap_or(0);
        self.alt_bytes = there.max(wanted);
        if there < wanted && !dir.fill(&self.alt_name, there, wanted)? {
            self.alt_bytes = there;
        }
        Ok(())
    }
}

/// Whether a file that is there has fewer blocks than so many bytes need, if blocks are of [`STEP_BYTES`]: where
/// they are smaller it may have, and is tried.
fn is_short(dir: &Dir, name: &str, len: u64) -> io::Result<bool> {
    let there = dir.len(name)?;
    Ok(there.is_some_and(|there| there.next_multiple_of(STEP_BYTES) < len))
}
