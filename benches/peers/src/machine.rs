//! On what, when, and with which versions it was measured. No names and no paths.

use crate::meter::{self, Device};
use anyhow::Result;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Processor, memory, kernel, file system, disk.
pub fn describe(dir: &Path) -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&cpu, "model name")
        .unwrap_or("unknown processor")
        .to_owned();
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = field(&memory, "MemTotal")
        .and_then(|it| it.split(' ').next()?.parse().ok())
        .unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let virtual_ = if field(&cpu, "flags").is_some_and(|it| it.contains(" hypervisor")) {
        ", virtual"
    } else {
        ""
    };
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let file_system = meter::file_system(&mounts, dir).unwrap_or("unknown file system");
    let disk = Device::of(dir)?.map_or_else(
        || "not on a block device: syncs are counted by `--strace` alone".to_owned(),
        |device| device.describe(),
    );
    Ok(format!(
        "{model}, {cores} cores{virtual_}, {} GiB, Linux {}, {file_system}{}, {disk}",
        kib.div_ceil(1 << 20),
        kernel.trim().split('-').next().unwrap_or_default(),
        if has_no_journal(dir)? {
            " without a journal"
        } else {
            ""
        }
    ))
}

/// Whether it is on an ext4 that keeps no journal: a sync has less to write there.
fn has_no_journal(dir: &Path) -> Result<bool> {
    let device = fs::metadata(dir)?.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let block = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).unwrap_or_default();
    let name = block.file_name().unwrap_or_default();
    let options = Path::new("/proc/fs/ext4").join(name).join("options");
    let options = fs::read_to_string(options).unwrap_or_default();
    Ok(!options.is_empty() && !options.lines().any(|line| line.starts_with("data=")))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// Today, in UTC.
pub fn today() -> Result<String> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(date(seconds))
}

/// Seconds since 1970 to a date of the Gregorian calendar.
fn date(seconds: u64) -> String {
    let days = seconds as i64 / 86_400 + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin in March here, so that the leap day is their last.
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// The version of a package, as it is locked.
pub fn version(lock: &str, package: &str) -> Option<String> {
    let start = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) = lock.split_once(&start)?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// How the whole comparison is made.
pub const COMMAND: &str = "cargo run --release -p cairn-peers";

/// How this run was asked for, without the places it was told.
pub fn command() -> String {
    let mut words = vec![COMMAND.to_owned(), "--".to_owned()];
    let mut skip = false;
    for word in std::env::args().skip(1) {
        let place = word == "--dir" || word == "--out";
        if !skip && !place {
            words.push(word);
        }
        skip = place;
    }
    words.join(" ").trim_end_matches(" --").to_owned()
}

#[cfg(test)]
mod tests {
    use super::{date, version};

    #[test]
    fn are_dates_right_around_leap_days() {
        let days = [0, 59, 11_016, 11_017, 19_782, 19_783, 20_453].map(|day| date(day * 86_400));
        let right = [
            "1970-01-01",
            "1970-03-01",
            "2000-02-29",
            "2000-03-01",
            "2024-02-29",
            "2024-03-01",
            "2025-12-31",
        ];
        assert_eq!(days, right);
    }

    #[test]
    fn is_the_version_that_of_the_package_itself() {
        let lock =
            "name = \"redb-more\"\nversion = \"9\"\n\nname = \"redb\"\nversion = \"4.1.0\"\n";
        assert_eq!(version(lock, "redb").as_deref(), Some("4.1.0"));
        assert_eq!(version(lock, "sled"), None);
    }
}
