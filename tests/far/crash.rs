//! Is nothing lost, and nothing left, when the power fails while segments are let go of?

use super::attic::{Attic, RECORDS, append, everything, is_here, options, shown};
use cairnlog::vfs::sim::{Errno, Fault, FaultRule, SimFs};

/// At every operation, in every way that the disk has, up to so many a point: the log is whole, it lives where it says, and what is
/// left here of what lives elsewhere goes at the next opening, not before that has committed.
#[test]
fn does_a_power_cut_at_any_moment_lose_a_segment() {
    let (disk, attic) = (SimFs::new(11), Attic::new());
    let log = options(&disk, &attic).open("/log").unwrap();
    append(&log, RECORDS / 3);
    let before = everything(&log.reader());
    let begun = disk.op_count();
    let far = attic.release(&disk, &log, 2);
    let told = disk.op_count();
    drop(log);
    let (mut states, mut left) = (0, 0);
    for op in begun..=disk.op_count() {
        let point = disk.crash_at(op);
        for (_, state) in point.all(48) {
            states += 1;
            let was_here = far.iter().filter(|id| is_here(&state, **id)).count();
            let log = options(&state, &attic).open("/log").unwrap();
            assert_eq!(everything(&log.reader()), before, "after {op}");
            let now = log.segments().unwrap();
            let is_far: Vec<_> = now[..2].iter().map(|it| it.is_far).collect();
            assert!(is_far == [true; 2] || is_far == [false; 2] && op < told);
            left += if is_far[0] { was_here } else { 0 };
            let here: Vec<_> = far.iter().map(|id| !is_here(&state, *id)).collect();
            assert_eq!(
                here, is_far,
                "a file for what is here, none for what is not"
            );
            // And if it fails while that is tidied up.
            drop(log);
            let again = options(&state.reboot(op), &attic).open("/log").unwrap();
            assert_eq!(everything(&again.reader()), before, "after {op}");
        }
    }
    assert!(states > 50 && left > 5, "{states} {left}");
}

/// What a commit of which nobody knows whether it holds may not lead to: that a file goes which the manifest of before names.
#[test]
fn does_a_failed_call_lose_a_segment() {
    let mut failures = 0;
    for call in 0.. {
        let (disk, attic) = (SimFs::new(12), Attic::new());
        let log = options(&disk, &attic).open("/log").unwrap();
        append(&log, RECORDS / 3);
        let before = everything(&log.reader());
        let ids = attic.take(&disk, &log);
        disk.fail(FaultRule::nth_call(call, Fault::Error(Errno::Eio)));
        let released = log.release(&ids[..2]);
        if disk.fault_count() == 0 {
            released.unwrap();
            break;
        }
        failures += u64::from(released.is_err());
        disk.clear_faults();
        // Nothing failed, or nothing was let go of, or nobody knows: then its file stays.
        let walk: Vec<_> = log
            .scan(..)
            .unwrap()
            .map(|it| shown(&it.unwrap()))
            .collect();
        assert_eq!(walk, before[0].1, "call {call}");
        if let Err(error) = released {
            assert!(ids.iter().all(|id| is_here(&disk, *id)), "{call}: {error}");
        }
        drop(log);
        for (_, state) in disk.crash_at(disk.op_count()).all(8) {
            let log = options(&state, &attic).open("/log").unwrap();
            assert_eq!(everything(&log.reader()), before, "call {call}");
        }
    }
    assert!(failures > 6, "{failures}");
}
