//! The simulated disk itself: if it were too kind, every test that stands on it would prove
//! nothing.

mod dirs;
mod faults;
mod lies;
mod model;
mod names;
mod older;
mod outside;
mod power;
mod real;
mod space;

use cairnlog::vfs::{
    Vfs, VfsFile,
    sim::{CrashPoint, SimFs},
};
use std::{collections::BTreeSet, path::Path, sync::Arc};

fn p(path: &str) -> &Path {
    Path::new(path)
}

/// A new file with these bytes, nothing of it synced.
fn put(disk: &SimFs, path: &str, bytes: &[u8]) -> Arc<dyn VfsFile> {
    let file = disk.create_new(p(path)).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    file
}

/// A new file with these bytes, all of it durable.
fn put_durably(disk: &SimFs, path: &str, bytes: &[u8]) -> Arc<dyn VfsFile> {
    let file = put(disk, path, bytes);
    file.sync().unwrap();
    disk.sync_dir(p(path).parent().unwrap()).unwrap();
    file
}

fn read(disk: &SimFs, path: &str) -> Option<Vec<u8>> {
    disk.read_file(p(path))
}

fn now(disk: &SimFs) -> CrashPoint {
    disk.crash_at(disk.op_count())
}

/// Everything that a file may be after a power cut at this moment.
fn outcomes(cut: &CrashPoint, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let states = cut.all(20_000);
    states.map(|(_, disk)| read(&disk, path)).collect()
}

fn set(outcomes: &[Option<&[u8]>]) -> BTreeSet<Option<Vec<u8>>> {
    outcomes
        .iter()
        .map(|bytes| bytes.map(<[u8]>::to_vec))
        .collect()
}
