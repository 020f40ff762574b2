//! The limits: bare loops over files and memory, without recovery, numbers or locks.
//!
//! INVARIANTS: a file that is synced is zero-filled before, so that no write allocates; at its end the
//! loop starts over. A frame is the payload and 32 bytes, or for scans its length and CRC before it.
//!
//! Called like an engine.

use crate::{
    engine::{Engine, Entrant, Kind, Level, Reader, Scanned, Setup, Writer},
    raw_group, system,
};
use anyhow::{Context, Result, ensure};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

pub const FILE_BYTES: u64 = 64 << 20;
const BUFFER_BYTES: usize = 256 << 10;
const BLOCK_BYTES: usize = 4096;
const FRAME_HEAD_BYTES: usize = 8;
pub const OVERHEAD_BYTES: usize = 32;

const fn raw(
    name: &'static str,
    settings: &'static str,
    levels: &'static [Level],
    open: fn(&Path, &Setup) -> Result<Box<dyn Engine>>,
) -> Entrant {
    let batches = matches!(levels[0], Level::Durable);
    Entrant {
        name,
        kind: Kind::Raw,
        settings,
        levels,
        batches,
        syncs: true,
        lets_go: true,
        scans: false,
        reads: "",
        open,
    }
}

pub fn all() -> Vec<Entrant> {
    const DURABLE: &[Level] = &[Level::Durable];
    const BUFFERED: &[Level] = &[Level::Buffered];
    let fdatasync =
        "one `pwrite`, one `fdatasync`, on a zero-filled file of 64 MiB, payload + 32 bytes";
    let direct = "the same file by one `O_DIRECT | O_DSYNC` write of whole blocks of 4 KiB";
    let mapped = Entrant {
        scans: true,
        reads: "CRC-32C of every record",
        ..raw(
            "raw-map-crc",
            "a mapped file of frames, each CRC checked",
            BUFFERED,
            map_crc,
        )
    };
    vec![
        raw("raw-fdatasync", fdatasync, DURABLE, |dir, setup| {
            synced(dir, setup, false)
        }),
        raw("raw-direct", direct, DURABLE, |dir, setup| {
            synced(dir, setup, true)
        }),
        Entrant {
            batches: false,
            ..raw(
                "raw-group",
                "as many threads: each copies its payload, the last to come writes and syncs for all as `raw-fdatasync` does, and wakes them with one call",
                DURABLE,
                raw_group::open,
            )
        },
        raw(
            "raw-pwrite",
            "one `pwrite` for each record into a new file",
            &[Level::Written],
            pwrite,
        ),
        raw(
            "raw-buffer",
            "copies into 256 KiB, a `pwrite` each time that it is full",
            BUFFERED,
            buffer,
        ),
        raw(
            "raw-memcpy-crc",
            "copies into 256 KiB with a CRC-32C each; nothing is written",
            BUFFERED,
            memory,
        ),
        mapped,
        Entrant {
            scans: true,
            reads: "nothing",
            ..raw(
                "raw-map",
                "a mapped file of frames, lengths only",
                BUFFERED,
                map_only,
            )
        },
    ]
}

/// A buffer that starts at a multiple of a block.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new(bytes: usize) -> Self {
        let bytes = vec![0; bytes + BLOCK_BYTES];
        let start = bytes.as_ptr().align_offset(BLOCK_BYTES);
        Self { bytes, start }
    }

    fn get(&mut self, bytes: usize) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + bytes]
    }
}

/// Every write reaches the device.
struct Synced {
    file: File,
    direct: bool,
    write_bytes_max: usize,
}

/// A file of zeros that are on the disk.
pub fn zero_filled(path: &Path) -> Result<File> {
    let file = File::create(path)?;
    let zeros = vec![0; 1 << 20];
    for offset in (0..FILE_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset)?;
    }
    file.sync_all()?;
    Ok(file)
}

fn synced(dir: &Path, setup: &Setup, direct: bool) -> Result<Box<dyn Engine>> {
    let path = dir.join("raw");
    zero_filled(&path)?;
    let flags = if direct {
        libc::O_DIRECT | libc::O_DSYNC
    } else {
        0
    };
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(&path)?;
    let records = setup.group.max(1);
    let write_bytes_max =
        (records * (setup.payload_bytes + OVERHEAD_BYTES)).next_multiple_of(BLOCK_BYTES);
    ensure!(
        write_bytes_max as u64 <= FILE_BYTES,
        "a write of {write_bytes_max} bytes is too large"
    );
    Ok(Box::new(Synced {
        file,
        direct,
        write_bytes_max,
    }))
}

impl Engine for Synced {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        let buffer = Aligned::new(self.write_bytes_max);
        Ok(Box::new(SyncedWriter {
            to: self,
            offset: 0,
            buffer,
        }))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct SyncedWriter<'a> {
    to: &'a Synced,
    offset: u64,
    buffer: Aligned,
}

impl Writer for SyncedWriter<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        self.batch(&[value])
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        let mut end = 0;
        for value in values {
            self.buffer.get(end + value.len())[end..].copy_from_slice(value);
            end += value.len() + OVERHEAD_BYTES;
        }
        if self.to.direct {
            end = end.next_multiple_of(BLOCK_BYTES);
        }
        if self.offset + end as u64 > FILE_BYTES {
            self.offset = 0;
        }
        self.to
            .file
            .write_all_at(self.buffer.get(end), self.offset)?;
        if !self.to.direct {
            self.to.file.sync_data()?;
        }
        self.offset += end as u64;
        Ok(())
    }
}

/// Where the bytes of a loop without syncs go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sink {
    Each,
    Full,
    Nowhere,
}

struct Unsynced {
    file: File,
    sink: Sink,
    crc: bool,
    check: bool,
}

fn unsynced(dir: &Path, sink: Sink, crc: bool, check: bool) -> Result<Box<dyn Engine>> {
    let path = dir.join("raw");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .append(true)
        .open(path)?;
    Ok(Box::new(Unsynced {
        file,
        sink,
        crc,
        check,
    }))
}

fn pwrite(dir: &Path, _: &Setup) -> Result<Box<dyn Engine>> {
    unsynced(dir, Sink::Each, false, false)
}

fn buffer(dir: &Path, _: &Setup) -> Result<Box<dyn Engine>> {
    unsynced(dir, Sink::Full, false, false)
}

fn memory(dir: &Path, _: &Setup) -> Result<Box<dyn Engine>> {
    unsynced(dir, Sink::Nowhere, true, false)
}

fn map_crc(dir: &Path, _: &Setup) -> Result<Box<dyn Engine>> {
    unsynced(dir, Sink::Full, true, true)
}

fn map_only(dir: &Path, _: &Setup) -> Result<Box<dyn Engine>> {
    unsynced(dir, Sink::Full, true, false)
}

impl Engine for Unsynced {
    fn writer(&self, _: u64) -> Result<Box<dyn Writer + Send + '_>> {
        Ok(Box::new(UnsyncedWriter {
            to: self,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            offset: 0,
        }))
    }

    fn reader(&self) -> Result<Option<Box<dyn Reader + Send + '_>>> {
        let map = system::map(&self.file)?;
        Ok(Some(Box::new(Mapped {
            map,
            check: self.check,
        })))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct UnsyncedWriter<'a> {
    to: &'a Unsynced,
    buffer: Vec<u8>,
    offset: u64,
}

impl UnsyncedWriter<'_> {
    fn write(&mut self) -> Result<()> {
        if self.to.sink != Sink::Nowhere {
            self.to.file.write_all_at(&self.buffer, self.offset)?;
            self.offset += self.buffer.len() as u64;
        }
        self.buffer.clear();
        Ok(())
    }
}

impl Writer for UnsyncedWriter<'_> {
    fn append(&mut self, value: &[u8]) -> Result<()> {
        if self.buffer.len() + value.len() + FRAME_HEAD_BYTES > BUFFER_BYTES {
            self.write()?;
        }
        let crc = if self.to.crc {
            crc32c::crc32c(value)
        } else {
            0
        };
        self.buffer
            .extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        self.buffer.extend_from_slice(value);
        if self.to.sink == Sink::Each {
            self.write()?;
        }
        Ok(())
    }

    fn batch(&mut self, values: &[&[u8]]) -> Result<()> {
        values.iter().try_for_each(|value| self.append(value))?;
        self.write()
    }

    fn finish(&mut self) -> Result<()> {
        self.write()
    }
}

struct Mapped {
    map: memmap2::Mmap,
    check: bool,
}

impl Reader for Mapped {
    fn scan(&mut self) -> Result<Option<Scanned>> {
        let (mut seen, mut rest) = (Scanned::default(), &self.map[..]);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (crc, after) = after.split_first_chunk::<4>().context("a frame's CRC")?;
            let (value, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            if self.check {
                ensure!(
                    crc32c::crc32c(value) == u32::from_le_bytes(*crc),
                    "a frame's CRC"
                );
            }
            seen.add(value.len());
            rest = after;
        }
        Ok(Some(seen))
    }

    fn get(&mut self, _: u64) -> Result<Option<usize>> {
        Ok(None)
    }
}
