//! What there is to choose from.

#[cfg(doc)]
use super::Options;

/// What an append waits for before it returns.
///
/// And what of it can be read, by readers of this process and of others:
///
/// | | its own `Log`, and every [`Reader`](crate::Reader) | a reader [including what is written](crate::Reader::including_written) |
/// |---|---|---|
/// | durable | as soon as the append returns | the same |
/// | written | after the next sync: [`Options::sync_interval`], or anybody's | as soon as the append returns; in another process, a moment later |
/// | buffered | the same | once it is written: [`Options::buffer_interval`], or with the next append that waits |
///
/// A reader [including what is buffered](crate::Reader::including_buffered) reads all three as soon as the append
/// returns, in the process that appended: it has the buffer written first, without a sync.
///
/// [`Log::wait_durable`](crate::Log::wait_durable) waits for a record to be in the first column,
/// [`Reader::wait_for`](crate::Reader::wait_for) for what its reader shows. Out of memory nobody reads: numbers of
/// what is only buffered may be given again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The sync: the record survives power loss.
    #[default]
    Durable,
    /// The write: the record is in the operating system's cache, survives the process, not the power.
    Written,
    /// Nothing: the record is in this process's memory, to be written when the buffer fills, after
    /// [`Options::buffer_interval`], or by [`Log::sync`](crate::Log::sync).
    ///
    /// If such records have to be dropped, because an append before them failed on a full disk, the
    /// next sync or close says so, and their numbers are given again.
    Buffered,
}

/// How sealed segments are read: at what speed, and what a disk that cannot read a page does to the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadMode {
    /// Through a memory mapping, without copying: of records up to a few KiB that are in the system's cache, 1.3 to
    /// 2 times as fast as by position.
    ///
    /// What is read is asked for before it is looked at, so that a page which the disk cannot read is an
    /// error (`Io`), where the system can be asked (Linux 5.14). A risk is left: a page that was read before, has
    /// left the cache since, and cannot be read again raises a signal, SIGBUS, which ends the process; so does
    /// one of a [`Record`](crate::Record) that is kept and not [detached](crate::Record::detach).
    #[default]
    Mapped,
    /// By positional reads, each into memory of the process. A failing disk gives an error, always. For who
    /// cannot be ended by a disk, and for logs on disks that are removed or shared by a network.
    Positional,
}

/// What opening does with an end that does not verify and that nothing attests.
///
/// Such an end is an unfinished last write, or, indistinguishable from it, damage to the very last
/// synced batch before anything later was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnAmbiguousTail {
    /// Cut it, keep the bytes in `quarantine/`, report it.
    #[default]
    Cut,
    /// Refuse to open.
    Refuse,
}
