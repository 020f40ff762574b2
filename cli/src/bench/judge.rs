//! Whether a sync can be what it claims to be, by how long it takes.
//!
//! The floors are physical: a platter has to come round, at 7,200 turns a minute 4 ms on average and
//! hardly ever under 2; flash has to be programmed, which takes a drive without a protected cache some
//! hundred microseconds; a message to a device and back takes over ten.

use super::disk::Disk;
use crate::output;
use std::time::Duration;

/// A turning disk cannot be faster than that.
const TURN: Duration = Duration::from_millis(2);
/// A cell of flash cannot be.
const PROGRAM: Duration = Duration::from_micros(100);
/// No device answers faster.
const ANSWER: Duration = Duration::from_micros(10);

/// What is to be thought of a disk's syncs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub is_plausible: bool,
    pub text: String,
}

/// Judges a disk by the median of its bare syncs.
pub fn judge(disk: &Disk, median: Duration) -> Verdict {
    let time = output::duration(median);
    let turns = disk.is_rotational == Some(true);
    // Virtual disks often say that they turn; those that answer in no time do not.
    let said_through = disk.write_cache.as_deref() == Some("write through");
    let (is_plausible, text) = if disk.is_memory() {
        let text = "This is memory: a sync costs nothing, and nothing survives a power cut.";
        (false, text.to_owned())
    } else if median < ANSWER {
        let text = format!(
            "Not plausible: no device answers within {time}. Syncs do not reach a disk here, and a power \
             cut will lose what was acknowledged."
        );
        (false, text)
    } else if turns && median < TURN {
        let text = format!(
            "Not plausible for a disk that turns: {time} is less than it takes to come round. Either a \
             cache is not emptied, which is only safe if it outlives the power, or the disk is virtual and \
             does not say what it is."
        );
        (false, text)
    } else if median < PROGRAM {
        let cache = match said_through {
            true => ", as the device says it has",
            false => "",
        };
        let text = format!(
            "Plausible only with a cache that outlives the power{cache}: {time} is less than flash takes to \
             be written. Ask the maker, or the host of a virtual disk."
        );
        (true, text)
    } else {
        let text = format!("Plausible: {time} is what a device takes that really writes.");
        (true, text)
    };
    Verdict { is_plausible, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_believed_of_which_disk() {
        let disk = |file_system: &str, turns: bool| Disk {
            file_system: Some(file_system.to_owned()),
            is_rotational: Some(turns),
            ..Disk::default()
        };
        for (disk, micros, is_plausible, says) in [
            (disk("tmpfs", false), 1, false, "memory"),
            (disk("tmpfs", false), 5_000, false, "memory"),
            (disk("ext4", false), 9, false, "no device answers"),
            (disk("ext4", false), 30, true, "outlives the power"),
            (disk("ext4", false), 100, true, "Plausible: 100"),
            (disk("xfs", false), 4_000, true, "Plausible: 4.0 ms"),
            (disk("ext4", true), 1_900, false, "that turns"),
            (disk("ext4", true), 4_000, true, "Plausible: 4.0 ms"),
            (Disk::default(), 300, true, "Plausible: 300"),
            (Disk::default(), 5, false, "no device answers"),
        ] {
            let verdict = judge(&disk, Duration::from_micros(micros));
            assert_eq!(verdict.is_plausible, is_plausible, "{disk:?} {micros}");
            assert!(verdict.text.contains(says), "{}", verdict.text);
        }
    }
}
