//! Every bit of every file of a small log turned over, every length cut, every sector zeroed, files
//! removed, swapped and replaced by older ones: detected, or shown to be harmless by reading every
//! record back. Never a wrong payload, never a silent cut of what is known to be durable.

use crate::{
    history::{DIR, options, packing},
    steps::{
        Compact, Maintain, Open, Pack, Rotate, Trim, batch, buffered, durable, keyed, written,
    },
    subject::{MANIFEST, Subject, subject, subject_with, three_segments},
};
use cairnlog::Compression;
use std::{path::Path, sync::Arc};

/// What stands in the reserve and in alternates means nothing; a few bytes of them stand for all.
fn step_of(path: &Path) -> usize {
    let alternate = path.extension().is_some_and(|extension| extension == "alt");
    if alternate || path.ends_with("RESERVE") {
        16_411
    } else {
        1
    }
}

/// Turns every bit over: there are more than so many, and of more than one in so many something is noticed.
pub fn check_every_bit(subject: &Subject, count_min: u64, one_in: u64) {
    let (detected, count) = flip_every_bit(subject);
    println!("{detected} of {count} flips detected, the others harmless");
    assert!(
        count > count_min && detected > count / one_in,
        "{detected} of {count}"
    );
}

fn flip_every_bit(subject: &Subject) -> (u64, u64) {
    let (mut detected, mut count) = (0, 0);
    for (path, bytes) in subject.files() {
        for offset in (0..bytes.len()).step_by(step_of(&path)) {
            for bit in 0..8 {
                let what = || format!("{} offset {offset} bit {bit}", path.display());
                let unreadable = subject.harm(what, |disk| {
                    assert!(disk.flip_bit(&path, offset as u64, bit));
                });
                count += 1;
                detected += u64::from(unreadable.as_ref().is_none_or(|seqs| !seqs.is_empty()));
                // One bit behind a segment's header costs one batch at most.
                if let Some(seqs) = unreadable
                    && let (Some(first), true) = (seqs.first(), offset >= 128)
                {
                    let batch = subject.batch_of(*first);
                    let _context = crate::Context::new(what);
                    assert!(seqs.iter().all(|seq| batch.contains(seq)), "{seqs:?}");
                }
            }
        }
    }
    (detected, count)
}

#[test]
fn every_bit_of_a_closed_log_is_guarded_or_harmless() {
    let subject = subject(&three_segments(), true);
    assert!(
        subject.files().len() >= 5,
        "three segments, a spare, a manifest"
    );
    check_every_bit(&subject, 20_000, 2);
}

#[test]
fn every_bit_of_a_compacted_log_is_guarded_or_harmless() {
    let mut steps = vec![Open];
    for round in 0..12 {
        steps.extend([keyed(round % 3, 30), durable(20), keyed(9 + round, 10)]);
    }
    steps.extend([Compact, durable(25), durable(25)]);
    let mut subject = subject(&steps, true);
    // Compaction put them into other batches, but a bit costs no more than one record.
    subject.batches = subject
        .recs
        .iter()
        .map(|rec| rec.seq..rec.seq + 1)
        .collect();
    let seqs: Vec<_> = subject.recs.iter().map(|rec| rec.seq).collect();
    assert!(
        seqs.len() > 20 && seqs.windows(2).any(|pair| pair[1] > pair[0] + 1),
        "{seqs:?}"
    );
    check_every_bit(&subject, 10_000, 2);
}

/// A bit costs a reader the block that it is in, of which this log has one in each of its two sealed segments.
#[test]
fn every_bit_of_a_packed_log_is_guarded_or_harmless() {
    let mut steps = vec![Open];
    for round in 0..20 {
        steps.extend([keyed(round % 3, 60), durable(90)]);
    }
    steps.extend([Pack, durable(25), Maintain]);
    let mut subject = subject(&steps, true);
    let ends = subject.recs.iter().map(|rec| rec.seq + 1);
    subject.batches = std::iter::once(0..ends.max().expect("records")).collect();
    let is_packed = |(path, bytes): (std::path::PathBuf, Vec<u8>)| {
        path.extension().is_some_and(|it| it == "seg") && bytes.get(12) == Some(&0b100)
    };
    assert!(
        subject.files().into_iter().any(is_packed) || !Compression::Lz4.is_built(),
        "something was packed"
    );
    check_every_bit(&subject, 10_000, 3);
}

/// The same of blocks in a tail, or in segments that are sealed as they are.
#[test]
fn every_bit_of_a_log_packed_as_it_was_appended_is_guarded_or_harmless() {
    let mut steps = vec![Open];
    for _ in 0..2 {
        steps.extend([
            batch(&[400, 500, 300]),
            durable(60),
            batch(&[900, 30, 700]),
            Rotate,
        ]);
    }
    steps.extend([batch(&[800, 600]), durable(20), batch(&[40, 1_200])]);
    for clean in [true, false] {
        let subject = subject_with(packing(options(4096)), &steps, clean);
        let is_packed = |(path, bytes): (std::path::PathBuf, Vec<u8>)| {
            let is_told = bytes.get(12) == Some(&0b0100_0100);
            let has_block = bytes.get(128 + 23) == Some(&0xA4);
            path.extension().is_some_and(|it| it == "seg") && is_told && has_block
        };
        let packed_count = subject
            .files()
            .into_iter()
            .filter(|it| is_packed(it.clone()))
            .count();
        assert!(packed_count == 3 || !Compression::Lz4.is_built());
        check_every_bit(&subject, 10_000, 8);
    }
}

#[test]
fn every_bit_of_a_killed_log_is_guarded_or_harmless() {
    let subject = subject(&three_segments(), false);
    check_every_bit(&subject, 20_000, 3);
}

#[test]
fn cut_zeroed_missing_swapped_and_stale_files_are_noticed() {
    let mut trimmed = three_segments();
    trimmed.extend([
        Maintain,
        durable(100),
        Rotate,
        Trim { keep: 3 },
        durable(10),
    ]);
    let mut mixed = three_segments();
    mixed.extend([buffered(30), written(30), durable(30)]);
    for (steps, clean) in [
        (three_segments(), true),
        (three_segments(), false),
        (trimmed.clone(), true),
        (trimmed, false),
        (mixed, false),
    ] {
        let mut subject = subject(&steps, clean);
        // Trimmed records are gone by right.
        let head = {
            let options = subject
                .options
                .clone()
                .vfs(Arc::new(subject.disk.snapshot()));
            options.open(DIR).unwrap().head_seq()
        };
        subject.recs.retain(|rec| rec.seq >= head);
        let files = subject.files();
        for (path, bytes) in &files {
            harm_file(&subject, path, bytes);
        }
        let segments: Vec<_> = files
            .iter()
            .filter(|(path, _)| path.extension().is_some())
            .collect();
        for (a, a_bytes) in &segments {
            for (b, b_bytes) in &segments {
                if a == b {
                    continue;
                }
                subject.harm(
                    || format!("{} over {}", a.display(), b.display()),
                    |disk| {
                        disk.write_file(b, a_bytes);
                    },
                );
                subject.harm(
                    || format!("{} and {} swapped", a.display(), b.display()),
                    |disk| {
                        disk.write_file(b, a_bytes);
                        disk.write_file(a, b_bytes);
                    },
                );
            }
        }
        for (age, old) in subject.manifests.iter().rev().enumerate() {
            subject.harm(
                || format!("manifest older by {}", age + 1),
                |disk| {
                    disk.write_file(Path::new(MANIFEST), old);
                },
            );
        }
    }
}

fn harm_file(subject: &Subject, path: &Path, bytes: &[u8]) {
    let name = path.display();
    // Where nothing survives behind the harm, every witness of the tail's batches is gone with them.
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let may_be_cut = |harmed_to: usize| match harmed_to >= end {
        true => subject.tail_from,
        false => subject.unattested_from,
    };
    for len in (0..bytes.len()).step_by(step_of(path)) {
        subject.harm_from(
            may_be_cut(bytes.len()),
            || format!("{name} cut to {len}"),
            |disk| {
                disk.write_file(path, &bytes[..len]);
            },
        );
    }
    for sector in (0..bytes.len()).step_by(512) {
        subject.harm_from(
            may_be_cut(sector + 512),
            || format!("{name} zeroed at {sector}"),
            |disk| {
                let mut zeroed = bytes.to_vec();
                let end = zeroed.len().min(sector + 512);
                zeroed[sector..end].fill(0);
                disk.write_file(path, &zeroed);
            },
        );
    }
    for junk in [1, 24, 600] {
        subject.harm(
            || format!("{name} grown by {junk}"),
            |disk| {
                let mut grown = bytes.to_vec();
                grown.extend((0..junk).map(|i| (i * 37 + 11) as u8));
                disk.write_file(path, &grown);
            },
        );
    }
    subject.harm(
        || format!("{name} removed"),
        |disk| {
            assert!(disk.remove_file(path));
        },
    );
}
