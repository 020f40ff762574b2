//! Every bit of every file of a small log turned over, every length cut, every sector zeroed, files
//! removed, swapped and replaced by older ones: detected, or shown to be harmless by reading every
//! record back. Never a wrong payload, never a silent cut of what is known to be durable.

use crate::{
    history::{
        Close, DIR, Kill, Maintain, Open, Rotate, Run, Step, Trim, batch, buffered, durable,
        options, written,
    },
    shadow::Rec,
};
use cairnlog::{ErrorKind, Log, Options, Seq, Verdict, vfs::sim::SimFs};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A log at rest, and what it holds.
struct Subject {
    disk: SimFs,
    options: Options,
    recs: Vec<Rec>,
    /// The seqs of each batch.
    batches: Vec<Range<Seq>>,
    /// From here on nothing but what is behind it in the same file attests a batch: it may be cut if
    /// that is gone too. `Seq::MAX` after a clean close.
    unattested_from: Seq,
    /// The first seq of the tail, or `Seq::MAX` after a clean close.
    tail_from: Seq,
    /// Earlier manifests, oldest first.
    manifests: Vec<Vec<u8>>,
}

const MANIFEST: &str = "/log/MANIFEST";

fn subject(steps: &[Step], clean: bool) -> Subject {
    let options = options(640);
    let mut run = Run::new(SimFs::new(1), &options);
    let mut manifests = Vec::new();
    let (mut batches, mut next, mut tail_from) = (Vec::new(), 0, 0);
    for step in steps {
        run.step(step);
        manifests.extend(run.disk.read_file(Path::new(MANIFEST)));
        let end = run.log.as_ref().map_or(next, Log::next_seq);
        if let Rotate = step {
            tail_from = end;
        }
        if end > next {
            batches.push(next..end);
            next = end;
        }
    }
    run.step(if clean { &Close } else { &Kill });
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    manifests.extend(run.disk.read_file(Path::new(MANIFEST)));
    manifests.dedup();
    manifests.pop();
    let last = batches.last().cloned().unwrap();
    Subject {
        disk: run.disk.snapshot(),
        options,
        recs: run.shadow.certain.clone(),
        batches,
        unattested_from: if clean { Seq::MAX } else { last.start },
        tail_from: if clean { Seq::MAX } else { tail_from },
        manifests,
    }
}

/// Two sealed segments with footers, a tail, a spare; batches of one and of several.
fn three_segments() -> Vec<Step> {
    let mut steps = vec![Open];
    for _ in 0..2 {
        steps.extend([
            durable(60),
            batch(&[30, 40, 50]),
            durable(9),
            durable(80),
            Rotate,
        ]);
    }
    steps.extend([durable(40), batch(&[20, 30]), durable(25)]);
    steps
}

impl Subject {
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.disk.files().into_iter();
        let all = files.map(|path| {
            let bytes = self.disk.read_file(&path).unwrap();
            (path, bytes)
        });
        all.collect()
    }

    /// The batch that a seq is in.
    fn batch_of(&self, seq: Seq) -> &Range<Seq> {
        self.batches
            .iter()
            .find(|batch| batch.contains(&seq))
            .unwrap()
    }

    /// Opens the harmed disk; gives the seqs whose records cannot be read. All others are right.
    /// From `may_be_cut` on they may be missing, if nothing behind is left.
    fn unreadable(&self, harmed: &SimFs, may_be_cut: Seq) -> Option<Vec<Seq>> {
        let bytes = |disk: &SimFs| -> usize {
            let in_file = |path: &PathBuf| disk.read_file(path).map_or(0, |bytes| bytes.len());
            self.disk.files().iter().map(in_file).sum()
        };
        let shorter = bytes(harmed) < bytes(&self.disk);
        let options = self.options.clone().vfs(Arc::new(harmed.clone()));
        let log = match options.open(DIR) {
            Ok(log) => log,
            Err(error) => {
                let told = matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unsupported);
                let place = error.place();
                assert!(told && error.defect_found().is_some(), "{error}");
                assert!(place.path.is_some() || place.segment.is_some(), "{error}");
                return None;
            }
        };
        let mut unreadable = Vec::new();
        for want in &self.recs {
            match log.get(want.seq) {
                Ok(Some(got)) => assert!(want.is(&got), "{want:?} became {got:?}"),
                Ok(None) => {
                    let legal = want.seq >= may_be_cut && want.seq >= log.next_seq();
                    assert!(legal, "seq {} is silently gone", want.seq);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                    unreadable.push(want.seq);
                }
            }
        }
        self.check_cut(&log, harmed);
        // Bytes that are there and do not verify are never dropped without a word. (A file that just
        // ends earlier looks as if its last batches had never been written.)
        let lost = self
            .recs
            .last()
            .is_some_and(|last| last.seq >= log.next_seq());
        if lost && may_be_cut == self.unattested_from && !shorter {
            assert_eq!(log.recovery().verdict, Verdict::Torn);
            assert!(log.recovery().cut_bytes() > 0);
        }
        self.check_scan(&log, &unreadable);
        Some(unreadable)
    }

    /// A cut is told, and what was cut is kept.
    fn check_cut(&self, log: &Log, harmed: &SimFs) {
        let recovery = log.recovery();
        let kept: u64 = recovery
            .cut
            .iter()
            .map(|piece| {
                let path = Path::new(DIR).join(piece.kept_in.as_ref().expect("it is kept"));
                harmed.read_file(&path).expect("the file is there").len() as u64
            })
            .sum();
        assert_eq!(kept, recovery.cut_bytes());
        assert_eq!(recovery.verdict == Verdict::Torn, recovery.torn.is_some());
        if kept > 0 {
            assert_eq!(recovery.verdict, Verdict::Torn);
        }
    }

    /// A scan shows the records before the first that cannot be read, one error, and no more.
    fn check_scan(&self, log: &Log, unreadable: &[Seq]) {
        let mut scan = log.scan(..).unwrap();
        for want in &self.recs {
            match scan.next() {
                Some(Ok(got)) => assert!(want.is(&got), "{want:?} became {got:?}"),
                Some(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged);
                    assert!(error.place().segment.is_some(), "{error}");
                    // `get` finds more: a record whose own frame verifies behind a header that can be
                    // mended. Nothing that it cannot find lies before the place where a scan ends.
                    assert!(
                        unreadable.first().is_none_or(|seq| *seq >= want.seq),
                        "{error}"
                    );
                    break;
                }
                None => break,
            }
        }
        assert!(scan.next().is_none(), "it has ended");
    }

    /// Harms a copy of the disk, and looks.
    fn harm(&self, what: impl Fn() -> String, how: impl FnOnce(&SimFs)) -> Option<Vec<Seq>> {
        self.harm_from(self.unattested_from, what, how)
    }

    fn harm_from(
        &self,
        may_be_cut: Seq,
        what: impl Fn() -> String,
        how: impl FnOnce(&SimFs),
    ) -> Option<Vec<Seq>> {
        let _context = crate::Context::new(what);
        let harmed = self.disk.snapshot();
        how(&harmed);
        self.unreadable(&harmed, may_be_cut)
    }
}

/// The zeros of the reserve mean nothing; a few of them stand for all.
fn step_of(path: &Path) -> usize {
    if path.ends_with("RESERVE") { 4999 } else { 1 }
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
    let (detected, count) = flip_every_bit(&subject);
    println!("{detected} of {count} flips detected, the others harmless");
    assert!(
        count > 20_000 && detected > count / 2,
        "{detected} of {count}"
    );
}

#[test]
fn every_bit_of_a_killed_log_is_guarded_or_harmless() {
    let subject = subject(&three_segments(), false);
    let (detected, count) = flip_every_bit(&subject);
    println!("{detected} of {count} flips detected, the others harmless");
    assert!(
        count > 20_000 && detected > count / 3,
        "{detected} of {count}"
    );
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
