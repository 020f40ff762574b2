//! What the targets over whole directories share: values that follow from their seqs, and changes of files.
use arbitrary::Arbitrary;
use cairnlog::vfs::{Vfs, sim::SimFs};
use std::path::Path;

#[derive(Arbitrary, Debug)]
pub enum Change {
    Patch {
        file: u8,
        offset: u16,
        bytes: Vec<u8>,
    },
    Replace {
        file: u8,
        bytes: Vec<u8>,
    },
    Cut {
        file: u8,
        len: u16,
    },
    Swap {
        a: u8,
        b: u8,
    },
    Remove {
        file: u8,
    },
    Add {
        id: u8,
        bytes: Vec<u8>,
    },
}

pub fn value(seq: u64, bytes: u64) -> Vec<u8> {
    (0..bytes)
        .map(|at| (seq * 31 + at) as u8)
        .collect()
}

pub fn apply(disk: &SimFs, change: &Change) {
    let mut files = disk.files();
    files.retain(|file| !file.ends_with("LOCK"));
    let pick = |number: u8| files.get(usize::from(number) % files.len().max(1)).cloned();
    let edit = |number: u8, edit: &dyn Fn(&mut Vec<u8>)| {
        if let Some(path) = pick(number) {
            let mut bytes = disk.read_file(&path).unwrap_or_default();
            edit(&mut bytes);
            disk.write_file(&path, &bytes);
        }
    };
    match change {
        Change::Patch {
            file,
            offset,
            bytes,
        } => edit(*file, &|content| {
            let start = usize::from(*offset).min(content.len());
            let end = (start + bytes.len()).min(content.len());
            content[start..end].copy_from_slice(&bytes[..end - start]);
        }),
        Change::Replace { file, bytes } => edit(*file, &|content| *content = bytes.clone()),
        Change::Cut { file, len } => edit(*file, &|content| content.truncate((*len).into())),
        Change::Swap { a, b } => {
            if let (Some(a), Some(b)) = (pick(*a), pick(*b)) {
                let (of_a, of_b) = (disk.read_file(&a), disk.read_file(&b));
                disk.write_file(&a, &of_b.unwrap_or_default());
                disk.write_file(&b, &of_a.unwrap_or_default());
            }
        }
        Change::Remove { file } => {
            if let Some(path) = pick(*file) {
                disk.remove_file(&path);
            }
        }
        Change::Add { id, bytes } => {
            let name = format!("log/{id:020}.seg");
            if disk.list(Path::new("log")).is_ok() {
                disk.write_file(Path::new(&name), bytes);
            }
        }
    }
}
