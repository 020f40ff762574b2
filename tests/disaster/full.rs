//! A full disk is an error and not damage: at every number of bytes at which it can become full.

use crate::{
    history::{Run, options},
    steps::{
        Close, Kill, Maintain, Open, Rewind, Rotate, Step, Sync, TrimDurable, batch, buffered,
        durable, written,
    },
};
use cairnlog::{ErrorKind, vfs::sim::SimFs};

fn only_no_space(run: &mut Run, when: &str) -> usize {
    for (step, error) in &run.errors {
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{when}, {step}: {error}");
    }
    std::mem::take(&mut run.errors).len()
}

/// Fills the disk, makes room by trimming, and fills it again.
fn fill_and_trim(run: &mut Run, fill: &[Step]) -> usize {
    let mut refused = 0;
    for round in 0..3 {
        let mut failed = 0;
        for _ in 0..60 {
            run.steps(fill);
            failed += only_no_space(run, "filling");
            if failed > 2 {
                break;
            }
        }
        refused += failed;
        if failed > 0 {
            run.step(&TrimDurable { keep: 1 });
            let error = run.errors.first().map(|(_, error)| error.to_string());
            assert_eq!(error, None, "trim works on a full disk, round {round}");
            run.step(&Maintain);
            only_no_space(run, "maintenance");
        }
    }
    refused
}

fn used_when_open(segment_bytes: u64) -> u64 {
    let mut run = Run::new(SimFs::new(1), &options(segment_bytes));
    run.step(&Open);
    run.disk.used_bytes()
}

fn sweep(segment_bytes: u64, fill: &[Step], step: usize, direct: bool) {
    let options = options(segment_bytes).direct_writes(direct);
    let least = used_when_open(segment_bytes);
    let mut refused = 0;
    for capacity in (least..least + 3 * segment_bytes).step_by(step) {
        let _context = crate::Context::new(|| format!("capacity {capacity}"));
        let mut run = Run::new(SimFs::new(1), &options);
        run.disk.set_capacity(Some(capacity));
        run.step(&Open);
        assert!(run.errors.is_empty(), "{:?}", run.errors);
        refused += fill_and_trim(&mut run, fill);
        // The same handle, with room again.
        run.disk.set_capacity(None);
        run.steps(&[durable(20), durable(150), Rotate]);
        let first = run.errors.first().map(|(_, error)| error.to_string());
        assert_eq!(first, None, "the same handle goes on");
        // Buffered records that were lost are told once.
        run.step(&Sync);
        only_no_space(&mut run, "telling what was lost");
        run.step(&Sync);
        assert!(run.errors.is_empty(), "told twice: {:?}", run.errors);
        // Full once more: closing, and reopening after a kill.
        run.disk.set_capacity(Some(run.disk.used_bytes()));
        if capacity % 2 == 0 {
            run.step(&Close);
            assert!(run.errors.is_empty(), "close works: {:?}", run.errors);
        }
        run.steps(&[Kill, Open]);
        only_no_space(&mut run, "reopening");
        run.disk.set_capacity(None);
        run.steps(&[Kill, Open, durable(20)]);
        assert!(run.errors.is_empty(), "{:?}", run.errors);
    }
    assert!(refused > 20, "the disk was never full: {refused}");
}

#[test]
fn full_disk_refuses_appends_and_lets_trim_and_close_work() {
    sweep(512, &[durable(90)], 29, false);
    sweep(1024, &[batch(&[40, 60]), durable(150)], 67, false);
    sweep(8192, &[durable(1_900)], 331, true);
}

#[test]
fn full_disk_loses_no_buffered_record_in_silence() {
    for direct in [false, true] {
        sweep(
            512,
            &[buffered(70), written(20), buffered(40), Sync],
            31,
            direct,
        );
    }
}

#[test]
fn creation_on_a_disk_too_small_can_be_tried_again() {
    let least = used_when_open(512);
    for capacity in (0..least).step_by(41) {
        let _context = crate::Context::new(|| format!("capacity {capacity}"));
        let mut run = Run::new(SimFs::new(1), &options(512));
        run.disk.set_capacity(Some(capacity));
        run.step(&Open);
        only_no_space(&mut run, "creating");
        run.disk.set_capacity(None);
        run.steps(&[Open, durable(30), Rotate, durable(30), Kill, Open]);
        assert!(run.errors.is_empty(), "{:?}", run.errors);
    }
}

#[test]
fn rewind_on_a_full_disk_is_done_or_refused() {
    let least = used_when_open(512);
    for capacity in (least..least + 4096).step_by(53) {
        let _context = crate::Context::new(|| format!("capacity {capacity}"));
        let mut run = Run::new(SimFs::new(1), &options(512));
        run.disk.set_capacity(Some(capacity));
        run.step(&Open);
        for _ in 0..4 {
            run.steps(&[durable(90), durable(90), Rewind { drop: 1 }, durable(30)]);
        }
        only_no_space(&mut run, "rewinding");
        run.disk.set_capacity(None);
        run.steps(&[Rewind { drop: 1 }, durable(30), Kill, Open]);
        assert!(run.errors.is_empty(), "{:?}", run.errors);
    }
}
