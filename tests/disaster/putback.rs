//! Files of an earlier day: what becomes of a log of which one or two are put back?
//!
//! For each history and each file of its log, the file as it was after each earlier step is put in place,
//! alone and together with each other one. The log is then what it was at the end, or opening says that
//! it is damaged, and where, and changes nothing. What else may be is listed in `Outcome`.
//!
//! `CAIRN_PUT_BACK=1000000 CAIRN_SEED=1 cargo test --release --test disaster put_back -- --nocapture` tries that
//! many, of histories that the seed gives, from the one that `CAIRN_FIRST` numbers; without it a slice.

use crate::{
    campaign::history,
    history::{DIR, Run, options},
    shadow::{Shadow, read_all},
    steps::{
        Close, Consume, Deed, Kill, Maintain, Named, READER, Rotate, Step, TILL, Which, canonical,
        durable, plain, written,
    },
    told::Told,
};
use cairnlog::{
    Durability, ErrorKind, Health, Log, Options, Seq,
    format::{Manifest, cursor::CursorFile},
    vfs::sim::SimFs,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// States of the slice.
const STATES: usize = 10_000;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The files that say anything: not the lock, whose text decides nothing, nor ballast.
fn files(disk: &SimFs) -> Files {
    let all = disk.files().into_iter().filter(|path| {
        path.starts_with(DIR) && !path.ends_with("LOCK") && !path.ends_with("RESERVE")
    });
    let all = all.filter(|path| !path.to_string_lossy().contains("quarantine"));
    all.map(|path| {
        let bytes = disk.read_file(&path).unwrap();
        (path, bytes)
    })
    .collect()
}

/// A history at its end, and every earlier content of every file.
struct Past {
    name: String,
    options: Options,
    disk: SimFs,
    shadow: Shadow,
    earlier: Vec<(PathBuf, Vec<u8>)>,
}

fn named(id: u64) -> Step {
    Named {
        id,
        which: Which::Next { skip: 0 },
        level: Durability::Durable,
        news: vec![plain(60)],
    }
}

/// Appends that name their producer, and cursors that move by acknowledging and by appending.
fn told() -> Vec<Step> {
    let ack = |who| Consume(who, Deed::Ack { ahead: 2 });
    let output = |who| {
        let news = vec![plain(20)];
        Consume(who, Deed::Output { ahead: 1, news })
    };
    vec![
        Step::Open,
        named(1),
        named(2),
        durable(100),
        ack(TILL),
        Rotate,
        Maintain,
        named(1),
        output(READER),
        durable(120),
        Rotate,
        Maintain,
        named(2),
        ack(TILL),
        output(READER),
        Kill,
        Step::Open,
        named(1),
        durable(40),
    ]
}

/// A rewind, and then a tail in which there is nothing but where a cursor stands, so that the next one begins
/// at the same seq. The ledger of the rewind was once believed when it was put back: it says what is void
/// under one tail alone, and the next tail was the spare of before, with a lower id.
fn moves_alone() -> Vec<Step> {
    let ack = |ahead| Consume(READER, Deed::Ack { ahead });
    vec![
        Step::Open,
        named(1),
        named(1),
        named(2),
        Consume(READER, Deed::Leave),
        Step::Rewind { drop: 2 },
        ack(1),
        Rotate,
        Maintain,
        ack(0),
    ]
}

/// Tails that recoveries and rewinds began.
fn begun_aside() -> Vec<Step> {
    vec![
        Step::Open,
        durable(40),
        written(40),
        Kill,
        Step::Open,
        durable(50),
        Step::Rewind { drop: 1 },
        durable(60),
        Kill,
        Step::Open,
        durable(70),
        written(30),
        Kill,
        Step::Open,
        durable(20),
    ]
}

fn pasts() -> Vec<Past> {
    let mut histories = canonical();
    histories.push(("told", 640, told()));
    histories.push(("begun aside", 1024, begun_aside()));
    histories.push(("moves alone", 1024, moves_alone()));
    let mut pasts = Vec::new();
    for (name, segment_bytes, steps) in histories {
        for (publish, end) in [(true, Kill), (false, Kill), (true, Close)] {
            let options = options(segment_bytes).publish(publish);
            pasts.push(past(name, SimFs::new(1), &options, &steps, &end));
        }
    }
    pasts
}

fn past(name: &str, disk: SimFs, options: &Options, steps: &[Step], end: &Step) -> Past {
    let mut run = Run::new(disk, options);
    let mut versions: BTreeMap<PathBuf, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for step in steps.iter().chain([end]) {
        run.step(step);
        for (path, bytes) in files(&run.disk) {
            versions.entry(path).or_default().insert(bytes);
        }
    }
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    let now = files(&run.disk);
    let old = |(path, all): (PathBuf, BTreeSet<Vec<u8>>)| {
        let all = all.into_iter().map(move |bytes| (path.clone(), bytes));
        all.collect::<Vec<_>>()
    };
    let mut earlier: Vec<_> = versions.into_iter().flat_map(old).collect();
    earlier.retain(|(path, bytes)| now.get(path) != Some(bytes));
    Past {
        name: format!("{name}, {end:?}"),
        options: options.clone(),
        disk: run.disk.snapshot(),
        shadow: run.shadow,
        earlier,
    }
}

/// How it came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// All is as at the end.
    Newest,
    /// Opening refuses, and says where.
    Told,
    /// A cursor stands where it stood: its consumer is given records again.
    CursorOfThen,
    /// With every witness put back as well, or none ever there, the end of the tail is what it was.
    Unattested,
    /// With no word of a newer one, the manifest is what it was: the head, or what a compaction dropped.
    OlderSet,
}

impl Past {
    fn put_back(&self, back: &[&(PathBuf, Vec<u8>)]) -> Outcome {
        let names: Vec<_> = back
            .iter()
            .map(|(path, bytes)| (path, bytes.len()))
            .collect();
        let _context = crate::Context::new(|| format!("{}: {names:?} put back", self.name));
        let disk = self.disk.snapshot();
        for (path, bytes) in back {
            assert!(disk.write_file(path, bytes));
        }
        let before = files(&disk);
        let options = self.options.clone().vfs(Arc::new(disk.clone()));
        let log = match options.clone().open(DIR) {
            Ok(log) => log,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                let place = error.place();
                assert!(place.path.is_some() || place.segment.is_some(), "{error}");
                assert_eq!(files(&disk), before, "a log that is damaged is left alone");
                assert_eq!(options.verify(DIR).unwrap().health(), Health::Damaged);
                return Outcome::Told;
            }
        };
        // A sealed segment is read when it is first needed, and told then. What is hidden below the head
        // need not be read: then the rest is as ever.
        let is_told = options.verify(DIR).unwrap().health() == Health::Damaged;
        if is_told && read_all(&log).is_err() {
            return Outcome::Told;
        }
        let outcome = self.judge(&log, &|name| {
            back.iter()
                .any(|(path, _)| path.to_string_lossy().contains(name))
        });
        if matches!(outcome, Outcome::Newest | Outcome::CursorOfThen) {
            assert!(log.next_seq() >= self.shadow.next_min.max(self.end_seq()));
            let seq = log.append("next").unwrap();
            assert_eq!(log.get(seq).unwrap().as_deref(), Some(&b"next"[..]));
        }
        outcome
    }

    fn end_seq(&self) -> Seq {
        self.shadow.certain.last().map_or(0, |rec| rec.seq + 1)
    }

    fn judge(&self, log: &Log, is_back: &dyn Fn(&str) -> bool) -> Outcome {
        let mut shadow = self.shadow.clone();
        if shadow.check(log).is_ok() {
            return Outcome::Newest;
        }
        if is_back("cursors") || is_back(".seg") {
            // With a tail of then go the moves that were put into it since. Where it was then, which is ahead of now if it was moved back since; never beyond the end.
            for cursor in log.cursors().unwrap() {
                assert!(cursor.seq <= log.next_seq(), "{cursor:?}");
            }
            shadow.recall(Told::forget_cursors);
            if shadow.check(log).is_ok() {
                return Outcome::CursorOfThen;
            }
        }
        let what = shadow.check(log).unwrap_err();
        let watched = self.disk.read_file(Path::new("/log/WATERMARK")).is_some();
        assert!(
            !watched || is_back("WATERMARK"),
            "WATERMARK was there: {what}"
        );
        let found = read_all(log).unwrap();
        let whole = |rec: &crate::shadow::Rec| found.iter().any(|it| rec.is(it));
        let kept = self.shadow.certain.iter();
        let mut kept = kept.filter(|rec| rec.seq >= log.head_seq().max(self.shadow.head()));
        let lost = kept.find(|rec| !whole(rec));
        match lost {
            Some(rec) => {
                // The very end, and nothing that is not put back says that it was there. With a manifest of
                // before a recovery that may be what the recovery had carried, until the next append.
                assert!(is_back(".seg") || is_back("MANIFEST"), "{what}");
                let attested_seq = self.attested(is_back);
                assert!(
                    rec.seq >= attested_seq,
                    "attested below {attested_seq}: {what}"
                );
                Outcome::Unattested
            }
            None => {
                assert!(is_back("MANIFEST"), "{what}");
                Outcome::OlderSet
            }
        }
    }

    /// What the files say that are not put back.
    fn attested(&self, is_back: &dyn Fn(&str) -> bool) -> Seq {
        let mut attested_seq = 0;
        for (path, bytes) in files(&self.disk) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if is_back(&name) {
                continue;
            }
            if let Ok(manifest) = Manifest::decode(&bytes) {
                attested_seq = attested_seq
                    .max(manifest.durable_seq)
                    .max(manifest.head_seq);
            }
            if let Ok(cursor) = CursorFile::decode(&bytes) {
                attested_seq = attested_seq.max(cursor.seq).max(cursor.as_of_seq);
            }
        }
        attested_seq
    }
}

fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

impl Past {
    /// All states; how they came out.
    fn try_all(&self, outcomes: &mut BTreeMap<Outcome, usize>) {
        for (first, one) in self.earlier.iter().enumerate() {
            *outcomes.entry(self.put_back(&[one])).or_default() += 1;
            let others = self.earlier.iter().skip(first + 1);
            for other in others.filter(|other| other.0 != one.0) {
                *outcomes.entry(self.put_back(&[one, other])).or_default() += 1;
            }
        }
    }
}

#[test]
fn is_a_log_whose_files_are_put_back_what_it_was_or_told_as_damaged() {
    let (wanted, seed) = (number("CAIRN_PUT_BACK", STATES), number("CAIRN_SEED", 1));
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    let mut nth = number("CAIRN_FIRST", 0);
    if nth == 0 {
        pasts().iter().for_each(|past| past.try_all(&mut outcomes));
    }
    while outcomes.values().sum::<usize>() < wanted {
        let (disk, options, mut steps) = history(seed as u64, nth as u64);
        steps.insert(0, Step::Open);
        let end = if nth.is_multiple_of(3) { Close } else { Kill };
        let name = format!("history {nth}");
        let _context = crate::Context::new(|| format!("{name}: {steps:?}"));
        past(&name, disk, &options, &steps, &end).try_all(&mut outcomes);
        nth += 1;
    }
    println!("{outcomes:?}, and {nth} histories by chance, seed {seed}");
    assert!(outcomes[&Outcome::Told] > 100);
    assert!(outcomes[&Outcome::Newest] > 100);
}
