//! What a timed section cost: time, CPU, memory, the device's writes and flushes, space.
//!
//! Called by the jobs around what they time.

use crate::{engine::Values, system};
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const SECTOR_BYTES: u64 = 512;

/// The block device below a directory.
#[derive(Clone, Debug)]
pub struct Device(PathBuf);

#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    written_bytes: u64,
    flushes: u64,
}

impl Device {
    /// None if it is not on a block device that tells.
    pub fn of(dir: &Path) -> Result<Option<Self>> {
        let device = fs::metadata(dir)?.dev();
        let (major, minor) = (libc::major(device), libc::minor(device));
        let Ok(path) = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")) else {
            return Ok(None);
        };
        // Flushes are counted for the whole disk only.
        let whole = match path.parent() {
            Some(parent) if path.join("partition").exists() => parent.to_owned(),
            _ => path,
        };
        Ok(Some(Self(whole)))
    }

    fn traffic(&self) -> Result<Traffic> {
        let text = fs::read_to_string(self.0.join("stat"))?;
        let mut numbers = text.split_whitespace().map(str::parse);
        let sectors: u64 = numbers.nth(6).context("no count of sectors")??;
        let flushes = numbers.nth(8).transpose()?.unwrap_or(0);
        Ok(Traffic {
            written_bytes: sectors * SECTOR_BYTES,
            flushes,
        })
    }

    /// Whether it turns, for the machine line.
    pub fn describe(&self) -> String {
        let name = self
            .0
            .file_name()
            .map_or_else(String::new, |it| it.to_string_lossy().into_owned());
        let read =
            |what: &str| fs::read_to_string(self.0.join("queue").join(what)).unwrap_or_default();
        let kind = if name.starts_with("nvme") {
            "NVMe"
        } else if name.starts_with("vd") {
            "virtio"
        } else if name.starts_with("loop") {
            "loop"
        } else if read("rotational").trim() == "1" {
            "rotating"
        } else {
            "SSD"
        };
        format!("{kind} disk, {} cache", read("write_cache").trim())
    }
}

/// Started before, stopped after.
pub struct Meter {
    device: Option<Device>,
    traffic: Traffic,
    cpu: Duration,
    start: Instant,
}

impl Meter {
    pub fn start(dir: &Path) -> Result<Self> {
        let device = Device::of(dir)?;
        Ok(Self {
            traffic: device
                .as_ref()
                .map_or(Ok(Traffic::default()), Device::traffic)?,
            device,
            cpu: system::cpu()?,
            start: Instant::now(),
        })
    }

    /// What it cost, for so many records of so many bytes.
    pub fn stop(self, records: u64, payload_bytes: usize) -> Result<Values> {
        let seconds = self.start.elapsed().as_secs_f64();
        let cpu = system::cpu()?.saturating_sub(self.cpu);
        let per = |cost: f64| cost / records.max(1) as f64;
        let mut values = Values::from([
            ("records".into(), records as f64),
            ("seconds".into(), seconds),
            ("rate".into(), records as f64 / seconds),
            ("cpu_us".into(), per(cpu.as_secs_f64() * 1e6)),
        ]);
        if let Some(device) = &self.device {
            let now = device.traffic()?;
            let written = (now.written_bytes - self.traffic.written_bytes) as f64;
            values.insert(
                "flushes".into(),
                per((now.flushes - self.traffic.flushes) as f64),
            );
            values.insert("device_ratio".into(), per(written) / payload_bytes as f64);
        }
        Ok(values)
    }
}

/// How busy the machine is with something else.
pub struct Others {
    busy: f64,
    all: f64,
    own: Duration,
}

impl Others {
    /// Ticks are of a hundredth of a second, of all processors together.
    const TICK: f64 = 0.01;

    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().context("an empty /proc/stat")?;
        let ticks: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .map_while(|it| it.parse().ok())
            .collect();
        // User, nice, system, idle, waiting for a disk, ...; guests are in user already.
        let all: f64 = ticks.iter().take(8).sum();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        let own = system::cpu_of_children()? + system::cpu()?;
        Ok(Self {
            busy: (all - idle) * Self::TICK,
            all: all * Self::TICK,
            own,
        })
    }

    /// The share of the processors that others have had since then.
    pub fn share_since(&self, before: &Self) -> f64 {
        let own = self.own.saturating_sub(before.own).as_secs_f64();
        let busy = self.busy - before.busy - own;
        (busy / (self.all - before.all).max(Self::TICK)).clamp(0.0, 1.0)
    }
}

/// Latencies, in nanoseconds.
pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 120_000_000_000, 3)?)
}

/// The quantiles in microseconds.
pub fn quantiles(histogram: &Histogram<u64>, values: &mut Values) {
    let us = |ns: u64| ns as f64 / 1e3;
    for (name, share) in [
        ("p50_us", 0.5),
        ("p90_us", 0.9),
        ("p99_us", 0.99),
        ("p999_us", 0.999),
    ] {
        values.insert(name.into(), us(histogram.value_at_quantile(share)));
    }
    values.insert("max_us".into(), us(histogram.max()));
}

/// A line of /proc/self/status, in MiB: `VmHWM`, the peak, or `VmRSS`.
pub fn memory_mib(what: &str) -> Result<f64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text
        .lines()
        .find(|line| line.starts_with(what))
        .context("no such line")?;
    let kib: f64 = line
        .split_whitespace()
        .nth(1)
        .context("no number")?
        .parse()?;
    Ok(kib / 1024.0)
}

/// Bytes of a directory: allocated on disk, and as the files' lengths say.
pub fn space(dir: &Path) -> Result<(u64, u64)> {
    let (mut allocated, mut lengths) = (0, 0);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A file may go while it is looked at.
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            let (inner, length) = space(&entry.path())?;
            allocated += inner;
            lengths += length;
        } else {
            allocated += meta.blocks() * SECTOR_BYTES;
            lengths += meta.len();
        }
    }
    Ok((allocated, lengths))
}

/// Refuses to measure where nothing is durable.
pub fn check_disk(dir: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    if file_system(&mounts, dir) == Some("tmpfs") {
        bail!(
            "{} is in memory: choose a directory on a disk with --dir",
            dir.display()
        );
    }
    system::sync_file_system(&File::open(dir)?)
}

/// The file system of a directory, by the longest mount point that it lies under.
pub fn file_system<'a>(mounts: &'a str, dir: &Path) -> Option<&'a str> {
    let under = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        dir.starts_with(point).then_some((point.len(), kind))
    });
    under
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}
