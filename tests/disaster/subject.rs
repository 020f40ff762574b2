//! A small log at rest, to be harmed in every way, and the judgement of what is then read.

use crate::{
    history::{DIR, Run, options},
    shadow::Rec,
    steps::{Close, Kill, Open, Rotate, Step, batch, durable},
};
use cairnlog::{ErrorKind, Log, Options, Seq, Verdict, vfs::sim::SimFs};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A log at rest, and what it holds.
pub struct Subject {
    pub disk: SimFs,
    pub options: Options,
    pub recs: Vec<Rec>,
    /// The seqs of each batch.
    pub batches: Vec<Range<Seq>>,
    /// From here on nothing but what is behind it in the same file attests a batch: it may be cut if
    /// that is gone too. `Seq::MAX` after a clean close.
    pub unattested_from: Seq,
    /// The first seq of the tail, or `Seq::MAX` after a clean close.
    pub tail_from: Seq,
    /// Earlier manifests, oldest first.
    pub manifests: Vec<Vec<u8>>,
}

pub const MANIFEST: &str = "/log/MANIFEST";

pub fn subject(steps: &[Step], clean: bool) -> Subject {
    subject_with(options(640), steps, clean)
}

pub fn subject_with(options: Options, steps: &[Step], clean: bool) -> Subject {
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
pub fn three_segments() -> Vec<Step> {
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
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.disk.files().into_iter();
        let all = files.map(|path| {
            let bytes = self.disk.read_file(&path).unwrap();
            (path, bytes)
        });
        all.collect()
    }

    /// The batch that a seq is in.
    pub fn batch_of(&self, seq: Seq) -> &Range<Seq> {
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
    pub fn harm(&self, what: impl Fn() -> String, how: impl FnOnce(&SimFs)) -> Option<Vec<Seq>> {
        self.harm_from(self.unattested_from, what, how)
    }

    pub fn harm_from(
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
