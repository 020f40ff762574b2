//! The segments that are not sealed, as far as another process is known to have made them durable.
//!
//! INVARIANT: a chain goes no further than it was told to. What is durable never changes, so a scan
//! goes on where the last one stopped; what lies beyond may yet be cut back and written anew, so
//! whoever wants to see it takes a copy [apart](Chain::apart) and throws it away.

use crate::{
    error::{Defect, Error, ErrorKind, Op, Place, Result},
    format::{Manifest, SegmentHeader, header::HEADER_BYTES, names},
    seal::KeyRing,
    segment::{Identity, Limits, Source, Space, Stop, Summary, Tail, TailWriter, Window, walk},
    sync::Arc,
    types::{SegmentId, Seq},
    vfs::{Access, Dir, read_full_at},
};
use std::io;

/// Read at a time, in bytes: most looks find a few records.
const CHUNK_BYTES: u64 = 16 * 1024;

/// The tail, and behind it the spare once that is begun.
#[derive(Debug)]
pub(super) struct Chain {
    links: Vec<TailWriter>,
    keys: KeyRing,
    /// Where the tail begins, if it has no link.
    base_seq: Seq,
    /// The place behind which only a newer program can read, or what is missing behind it.
    beyond: Option<Error>,
    /// The highest seq below which anything that verifies says that all was durable.
    attested_seq: Seq,
    /// Why the last scan stopped.
    stop: Stop,
}

impl Chain {
    pub(super) fn new(keys: KeyRing) -> Self {
        Self {
            links: Vec::new(),
            keys,
            base_seq: 0,
            beyond: None,
            attested_seq: 0,
            stop: Stop::Reached,
        }
    }

    pub(super) fn tails(&self) -> Vec<Arc<Tail>> {
        self.links.iter().map(|link| link.tail.clone()).collect()
    }

    /// The seq after the last record that was scanned.
    pub(super) fn next_seq(&self) -> Seq {
        let last = self.links.last();
        last.map_or(self.base_seq, |link| link.summary.next_seq)
    }

    /// Whether a place lies in what was scanned: then it does not change.
    pub(super) fn holds(&self, id: SegmentId, offset: u64) -> bool {
        let mut links = self.links.iter();
        links.any(|link| link.tail.id == id && offset < link.summary.end)
    }

    pub(super) fn beyond(&self) -> Option<&Error> {
        self.beyond.as_ref()
    }

    pub(super) fn attested_seq(&self) -> Seq {
        self.attested_seq
    }

    /// Ends in an error, if it does not end in one already.
    pub(super) fn end_with(&mut self, error: &Error) {
        self.beyond.get_or_insert_with(|| error.clone());
    }

    /// Takes in what something beyond the chain says.
    pub(super) fn attest(&mut self, durable_seq: Seq) {
        self.attested_seq = self.attested_seq.max(durable_seq);
    }

    /// A copy that may go further, and shares nothing that changes.
    pub(super) fn apart(&self) -> Self {
        Self {
            links: self.links.iter().map(TailWriter::apart).collect(),
            beyond: self.beyond.clone(),
            keys: self.keys.clone(),
            ..*self
        }
    }

    /// Begins with the tail that this manifest names, keeping what is scanned of it.
    pub(super) fn take_over(&mut self, dir: &Dir, manifest: &Manifest) -> Result<()> {
        self.attest(manifest.durable_seq);
        (self.base_seq, self.beyond) = (manifest.tail.base_seq, None);
        let (tail, spare) = (manifest.tail, manifest.spare);
        let is = |link: &TailWriter, id, salt| link.tail.id == id && link.tail.context.salt == salt;
        let named = |link: &TailWriter| {
            is(link, tail.id, tail.salt) || spare.is_some_and(|it| is(link, it.id, it.salt))
        };
        self.links.retain(named);
        if !self
            .links
            .first()
            .is_some_and(|link| is(link, tail.id, tail.salt))
        {
            self.links.clear();
            let (header, file) = open(dir, tail.id)?;
            let header = match header.map_err(|defect| at_start(tail.id, tail.base_seq, defect)) {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    self.beyond = Some(error);
                    return Ok(());
                }
                header => header?,
            };
            identity(manifest, tail.id, tail.salt, tail.base_seq)
                .check(&header)
                .map_err(|defect| at_start(tail.id, tail.base_seq, defect))?;
            self.push(&header, file);
        }
        Ok(())
    }

    fn push(&mut self, header: &SegmentHeader, file: std::sync::Arc<dyn crate::vfs::VfsFile>) {
        let space = Arc::new(Space::new(file, 0));
        let tail = Arc::new(Tail::new(header, space, &self.keys));
        let summary = Summary::new(header.base_seq, &header.encode());
        self.links.push(TailWriter::new(tail, summary, Vec::new()));
        self.attest(header.durable_seq);
    }

    /// Goes on until a seq, or to the end of what verifies.
    pub(super) fn scan_on(&mut self, dir: &Dir, manifest: &Manifest, until_seq: Seq) -> Result<()> {
        self.scan_last(until_seq)?;
        let Some(spare) = manifest.spare else {
            return Ok(());
        };
        let is_linked = self
            .links
            .last()
            .is_none_or(|link| link.tail.id == spare.id);
        if is_linked || self.next_seq() >= until_seq {
            return Ok(());
        }
        let (header, file) = open(dir, spare.id)?;
        // Until it is begun it has no header, and a begun one that a failed write left is taken back.
        let header = match header {
            Err(defect) if defect.is_unsupported() => {
                self.beyond = Some(at_start(spare.id, self.next_seq(), defect));
                return Ok(());
            }
            Err(_) => return Ok(()),
            Ok(header) => header,
        };
        let identity = identity(manifest, spare.id, spare.salt, header.base_seq);
        let follows = self.links.last().is_some_and(|link| {
            let end = link.summary.predecessor(link.tail.id, &link.tail.context);
            header.predecessor == Some(end) && header.base_seq == link.summary.next_seq
        });
        if identity.check(&header).is_ok() && follows {
            self.push(&header, file);
            self.scan_last(until_seq)?;
        }
        Ok(())
    }

    fn scan_last(&mut self, until_seq: Seq) -> Result<()> {
        let Some(link) = self.links.last_mut() else {
            return Ok(());
        };
        if link.summary.next_seq >= until_seq {
            return Ok(());
        }
        let (id, context) = (link.tail.id, link.tail.context);
        let file_end = link.tail.space.file().len();
        let file_end =
            file_end.map_err(|error| Error::io(Op::Read, error).at(Place::in_segment(id, 0)))?;
        let limits = Limits {
            file_end,
            until_seq,
            recycled: false, // What follows is not asked for.
            packed_appends: link.tail.packed_appends,
        };
        let source = Source::File(link.tail.space.file().clone());
        let mut window = Window::of_chunks(&source, CHUNK_BYTES);
        let scan = walk(&mut window, &context, link.summary.clone(), limits, |_| {})
            .map_err(|fault| fault.into_error(Op::Read, id))?;
        let (stop, durable_seq) = (scan.stop, scan.durable_seq);
        link.take_in(scan);
        self.stop = stop;
        self.attest(durable_seq);
        if let Stop::Defect { defect, .. } = stop
            && defect.is_unsupported()
        {
            self.beyond = Some(self.missing());
        }
        Ok(())
    }

    /// The error for records that are durable and are not there.
    pub(super) fn missing(&self) -> Error {
        let Some(link) = self.links.last() else {
            return Error::defect(Op::Read, Place::default(), Defect::MissingFile);
        };
        let (offset, seq, defect) = match self.stop {
            Stop::Defect {
                offset,
                seq,
                defect,
            } => (offset, seq, defect),
            _ => (link.summary.end, link.summary.next_seq, Defect::Zeroed),
        };
        let place = Place::in_segment(link.tail.id, offset).with_seq(seq);
        Error::defect(Op::Read, place, defect)
    }
}

fn identity(manifest: &Manifest, id: SegmentId, salt: u64, base_seq: Seq) -> Identity {
    Identity {
        log_id: manifest.log_id,
        id: id.0,
        salt,
        base_seq,
    }
}

fn at_start(id: SegmentId, base_seq: Seq, defect: Defect) -> Error {
    Error::defect(
        Op::Read,
        Place::in_segment(id, 0).with_seq(base_seq),
        defect,
    )
}

type Opened = (
    Result<SegmentHeader, Defect>,
    std::sync::Arc<dyn crate::vfs::VfsFile>,
);

/// Opens a segment file and reads its header.
fn open(dir: &Dir, id: SegmentId) -> Result<Opened> {
    let place = || Place::in_segment(id, 0);
    let io = |error| Error::io(Op::Read, error).at(place());
    let file = match dir.open(&names::segment(id), Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::defect(Op::Read, place(), Defect::MissingFile));
        }
        opened => opened.map_err(io)?,
    };
    let mut head = [0; HEADER_BYTES];
    let read = read_full_at(&*file, &mut head, 0).map_err(io)?;
    let header = SegmentHeader::decode(head.get(..read).unwrap_or_default());
    Ok((header, file))
}
