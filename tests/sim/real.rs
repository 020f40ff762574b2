//! Two independent opinions: the real file system on what a process sees, and a table of bytes on
//! what a power cut may leave.

use crate::{now, p, put_durably, read};
use cairnlog::vfs::{Access, RealFs, Vfs, VfsFile, sim::SimFs};
use std::{io, path::Path, sync::Arc};

/// What one step did, as far as a process can tell.
#[derive(Debug, PartialEq)]
enum Seen {
    Nothing,
    Flag(bool),
    Names(Vec<(String, u64, bool)>),
    Bytes(Vec<u8>),
    Error(io::ErrorKind),
}

struct Side<'a> {
    fs: &'a dyn Vfs,
    root: &'a Path,
    open: Vec<Arc<dyn VfsFile>>,
}

impl Side<'_> {
    /// One of a few steps, on one of a few names, as the numbers have it.
    fn step(&mut self, [kind, a, b, n]: [u64; 4]) -> io::Result<Seen> {
        let names = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "a/x", "none/x"];
        let path = |i: u64| self.root.join(names[(i % names.len() as u64) as usize]);
        let file = self.open.get((b % self.open.len().max(1) as u64) as usize);
        match (kind % 10, file) {
            (0, _) => return self.fs.create_dir(&path(3 + a % 4)).map(Seen::Flag),
            (1, _) => self.open.push(self.fs.create_new(&path(a))?),
            (2, _) => self.open.push(self.fs.open(&path(a), Access::ReadWrite)?),
            (3, _) => self.fs.rename(&path(a), &path(b))?,
            (4, _) => self.fs.remove(&path(a))?,
            (5, _) => {
                let names = self.fs.list(&path(a))?.into_iter();
                let mut names: Vec<_> = names.map(|e| (e.name, e.size_bytes, e.is_file)).collect();
                names.sort();
                return Ok(Seen::Names(names));
            }
            (6 | 7, Some(file)) => {
                let bytes = vec![n as u8; (n % 9000) as usize];
                assert_eq!(file.write_at(&bytes, a % 9000)?, bytes.len());
            }
            (8, Some(file)) => file.set_len(n % 12_000)?,
            (9, Some(file)) => {
                let mut bytes = vec![1; 20_000];
                let count = file.read_at(&mut bytes, a % 5000)?;
                assert_eq!(count as u64, file.len()?.saturating_sub(a % 5000));
                bytes.truncate(count);
                return Ok(Seen::Bytes(bytes));
            }
            _ => {}
        }
        Ok(Seen::Nothing)
    }
}

#[test]
fn process_sees_what_it_would_see_on_the_real_file_system() {
    for seed in 0..60 {
        let (sim, real, numbers) = (SimFs::new(seed), RealFs::default(), SimFs::new(seed + 1000));
        let dir = tempfile::tempdir().unwrap();
        let mut sides = [(&sim as &dyn Vfs, p("/")), (&real, dir.path())].map(|(fs, root)| Side {
            fs,
            root,
            open: Vec::new(),
        });
        for i in 0..120 {
            let step = [(); 4].map(|()| numbers.random() >> 8);
            let seen = sides.each_mut().map(|side| {
                let seen = side.step(step);
                seen.unwrap_or_else(|error| Seen::Error(error.kind()))
            });
            let [a, b] = &seen;
            assert_eq!(a, b, "seed {seed}, step {i}: {step:?}");
        }
    }
}

/// What is certain about a file: its bytes at the last sync, what was written to since, and the
/// range of its sizes since.
struct Certain {
    synced: Vec<u8>,
    dirty: Vec<bool>,
    sizes: (usize, usize),
}

#[test]
fn power_cut_harms_nothing_but_what_was_not_synced() {
    const MAX: u64 = 3000;
    for seed in 0..40 {
        let (disk, numbers) = (SimFs::new(seed), SimFs::new(seed + 1000));
        let file = put_durably(&disk, "/a", &[7; 1000]);
        let mut certain = Certain {
            synced: vec![7; 1000],
            dirty: vec![false; MAX as usize],
            sizes: (1000, 1000),
        };
        for step in 0..40 {
            let below = |bound: u64| numbers.random() % bound;
            match below(6) {
                0 => {
                    file.sync().unwrap();
                    certain.synced = read(&disk, "/a").unwrap();
                    certain.dirty.fill(false);
                    certain.sizes = (certain.synced.len(), certain.synced.len());
                }
                1 => {
                    let len = below(MAX);
                    file.set_len(len).unwrap();
                    // Cut bytes may come back or be zero, whichever way the size goes later.
                    certain.dirty[len as usize..].fill(true);
                }
                _ => {
                    let (at, len) = (below(MAX), below(700));
                    let len = len.min(MAX - at);
                    file.write_at(&vec![step; len as usize], at).unwrap();
                    certain.dirty[at as usize..(at + len) as usize].fill(true);
                }
            }
            let len = file.len().unwrap() as usize;
            certain.sizes = (certain.sizes.0.min(len), certain.sizes.1.max(len));
            let cut = now(&disk);
            for seed in 0..20 {
                let bytes = read(&cut.random(seed), "/a").unwrap();
                let about = || format!("step {step}\n{}", cut.describe(&cut.choose(seed)));
                assert!(
                    (certain.sizes.0..=certain.sizes.1).contains(&bytes.len()),
                    "{}",
                    about()
                );
                for (i, byte) in bytes.iter().enumerate().filter(|(i, _)| !certain.dirty[*i]) {
                    let expected = certain.synced.get(i).copied().unwrap_or(0);
                    assert_eq!(*byte, expected, "at {i}, {}", about());
                }
            }
        }
    }
}
