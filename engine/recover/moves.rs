//! Where the cursors stand by their files and by what the unsealed segments say since.
//!
//! INVARIANT: the files are read after the manifest of which the chain is. Whatever segments with moves
//! were sealed before that, the files say as much; so none is missed, also beside a writer that is alive.
//!
//! Called by opening, repair, and whoever asks for the cursors without the lock.

use super::{
    act::unsteady,
    decide::{Plan, decide},
    look::{Facts, HeaderFact, UnsealedFact, look},
};
use crate::{
    append::{CursorStore, Moves},
    error::{Error, ErrorKind, Op, Place, Result},
    format::{Owner, cursor::CursorFile, header::HEADER_BYTES, names},
    options::OnAmbiguousTail,
    segment::{Limits, Source, Summary, Window, walk},
    types::Seq,
    vfs::{Access, Dir, is_out_of_reach, read_full_at},
};

/// A writer may move on between a look and the reading of what it found; hardly this often.
const LOOKS_MAX: usize = 20;

/// The cursors of a log of which this is known, to go on with.
pub(crate) fn cursors(dir: &Dir, facts: &Facts, op: Op) -> Result<CursorStore> {
    Ok(CursorStore::new(dir, moves(dir, facts, op)?))
}

/// Where the cursors stand that have moved in the chain, looked up without opening the log.
pub(crate) fn moved_cursors(dir: &Dir) -> Result<Moves> {
    let mut looks = 1;
    loop {
        let outcome = look(dir, Op::Consume).and_then(|facts| moves(dir, &facts, Op::Consume));
        match outcome {
            Err(error) if looks < LOOKS_MAX && error.kind() != ErrorKind::NotFound => looks += 1,
            outcome => return outcome,
        }
    }
}

fn moves(dir: &Dir, facts: &Facts, op: Op) -> Result<Moves> {
    let has_moves = |fact: &&UnsealedFact| fact.scan.as_ref().is_some_and(|scan| scan.has_moves);
    let chain = chain(facts);
    let mut with_moves = chain.into_iter().filter(has_moves).peekable();
    let (Some(manifest), Some(_)) = (facts.valid_manifest(), with_moves.peek()) else {
        return Ok(Moves::default());
    };
    let mut moves = Moves::of(files(dir, manifest.owner(), op)?);
    with_moves.try_for_each(|fact| add(dir, fact, &mut moves, op))?;
    Ok(moves)
}

/// The unsealed segments that follow each other.
fn chain(facts: &Facts) -> Vec<&UnsealedFact> {
    let plan = decide(facts, OnAmbiguousTail::Cut);
    let goes_on = matches!(plan, Plan::Carry { carry, .. } if carry.spare_begun);
    let spare = facts.spare.as_ref().filter(|_| goes_on);
    facts.tail.iter().chain(spare).collect()
}

/// The files of this log's cursors that verify: the others say nothing that a move could be added to.
fn files(dir: &Dir, owner: Owner, op: Op) -> Result<Vec<CursorFile>> {
    let dir = dir.child(names::CURSORS);
    let io = |error| Error::io(op, error).at(Place::file(names::CURSORS));
    let listed = match dir.list() {
        Err(error) if is_out_of_reach(&error) => return Ok(Vec::new()),
        listed => listed.map_err(io)?,
    };
    let mut files = Vec::new();
    for entry in listed.iter().filter(|entry| entry.is_file) {
        let Some(id) = names::parse_cursor(&entry.name) else {
            continue;
        };
        let bytes = match dir.read(&entry.name, CursorFile::stated_bytes) {
            Err(error) if is_out_of_reach(&error) => continue,
            read => read.map_err(io)?,
        };
        let file = CursorFile::decode(&bytes).ok();
        files.extend(file.filter(|file| file.id == id && owner.check(file.owner()).is_ok()));
    }
    Ok(files)
}

/// Adds what an unsealed segment says, up to where a look has found it to end.
fn add(dir: &Dir, found: &UnsealedFact, moves: &mut Moves, op: Op) -> Result<()> {
    let (HeaderFact::Valid(header), Some(scan)) = (&found.header, &found.scan) else {
        return Ok(());
    };
    let io = |error| Error::io(op, error).at(Place::in_segment(found.id, 0));
    let file = dir
        .open(&names::segment(found.id), Access::Read)
        .map_err(io)?;
    let mut head = [0; HEADER_BYTES];
    read_full_at(&*file, &mut head, 0).map_err(io)?;
    let limits = Limits {
        file_end: scan.summary.end,
        until_seq: Seq::MAX,
        recycled: header.recycled,
        packed_appends: header.packed_appends,
    };
    let mut window = Window::new(&Source::File(file));
    let summary = Summary::new(header.base_seq, &head);
    let again = walk(
        &mut window,
        &header.context(),
        summary,
        limits,
        |verified| {
            if verified.has_moves {
                moves.add_annex(&verified.batch, verified.body);
            }
        },
    );
    let again = again.map_err(|fault| fault.into_error(op, found.id))?;
    if again.summary != scan.summary {
        return Err(unsteady(Place::in_segment(found.id, again.summary.end)));
    }
    Ok(())
}
