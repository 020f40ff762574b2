//! Where the demo works, and a bit of chance.

use crate::exit::{About, Failure, Outcome};
use std::{
    env, fs,
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
};

/// The directory of a demo, removed in the end if it is the demo's own.
pub struct Place {
    pub path: PathBuf,
    pub temporary: bool,
}

impl Place {
    /// The directory asked for, which has to be new or empty, or one of the demo's own.
    pub fn new(wanted: Option<&Path>) -> Outcome<Self> {
        let (path, temporary) = match wanted {
            Some(dir) => (dir.to_path_buf(), false),
            None => {
                let name = format!("cairn-demo-{}-{:08x}", std::process::id(), random(1 << 32));
                (env::temp_dir().join(name), true)
            }
        };
        fs::create_dir_all(&path).about(path.display())?;
        let mut entries = fs::read_dir(&path).about(path.display())?;
        if entries.next().is_some() {
            let text = format!("demo: {} is not empty", path.display());
            return Err(Failure::Said(text));
        }
        Ok(Self { path, temporary })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary && fs::remove_dir_all(&self.path).is_err() {
            crate::stream::note!("cairn: could not remove {}", self.path.display());
        }
    }
}

/// A number below `end`, different every time.
pub fn random(end: u64) -> u64 {
    RandomState::new().build_hasher().finish() % end.max(1)
}
