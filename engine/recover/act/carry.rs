//! Leaving an unclean end behind, without ever appending to it.

use super::{Ready, Scanned, blank_spare, io_at, remove, scan_unsealed};
use crate::{
    append::create_spare,
    error::{Op, Place, Result},
    format::{
        Manifest, SegmentHeader,
        batch::Records,
        header::Predecessor,
        manifest::{SealedEntry, SpareEntry, TailEntry},
        names,
    },
    manifest::ManifestStore,
    options::Options,
    recover::decide::Carry,
    segment::{Builder, Fault, Limits, Scan, Source, Window, copy_header, scan, write_footer},
    types::{SegmentId, Seq},
    vfs::{Access, Dir},
};

/// Leaves an unclean end behind: what is proven is sealed where it stands, the records behind it are
/// written into a new segment, and that becomes the tail.
pub(crate) fn carry(
    dir: &Dir,
    options: &Options,
    manifest: Manifest,
    carry: &Carry,
    reserve: bool,
) -> Result<Ready> {
    let (mut sealed, mut next_id) = (Vec::new(), manifest.next_segment_id);
    let mut id = || {
        let id = next_id;
        next_id = SegmentId(id.0 + 1);
        id
    };
    let mut sources = vec![manifest.tail.id];
    sources.extend(
        manifest
            .spare
            .filter(|_| carry.spare_begun)
            .map(|spare| spare.id),
    );

    let mut predecessor = None;
    let mut footers = Vec::new();
    for source in &sources {
        let proven = scan_unsealed(dir, *source, carry.proven_seq, Access::ReadWrite)?;
        if proven.scan.summary.next_seq > proven.header.base_seq {
            let context = proven.header.context();
            sealed.push(proven.scan.summary.sealed_entry(*source, &context));
            predecessor = Some(predecessor_of(&proven));
            footers.push(proven);
        }
    }
    let base_seq = sealed
        .last()
        .map_or(manifest.tail.base_seq, |entry: &SealedEntry| entry.next_seq);
    let header = SegmentHeader {
        predecessor,
        durable_seq: carry.proven_seq,
        ..copy_header(dir, manifest.log_id, id(), base_seq)
    };
    let place = Place::file(names::segment(header.id));
    let mut builder = Builder::create(dir, header).map_err(io_at(place.clone()))?;
    for source in &sources {
        copy_survivors(
            dir,
            *source,
            base_seq,
            carry.next_seq,
            carry.proven_seq,
            &mut builder,
        )?;
    }
    let writer = builder.into_tail().map_err(io_at(place))?;
    let spare = match manifest
        .spare
        .filter(|_| !carry.spare_begun && carry.torn.is_none())
    {
        Some(entry) => blank_spare(dir, entry)?,
        None => {
            let id = id();
            let place = Place::file(names::segment(id));
            create_spare(dir, id, options.segment_bytes).map_err(io_at(place))?
        }
    };
    // DURABILITY: after this line the new files' names survive; no manifest names them yet.
    dir.sync().map_err(io_at(Place::file(dir.path())))?;

    let old_spare = manifest.spare.map(|entry| entry.id);
    let store = ManifestStore::new(dir.clone(), manifest, reserve);
    let context = writer.tail.context;
    store.commit(Op::Open, |manifest| {
        manifest.sealed.extend(sealed.iter().copied());
        manifest.tail = TailEntry {
            id: writer.tail.id,
            salt: context.salt,
            base_seq,
        };
        manifest.spare = Some(SpareEntry {
            id: spare.id,
            salt: spare.salt,
        });
        manifest.next_segment_id = next_id;
        manifest.durable_seq = carry.next_seq;
        manifest.durable_end = writer.summary.end;
        manifest.clean = false;
    })?;
    tidy(
        dir,
        &sources,
        old_spare.filter(|id| *id != spare.id),
        &sealed,
        footers,
    )?;
    Ok(Ready {
        manifest: store,
        writer,
        spare: Some(spare),
    })
}

fn predecessor_of(proven: &Scanned) -> Predecessor {
    let summary = &proven.scan.summary;
    Predecessor {
        id: proven.id,
        salt: proven.header.salt,
        frames_end: summary.end,
        next_seq: summary.next_seq,
        checksum: summary.checksum,
    }
}

/// Writes the records of an unsealed segment from `from_seq` on into the new one, batch by batch.
fn copy_survivors(
    dir: &Dir,
    id: SegmentId,
    from_seq: Seq,
    until_seq: Seq,
    durable_seq: Seq,
    builder: &mut Builder,
) -> Result<()> {
    let found = scan_unsealed(dir, id, from_seq, Access::Read)?;
    if found.scan.summary.next_seq >= until_seq {
        return Ok(());
    }
    let context = found.header.context();
    let limits = Limits {
        dense: true,
        file_end: found.file_end,
        until_seq,
    };
    let mut window = Window::new(Source::File(found.file));
    let mut copied = Ok(());
    scan(
        &mut window,
        &context,
        found.scan.summary,
        limits,
        |batch, body| {
            let records = Records::new(body, context, *batch).flatten();
            let add = || {
                records
                    .into_iter()
                    .try_for_each(|record| builder.add(&record, durable_seq))?;
                builder.end_batch()
            };
            if copied.is_ok() {
                copied = add();
            }
        },
    )
    .map_err(|fault: Fault| fault.into_error(Op::Open, id))?;
    copied.map_err(io_at(Place::in_segment(id, 0)))
}

/// After the commit: footers for what was sealed, and no file of what was left behind.
fn tidy(
    dir: &Dir,
    sources: &[SegmentId],
    old_spare: Option<SegmentId>,
    sealed: &[SealedEntry],
    footers: Vec<Scanned>,
) -> Result<()> {
    for proven in footers {
        let Scan { summary, index, .. } = &proven.scan;
        let footer = summary.footer(index.len());
        // Derived data: without it, the index is rebuilt from the frames when it is read.
        write_footer(&*proven.file, &proven.header.context(), &footer, index).ok();
    }
    let left = sources.iter().copied().chain(old_spare);
    for id in left.filter(|id| !sealed.iter().any(|entry| entry.id == *id)) {
        remove(dir, id)?;
    }
    Ok(())
}
