//! What does a reader of another process show of a key while compaction and trims take its files away?
//!
//! The reader shares nothing with the writer but the disk, and has opened none of the segments yet.

use crate::gated::Gated;
use cairnlog::{
    AppendOptions, CompactOptions, ErrorKind, Log, NewRecord, Options, Reader, Record, Result, Seq,
    vfs::sim::{OpKind, SimFs},
};
use std::{sync::Arc, thread};

/// The first segment: it holds what is asked for, and leaves with the compaction.
const FIRST: &str = "00000000000000000001.seg";

fn put(log: &Log, key: &str, value: &str) -> Seq {
    let records = [NewRecord::keyed(key, value)];
    let how = AppendOptions::new();
    log.append_records(&records, &how).unwrap().start
}

/// A log whose first record is the only one of "K", and 60 others behind it; and who opens it.
fn subject(disk: &SimFs) -> (Log, Options) {
    let on = |disk: &SimFs| Log::options().vfs(Arc::new(disk.clone()));
    let options = on(disk).background(false).segment_bytes(512);
    let log = options.clone().open("/log").unwrap();
    put(&log, "K", "first");
    for number in 0..60 {
        put(&log, &format!("other {number}"), "a value of some bytes");
    }
    end_segment(&log);
    (log, options)
}

fn end_segment(log: &Log) {
    log.rotate().unwrap();
    while log.maintain().unwrap() != cairnlog::Maintained::Nothing {}
}

/// Gives "K" a new value, for which the old one goes, with its file.
fn supersede(log: &Log, value: &str) -> Seq {
    let seq = put(log, "K", value);
    end_segment(log);
    let how = CompactOptions::new().rate_bytes_per_s(None);
    assert_eq!(log.compact(&how).unwrap().dropped_count, 1);
    seq
}

fn of_key(records: impl Iterator<Item = Result<Record>>) -> Vec<(Seq, Vec<u8>)> {
    let records = records.map(Result::unwrap);
    let of_key = records.filter(|it| it.key() == Some(b"K"));
    of_key.map(|it| (it.seq(), it.to_vec())).collect()
}

/// When the set of segments changes, those that stay are the same to a reader elsewhere, open ones open.
#[test]
fn does_a_reader_elsewhere_go_on_with_what_it_has_open() {
    let disk = SimFs::new(1);
    let (log, options) = subject(&disk);
    let reader = options.open_reader("/log").unwrap();
    let count = reader.scan(..).unwrap().count();
    let opened = |disk: &SimFs| {
        let opens = |event: &&cairnlog::vfs::sim::TraceEvent| {
            let is_segment = event.path.extension().is_some_and(|it| it == "seg");
            event.kind == OpKind::Open && is_segment
        };
        disk.trace().iter().filter(opens).count()
    };
    put(&log, "other 0", "newer");
    end_segment(&log);
    let before = opened(&disk);
    assert_eq!(reader.scan(..).unwrap().count(), count + 1);
    let again = opened(&disk) - before;
    let segments = log.stats().segment_count;
    assert!(
        segments > 10 && again <= 3,
        "{again} of {segments} opened again"
    );
}

/// A walk backwards that had to go on in the newer segments went on below only: of a key whose old record
/// was dropped for one above, it showed nothing, though the key had a value at every moment.
#[test]
fn is_a_key_shown_backwards_whose_old_record_leaves_under_the_walk() {
    let disk = SimFs::new(1);
    let (log, options) = subject(&disk);
    let reader = options.open_reader("/log").unwrap();
    let mut walk = reader.scan(..).unwrap().rev();
    assert_eq!(walk.next().unwrap().unwrap().seq(), 60);
    let seq = supersede(&log, "second");
    let rest: Vec<Record> = walk.map(Result::unwrap).collect();
    let shown = rest.iter().filter(|it| it.key() == Some(b"K"));
    let shown: Vec<_> = shown.map(|it| (it.seq(), it.to_vec())).collect();
    assert_eq!(shown, [(seq, b"second".to_vec())]);
    // Every other record once, in its order; what is newer came in between.
    let others: Vec<Seq> = rest
        .iter()
        .map(Record::seq)
        .filter(|it| *it < seq)
        .collect();
    assert_eq!(others, (1..60).rev().collect::<Vec<_>>());
}

/// And again, while it shows what the first change added.
#[test]
fn is_a_key_shown_that_moves_under_a_walk_again_and_again() {
    let disk = SimFs::new(1);
    let (log, options) = subject(&disk);
    let reader = options.open_reader("/log").unwrap();
    let mut walk = reader.scan(..).unwrap();
    let (mut shown, mut seqs) = (Vec::new(), Vec::new());
    assert_eq!(walk.next_back().unwrap().unwrap().seq(), 60);
    for round in 0..4 {
        supersede(&log, &format!("round {round}"));
        // From the one end, then from the other: neither may lose what the other one found.
        for _ in 0..3 {
            let record = if round % 2 == 0 {
                walk.next_back()
            } else {
                walk.next()
            };
            let record = record.unwrap().unwrap();
            seqs.push(record.seq());
            shown.extend((record.key() == Some(b"K")).then_some(record.seq()));
        }
    }
    for record in walk {
        let record = record.unwrap();
        seqs.push(record.seq());
        shown.extend((record.key() == Some(b"K")).then_some(record.seq()));
    }
    assert!(!shown.is_empty(), "the key had a value at every moment");
    let others: Vec<Seq> = seqs.iter().copied().filter(|it| *it < 60).collect();
    let mut sorted = others.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..60).collect::<Vec<_>>(), "each once");
}

#[test]
fn does_a_range_with_an_end_stay_within_it() {
    let disk = SimFs::new(1);
    let (log, options) = subject(&disk);
    let reader = options.open_reader("/log").unwrap();
    let (mut bounded, mut wide) = (reader.scan(..61).unwrap(), reader.scan(..100).unwrap());
    assert_eq!(bounded.next_back().unwrap().unwrap().seq(), 60);
    assert_eq!(wide.next_back().unwrap().unwrap().seq(), 60);
    let seq = supersede(&log, "second");
    assert_eq!(of_key(bounded.rev()), []);
    assert_eq!(of_key(wide.rev()), [(seq, b"second".to_vec())]);
}

/// Asks a reader something, and lets `meanwhile` happen when it opens the first segment.
fn held<T: Send + 'static>(
    ask: impl FnOnce(Reader) -> T + Send + 'static,
    meanwhile: impl FnOnce(&Log),
) -> T {
    let gated = Gated::new(&SimFs::new(1));
    let (log, options) = subject(&gated.disk);
    let reader = options.vfs(Arc::new(gated.clone())).open_reader("/log");
    let reader = reader.unwrap();
    gated.hold(OpKind::Open, FIRST);
    let asked = thread::spawn(move || ask(reader));
    gated.wait_until_held();
    meanwhile(&log);
    gated.release();
    asked.join().unwrap()
}

/// The newest record of a key was looked for in the old segments, then below in the new ones, and not found.
#[test]
fn is_the_latest_of_a_key_found_that_is_given_a_new_value_meanwhile() {
    let latest = |reader: Reader| reader.latest(b"K", ..).unwrap().map(|it| it.to_vec());
    let found = held(latest, |log| assert_eq!(supersede(log, "second"), 61));
    assert_eq!(found.as_deref(), Some(&b"second"[..]));
}

/// Who looks for a key or a time names no record that may be gone: a trim meanwhile is no error for him.
#[test]
fn is_a_trim_meanwhile_no_error_for_who_names_no_record() {
    let trim = |log: &Log| log.trim(40).unwrap();
    assert_eq!(held(|reader| reader.latest(b"K", ..).unwrap(), trim), None);
    assert_eq!(held(|reader| reader.seek_time(i64::MIN).unwrap(), trim), 40);
    let named = held(|reader| reader.latest(b"K", 0..).unwrap_err(), trim);
    assert_eq!(
        (named.kind(), named.resume_seq()),
        (ErrorKind::Trimmed, Some(40))
    );
}
