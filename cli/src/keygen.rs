//! `cairn keygen`: makes a key file, or adds a key to one.
//!
//! INVARIANT: at every moment the file has all the keys that it had, on the disk too. A key that is lost
//! takes with it whatever was sealed under it.

use crate::{
    exit::{About, Failure, Outcome},
    keys, output, stream,
};
use cairnlog::{KeyId, KeyProvider};
use clap::Args;
use serde_json::json;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

pub const EXAMPLES: &str = "\
Makes the file, which its owner alone may read, with key 1; or adds the next key to it, which is the
current one from then on: what is appended is sealed under it, and `cairn reseal` seals the rest. The
keys before it stay, and are needed for what is sealed under them. The key itself is not shown.

Whoever has this file reads the log, and without it nobody does: keep a copy somewhere else, and not
beside the log. Each line has a number and 64 hexadecimal digits; the last one is the current key.

Examples:
  cairn keygen orders.keys
  cairn append orders.log events.txt --key-file orders.keys
  cairn keygen orders.keys --json
  cairn reseal orders.log --key-file orders.keys";

#[derive(Args, Debug)]
pub struct KeygenArgs {
    /// The key file: a new one, or one to which a key is added
    file: PathBuf,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &KeygenArgs) -> Outcome {
    // The file that a link leads to is replaced, and the link stays.
    let exists = fs::symlink_metadata(&args.file).is_ok();
    let path = match exists {
        true => fs::canonicalize(&args.file).about(args.file.display())?,
        false => args.file.clone(),
    };
    let aside = Aside::create(&path)?;
    let (mut text, mut ids) = (String::new(), Vec::new());
    if exists {
        // Whatever is no key file is refused before it is touched.
        keys::read(&args.file)?;
        text = fs::read_to_string(&path).about(path.display())?;
        ids = text.lines().filter_map(id_of).collect();
    }
    let last = ids.iter().max().copied().unwrap_or(0);
    let Some(id) = last.checked_add(1) else {
        let text = format!("keygen: {}: no number is left", path.display());
        return Err(Failure::Said(text));
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &format!("{id} {}\n", random_key()?);
    aside.replace(&path, &text, KeyId(id))?;

    let (count, file) = (ids.len() as u64 + 1, args.file.display());
    let as_json = (args.json).then(|| json!({ "key_id": id, "key_count": count }));
    stream::report(as_json, |out| {
        let keys = output::counted(count, "key");
        writeln!(out, "key {id} is the current one of {file}: {keys} in all")
    })
}

/// The number of the key that a line holds.
fn id_of(line: &str) -> Option<u64> {
    let line = line.trim();
    let number = line.split_whitespace().next()?;
    (!line.starts_with('#')).then(|| number.parse().ok())?
}

/// 32 bytes that nobody can guess, in hexadecimal.
fn random_key() -> Outcome<String> {
    let source = "/dev/urandom";
    let mut bytes = [0; 32];
    let mut file = File::open(source).about(source)?;
    file.read_exact(&mut bytes).about(source)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The file beside, in which the new keys are before they take the place of the old ones. While it is there
/// no other `keygen` adds a key, so that none is lost.
struct Aside {
    path: PathBuf,
    file: File,
}

impl Aside {
    fn create(of: &Path) -> Outcome<Self> {
        let mut path = of.as_os_str().to_owned();
        path.push(".new");
        let path = PathBuf::from(path);
        let mut new = File::options();
        new.write(true).create_new(true).mode(0o600);
        match new.open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let text = format!(
                    "keygen: {} is there: another keygen is at work, or one was killed before it was \
                     done, and then it may be removed",
                    path.display()
                );
                Err(Failure::Said(text))
            }
            Err(error) => Err(error).about(path.display()),
        }
    }

    /// Puts the text in the place of the file, durably.
    fn replace(mut self, path: &Path, text: &str, current: KeyId) -> Outcome {
        let what = self.path.display().to_string();
        self.file.write_all(text.as_bytes()).about(&what)?;
        if let Ok(before) = fs::metadata(path)
            && before.uid() != self.file.metadata().about(&what)?.uid()
        {
            let (user, group) = (Some(before.uid()), Some(before.gid()));
            fchown(&self.file, user, group).about(&what)?;
        }
        // DURABILITY: the keys are on the disk before anything is sealed under the new one.
        self.file.sync_all().about(&what)?;
        if keys::read(&self.path)?.current() != current {
            return Err(Failure::Said(format!(
                "keygen: {what} is not what was written"
            )));
        }
        fs::rename(&self.path, path).about(path.display())?;
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        // DURABILITY: and so is their name.
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.about(dir.display())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Gone already if it has taken its place.
        fs::remove_file(&self.path).ok();
    }
}
