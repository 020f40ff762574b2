//! Bugs that there were, each as the shortest history that showed it.

use crate::{
    history::{Run, options},
    steps::{
        Close, Kill, Maintain, Open, Rewind, Trim, TrimDurable, batch, buffered, durable, written,
    },
};
use cairnlog::{
    AppendOptions, Durability, ErrorKind, Log, NewRecord, Options,
    vfs::{
        Vfs,
        sim::{Choice, Errno, Fate, Fault, FaultRule, OpKind, SimFs, SyncFailure, Tear},
    },
};
use std::{path::Path, sync::Arc};

fn run(segment_bytes: u64) -> Run {
    Run::new(SimFs::new(1), &options(segment_bytes))
}

/// The number of the last operation of a kind on a path that ends so.
fn op(run: &Run, kind: OpKind, path: &str) -> u64 {
    let trace = run.disk.trace();
    let mut events = trace.iter().rev();
    let found = events.find(|event| event.kind == kind && event.path.ends_with(path));
    found.and_then(|event| event.op).expect("it was called")
}

/// The disk after a power cut at an operation: everything kept, but for one effect.
fn cut(run: &Run, op: u64, effect: &str, fate: Fate) -> SimFs {
    let cut = run.disk.crash_at(op);
    let effects = cut.effects();
    let number = effects
        .iter()
        .position(|one| one.to_string().contains(effect));
    let number = number.unwrap_or_else(|| panic!("{effect} is not pending: {effects:?}"));
    cut.state(&Choice::kept(effects.len()).with(number, fate))
}

fn reopens(disk: &SimFs, run: &Run, op: u64) -> Run {
    let mut next = Run::after(
        disk.clone(),
        &run.options,
        run.shadow_at(op).clone(),
        500_000,
    );
    next.open();
    assert!(next.errors.is_empty(), "{:?}", next.errors);
    next
}

/// A power cut in the first open tore the zeros of the prepared segment: every later open took the
/// noise for frames of a log that had lost its manifest, and the directory was unusable.
#[test]
fn interrupted_creation_with_a_torn_spare_is_created_anew() {
    let mut first = run(1024);
    first.step(&Open);
    let write = op(&first, OpKind::Write, "00000000000000000002.seg");
    let disk = cut(
        &first,
        write,
        "write /log/00000000000000000002",
        Fate::Torn(Tear::Garbage(7)),
    );
    reopens(&disk, &first, write);
}

/// The opposite must not be forgiven: with the manifest gone, an empty log looked like an
/// interrupted creation and was replaced by a new one with another identity.
#[test]
fn log_without_its_manifest_is_damaged_even_if_it_is_empty() {
    for steps in [&[][..], &[durable(10), Rewind { drop: 1 }]] {
        let mut first = run(1024);
        first.step(&Open);
        first.steps(steps).step(&Close);
        assert!(first.disk.remove_file(Path::new("/log/MANIFEST")));
        first.open();
        assert_eq!(first.errors[0].1.kind(), ErrorKind::Damaged);
    }
}

/// A power cut while recovery wrote the new tail tore that file's header. It has an id that is yet
/// to be given, and was taken for proof that the manifest was an old one: damage, for good.
#[test]
fn torn_file_that_no_manifest_names_is_an_orphan() {
    let mut first = run(1024);
    first.steps(&[Open, durable(40), written(30), Kill, Open]);
    let write = op(&first, OpKind::Write, "00000000000000000003.seg");
    let disk = cut(
        &first,
        write,
        "write /log/00000000000000000003",
        Fate::Torn(Tear::Prefix(60)),
    );
    reopens(&disk, &first, write);
}

/// The orphan of an interrupted rewind had the id that recovery gave to its new tail. Orphans were
/// removed once before and once after: the second time it was the tail, with every record in it.
#[test]
fn orphan_whose_id_is_given_again_is_not_removed_twice() {
    let mut first = run(1024);
    first.steps(&[Open, durable(40), durable(30), Rewind { drop: 1 }]);
    let rename = op(&first, OpKind::Rename, "MANIFEST.new");
    let disk = cut(&first, rename, "rename", Fate::Lost);
    let mut next = reopens(&disk, &first, rename);
    next.steps(&[durable(5), Kill, Open]);
    assert!(next.errors.is_empty(), "{:?}", next.errors);
}

/// Killed between the rename of a manifest and the sync of the directory, then opened: the trimmed
/// segments were removed by a manifest that was visible but not durable. A power cut then kept the
/// removal and lost the rename, and the manifest in force named files that were gone.
#[test]
fn orphans_are_removed_only_by_a_durable_manifest() {
    let mut first = run(512);
    let fill = [Open, durable(150), durable(150), durable(150), Maintain];
    first.steps(&fill);
    let commit = Fault::Error(Errno::Eio);
    first
        .disk
        .fail(FaultRule::nth(OpKind::SyncDir, 0, commit).for_ever());
    first.step(&Trim { keep: 1 });
    assert_eq!(
        first.errors.pop().unwrap().1.kind(),
        ErrorKind::Indeterminate
    );
    first.steps(&[Kill, Open]);
    assert!(first.errors.is_empty(), "{:?}", first.errors);
    for op in 0..=first.disk.op_count() {
        let cut = first.disk.crash_at(op);
        for (choice, disk) in cut.all(200) {
            let _context = crate::Context::new(|| cut.describe(&choice));
            reopens(&disk, &first, op);
        }
    }
}

/// Killed between the creation of the directory and the sync of its parent: the next open found the
/// directory there and never synced its name. A power cut took the whole log.
#[test]
fn name_of_the_directory_is_synced_by_whoever_creates_the_log() {
    let mut first = run(1024);
    let killed = Fault::Error(Errno::Eio);
    first.disk.fail(FaultRule::at_op(1, killed).for_ever());
    first.steps(&[Open, Kill, Open, durable(10)]);
    let op = first.disk.op_count();
    reopens(&first.disk.crash_at(op).state(&Choice::lost()), &first, op);
}

/// Whoever shared the batch of an earlier caller got the time 1970-01-01, and eight bytes more.
#[test]
fn records_that_share_a_batch_have_its_time() {
    let mut first = run(1024);
    first.steps(&[Open, buffered(9), buffered(9), durable(9), Close, Open]);
    assert!(first.errors.is_empty(), "{:?}", first.errors);
    let clock = first.disk.unix_time_ms();
    let log = first.log.unwrap();
    for record in log.scan(..).unwrap() {
        assert!((clock - 10_000..=clock).contains(&record.unwrap().timestamp_ms()));
    }
}

/// A rewind to the head left a segment with nothing but trimmed records. Trimming to the same head
/// again changed no manifest, but removed that segment's file: the log did not open any more.
#[test]
fn trim_removes_no_file_that_the_manifest_names() {
    let mut first = run(512);
    first.steps(&[Open, batch(&[5, 5]), Trim { keep: 1 }, Rewind { drop: 1 }]);
    first.steps(&[durable(5), Trim { keep: 2 }, Close, Open]);
    assert!(first.errors.is_empty(), "{:?}", first.errors);
}

/// The commit of a trim stayed undecided, in a log that had been closed in order before. The manifest
/// still said so, and opening believed it: the new head was shown, and gone after a power cut.
#[test]
fn undecided_trim_is_decided_by_the_next_opening() {
    let mut first = run(1024);
    first.steps(&[Open, durable(10), durable(10), Close, Open]);
    let fails = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
    first.disk.fail(FaultRule::nth(OpKind::SyncDir, 0, fails));
    first.step(&Trim { keep: 1 });
    assert_eq!(
        first.errors.pop().unwrap().1.kind(),
        ErrorKind::Indeterminate
    );
    first.steps(&[Kill, Open]);
    let op = first.disk.op_count();
    let lost = first.disk.crash_at(op).state(&Choice::lost());
    reopens(&lost, &first, op);
}

/// The commit of a rewind stayed undecided, and the log went on with the old tail: what it then
/// acknowledged was in a segment that the new manifest, if it won, did not name.
#[test]
fn undecided_rewind_stops_the_writer() {
    let mut first = run(1024);
    first.steps(&[Open, durable(10), durable(10)]);
    let syncs = Fault::Sync(Errno::Eio, SyncFailure::StillDirty);
    // The first sync of the directory is of the new segment, the second of the manifest.
    first.disk.fail(FaultRule::nth(OpKind::SyncDir, 1, syncs));
    first.step(&Rewind { drop: 1 });
    assert_eq!(
        first.errors.pop().unwrap().1.kind(),
        ErrorKind::Indeterminate
    );
    first.step(&durable(10));
    assert_eq!(first.errors.pop().unwrap().1.kind(), ErrorKind::Poisoned);
    first.steps(&[Kill, Open, durable(10), Kill, Open]);
    assert!(first.errors.is_empty(), "{:?}", first.errors);
}

/// Killed where a manifest had its name and the directory was not synced, and then opened: the manifest that was found
/// was gone on with as if it were durable. A power cut took it, and what had been acknowledged since lay in a segment
/// that the one before it did not name.
#[test]
fn is_a_manifest_made_durable_before_anything_is_built_on_it() {
    let two = vec![Open, durable(10), durable(10)];
    let cases = [
        (Vec::new(), Open),
        (two.clone(), Rewind { drop: 1 }),
        (two.clone(), Rewind { drop: 2 }),
        (two, TrimDurable { keep: 0 }),
    ];
    for (before, step) in cases {
        for nth in 0.. {
            let _context = crate::Context::new(|| format!("{step:?}, sync {nth}"));
            let mut first = run(1024);
            first.steps(&before);
            let syncs = Fault::Sync(Errno::Eio, SyncFailure::StillDirty);
            first.disk.fail(FaultRule::nth(OpKind::SyncDir, nth, syncs));
            first.step(&step);
            let met = first.disk.fault_count() > 0;
            first.errors.clear();
            first.steps(&[Kill, Open, durable(20)]);
            assert!(first.errors.is_empty(), "{:?}", first.errors);
            let op = first.disk.op_count();
            reopens(&first.disk.crash_at(op).state(&Choice::lost()), &first, op);
            if !met {
                break;
            }
        }
    }
}

/// Trim began with a sync. On a full disk with a record buffered that fails, and with it the way to
/// make room.
#[test]
fn trim_makes_room_while_a_buffered_record_waits_for_it() {
    let mut first = run(512);
    // The first segment is not allocated ahead without a worker: the record needs room.
    first.steps(&[Open, durable(50), buffered(200)]);
    first.disk.set_capacity(Some(first.disk.used_bytes()));
    first.step(&TrimDurable { keep: 0 });
    assert!(first.errors.is_empty(), "{:?}", first.errors);
}

/// A trim was left undecided: the manifest's rename was done, the sync of the directory failed. The log
/// was poisoned, but retention that found nothing to drop said that all was well and told the old
/// head, and the next opening showed another.
#[test]
fn does_retention_refuse_when_it_is_undecided_where_the_head_is() {
    let mut first = run(512);
    first.steps(&[Open, durable(40), durable(40)]);
    let log = first.log.as_ref().unwrap();
    let eio = Fault::Error(Errno::Eio);
    first.disk.fail(FaultRule::nth(OpKind::SyncDir, 0, eio));
    assert_eq!(log.trim(2).unwrap_err().kind(), ErrorKind::Indeterminate);
    let nothing_to_drop = cairnlog::Retention::new().seq_min(0);
    let refused = log.retain(&nothing_to_drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Poisoned);
}

/// The page cache shows what a failed sync left there, and a later sync succeeds without writing it. A
/// recovery that sealed those records where they stood served them, acknowledged another behind them, and
/// a power cut took what was in between.
#[test]
fn are_records_that_a_failed_sync_left_in_the_cache_written_anew() {
    let mut first = run(4096);
    first.steps(&[Open, durable(10)]);
    let lies = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
    first.disk.fail(FaultRule::nth(OpKind::Sync, 0, lies));
    first.step(&durable(20));
    assert_eq!(
        first.errors.pop().unwrap().1.kind(),
        ErrorKind::Indeterminate
    );
    first.steps(&[Kill, Open, durable(30)]);
    assert!(first.errors.is_empty(), "{:?}", first.errors);
    let shown = first.log.as_ref().unwrap().next_seq();
    let op = first.disk.op_count();
    let lost = first.disk.crash_at(op).state(&Choice::lost());
    let log = first.options.clone().vfs(Arc::new(lost)).open("/log");
    let log = log.unwrap();
    for seq in 0..shown {
        assert!(log.get(seq).unwrap().is_some(), "seq {seq} was served");
    }
    assert_eq!(shown, 3);
}

/// A log with one record that gives the disk what it writes in small pieces, before they are synced.
fn with_small_buffers() -> (SimFs, Options, Log) {
    let disk = SimFs::new(1);
    let options = options(1 << 20).buffer_bytes(4096);
    let log = options.clone().vfs(Arc::new(disk.clone())).open("/log");
    let log = log.unwrap();
    log.append("first").unwrap();
    (disk, options, log)
}

fn refuse_what_is_given_early(disk: &SimFs) {
    let lies = Fault::Sync(Errno::Eio, SyncFailure::CacheKeepsNew);
    disk.fail(FaultRule::nth(OpKind::WriteBack, 0, lies));
}

/// A large append is given to the disk in pieces before its sync, and one piece was refused. That was taken
/// for a failed write: cut back, told, and gone on with. But it was the only word that earlier records, of
/// which only a write had been acknowledged, were lost, and the next append was acknowledged above them.
#[test]
fn is_the_refusal_of_bytes_given_early_the_end_of_writing() {
    let (disk, options, log) = with_small_buffers();
    let how = AppendOptions::new().durability(Durability::Written);
    log.append_records(&[NewRecord::value("written")], &how)
        .unwrap();
    refuse_what_is_given_early(&disk);
    let refused = log.append(vec![b'x'; 20_000]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Indeterminate);
    assert_eq!(log.append("third").unwrap_err().kind(), ErrorKind::Poisoned);
    drop(log);
    let lost = disk.crash_at(u64::MAX).state(&Choice::lost());
    let log = options.vfs(Arc::new(lost)).open("/log").unwrap();
    assert_eq!(log.get(0).unwrap().as_deref(), Some(&b"first"[..]));
    assert_eq!(log.next_seq(), 1);
}

/// The same where nobody waits: what was only written is given to the disk when it is much.
#[test]
fn is_the_refusal_of_bytes_given_in_the_background_the_end_of_writing() {
    let (disk, options, log) = with_small_buffers();
    refuse_what_is_given_early(&disk);
    let how = AppendOptions::new().durability(Durability::Written);
    for _ in 0..6 {
        log.append_records(&[NewRecord::value(&[b'x'; 4000])], &how)
            .unwrap();
    }
    log.maintain().ok();
    assert!(
        disk.trace()
            .iter()
            .any(|event| event.kind == OpKind::WriteBack)
    );
    assert_eq!(log.append("last").unwrap_err().kind(), ErrorKind::Poisoned);
    drop(log);
    let lost = disk.crash_at(u64::MAX).state(&Choice::lost());
    let log = options.vfs(Arc::new(lost)).open("/log").unwrap();
    assert_eq!((log.next_seq(), log.recovery().torn), (1, None));
}

/// A write that failed was cut back, and its failure told, before the cut was durable: after a power cut
/// the record that "will never be in the log" could be there.
#[test]
fn is_a_failed_write_cut_back_durably_before_it_is_told() {
    let mut first = run(4096);
    first.steps(&[Open, durable(10)]);
    let (bytes, errno) = (60, Errno::Enospc);
    let torn = Fault::Torn { bytes, errno };
    first.disk.fail(FaultRule::nth(OpKind::Write, 0, torn));
    first.step(&durable(200));
    assert_eq!(first.errors.pop().unwrap().1.kind(), ErrorKind::NoSpace);
    let pending = first.disk.crash_at(first.disk.op_count());
    let pending: Vec<String> = pending.effects().iter().map(ToString::to_string).collect();
    let of_segments: Vec<_> = pending.iter().filter(|it| it.contains(".seg")).collect();
    assert!(of_segments.is_empty(), "{of_segments:?}");
}
