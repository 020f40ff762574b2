//! A reader that waits at the end of the log for more, woken by the watermark and never polling.

use super::{Reader, Record, Scan, follow::Alarm, stop::Stop};
use crate::{
    catalog::{InterruptHandle, Wait},
    error::{Error, Op, Result},
    sync::{Arc, OnceLock},
    types::Seq,
};
use std::{iter::FusedIterator, time::Duration};

/// Follows the log; from [`Log::tail`](crate::Log::tail).
///
/// The iterator waits for the next record and ends when the log is closed. In another process than the
/// writer's it does not: the log may be opened again. If it falls behind the
/// head, it gives one `Trimmed` error with the seq to go on from, and ends; after a failed sync it
/// gives what is durable and then one `Poisoned` error: never silence.
///
/// ```
/// use cairnlog::Log;
/// # let dir = tempfile::tempdir().unwrap();
/// let log = Log::open(dir.path().join("log"))?;
/// let mut tail = log.tail(0);
/// let follower = std::thread::spawn(move || tail.next().expect("a record comes")); // Waits.
/// log.append("news")?;
/// assert_eq!(&*follower.join().unwrap()?, b"news");
/// # Ok::<(), cairnlog::Error>(())
/// ```
#[derive(Debug)]
pub struct TailReader {
    reader: Reader,
    next_seq: Seq,
    /// What is being shown, and where it ends.
    scan: Option<(Scan, Seq)>,
    /// What wakes it if another process writes.
    alarm: Alarm,
    /// What calls it away, if anybody may.
    stop: OnceLock<Arc<Stop>>,
    /// What it met behind records that it has given.
    error: Option<Error>,
    done: bool,
}

impl TailReader {
    pub(super) fn new(reader: Reader, next_seq: Seq) -> Self {
        Self {
            reader,
            next_seq,
            scan: None,
            alarm: Alarm::default(),
            stop: OnceLock::new(),
            error: None,
            done: false,
        }
    }

    /// The lowest seq that it has not shown yet.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// Waits at most this long for the next record. `None`: none came, or the log was closed, which
    /// [`is_finished`](Self::is_finished) tells apart.
    ///
    /// # Errors
    /// As [`Log::get`](crate::Log::get). After an error it is finished.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Record>> {
        self.step(Some(timeout))
    }

    /// The next record if it is there by now.
    ///
    /// # Errors
    /// As [`next_timeout`](Self::next_timeout).
    pub fn try_next(&mut self) -> Result<Option<Record>> {
        self.step(Some(Duration::ZERO))
    }

    /// Up to `max` records: those that are there by now or, if none is, waits at most `wait` for the
    /// first. None: as of [`next_timeout`](Self::next_timeout).
    ///
    /// # Errors
    /// As [`next_timeout`](Self::next_timeout). What was read before an error is given, and the error told by
    /// the call after.
    pub fn next_batch(&mut self, max: usize, wait: Duration) -> Result<Vec<Record>> {
        let mut batch = Vec::new();
        if max > 0 {
            batch.extend(self.next_timeout(wait)?);
        }
        while !batch.is_empty() && batch.len() < max {
            match self.try_next() {
                Ok(Some(record)) => batch.push(record),
                Ok(None) => break,
                Err(error) => {
                    (self.error, self.done) = (Some(error), false);
                    break;
                }
            }
        }
        Ok(batch)
    }

    /// What lets another thread end the waiting of this tail, without keeping the log open.
    ///
    /// ```
    /// use cairnlog::{Log, Reader};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let path = dir.path().join("log");
    /// let log = Log::open(&path)?;
    /// let tail = Reader::open(&path)?.tail(0);
    /// let stop = tail.interrupt_handle();
    /// let follower = std::thread::spawn(move || tail.count()); // Would wait for ever.
    /// stop.interrupt();
    /// assert_eq!(follower.join().unwrap(), 0);
    /// # Ok::<(), cairnlog::Error>(())
    /// ```
    #[must_use]
    pub fn interrupt_handle(&self) -> InterruptHandle {
        let stop = self.stop.get_or_init(|| Stop::new(&self.reader.watermark));
        InterruptHandle::new(stop.clone())
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.done
    }

    /// What has to pass its seq before there is more, once [`try_next`](Self::try_next) gave nothing.
    #[cfg(feature = "async")]
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    fn step(&mut self, timeout: Option<Duration>) -> Result<Option<Record>> {
        let is_called = self.stop.get().is_some_and(|stop| stop.is_called());
        if is_called && timeout != Some(Duration::ZERO) {
            return Ok(None);
        }
        let outcome = match self.error.take() {
            Some(error) => Err(error),
            None => self.look(timeout),
        };
        self.done |= outcome.is_err();
        outcome
    }

    fn look(&mut self, timeout: Option<Duration>) -> Result<Option<Record>> {
        while !self.done {
            if let Some((scan, end)) = &mut self.scan {
                match scan.next() {
                    Some(Ok(record)) => {
                        self.next_seq = record.seq().saturating_add(1);
                        return Ok(Some(record));
                    }
                    Some(Err(error)) => return Err(error),
                    None => {
                        // Numbers that were rewound or compacted away by now are skipped.
                        self.next_seq = self.next_seq.max(*end);
                        self.scan = None;
                    }
                }
            }
            self.check_beyond()?;
            match self.wait(timeout)? {
                Wait::Reached => {}
                Wait::TimedOut | Wait::Called => return Ok(None),
                Wait::Ended => {
                    self.done = true;
                    return self.reader.watermark.failure().map_or(Ok(None), Err);
                }
            }
            let (end, catalog) = self.reader.snapshot()?;
            if self.next_seq < catalog.head_seq {
                return Err(Error::trimmed(Op::Read, self.next_seq, catalog.head_seq));
            }
            let walk = self.reader.walk(catalog, (self.next_seq, end), end);
            self.scan = Some((walk, end));
        }
        Ok(None)
    }

    /// What it waits for never comes if a newer program wrote it.
    fn check_beyond(&self) -> Result<()> {
        let shown = self.next_seq >= self.reader.watermark.get(self.reader.level);
        let beyond = self.reader.catalog.load().beyond.clone();
        beyond.filter(|_| shown).map_or(Ok(()), Err)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<Wait> {
        self.reader.write_first()?;
        let Reader {
            watermark,
            level,
            follower,
            ..
        } = &self.reader;
        match follower {
            None => {
                let called = || self.stop.get().is_some_and(|stop| stop.is_called());
                Ok(watermark.wait_beyond_or(*level, self.next_seq, timeout, called))
            }
            Some(follower) => {
                let stop = self.stop.get().map(|stop| &**stop);
                follower.wait_beyond(&mut self.alarm, self.next_seq, timeout, stop)
            }
        }
    }
}

impl Iterator for TailReader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(None).transpose()
    }
}

impl FusedIterator for TailReader {}
