//! The keys of sealed logs: which file they come from, settled once for the whole run; which are in use.

use crate::{
    exit::{Failure, Outcome},
    output,
};
use cairnlog::{ErrorKind, KeyId, Keys, Options};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The variable that names the key file if the command line does not.
pub const VARIABLE: &str = "CAIRN_KEY_FILE";

static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Settles it: what the command line says, else the environment, where an empty name is none.
pub fn settle(named: Option<PathBuf>) {
    let in_environment = || env::var_os(VARIABLE).filter(|name| !name.is_empty());
    if let Some(file) = named.or_else(|| in_environment().map(PathBuf::from)) {
        // Nobody has settled it before: this is the first thing that the tool does.
        FILE.set(file).ok();
    }
}

/// The key file, if one was named.
pub fn file() -> Option<&'static Path> {
    FILE.get().map(PathBuf::as_path)
}

/// Options with the keys of the key file, if one was named.
pub fn given_to(options: Options) -> Outcome<Options> {
    match file() {
        None => Ok(options),
        Some(file) => Ok(options.keys(read(file)?)),
    }
}

/// The keys of a file. One that is no key file, or that others may read, should not have been named.
pub fn read(file: &Path) -> Outcome<Keys> {
    Keys::from_file(file).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => Failure::Usage(error.to_string()),
        _ => Failure::Said(error.to_string()),
    })
}

/// Bytes of frames under each key; `None` for what is in the clear.
pub type KeysInUse = BTreeMap<Option<KeyId>, u64>;

/// The keys in use for scripts.
pub fn in_use_json(in_use: &KeysInUse) -> Value {
    let one = |(id, bytes): (&Option<KeyId>, &u64)| json!({ "key_id": id.map(|id| id.0), "frame_bytes": bytes });
    in_use.iter().map(one).collect()
}

/// The keys in use for people.
pub fn in_use_text(in_use: &KeysInUse) -> String {
    if in_use.is_empty() {
        return "no records, under no key".to_owned();
    }
    let one = |(id, bytes): (&Option<KeyId>, &u64)| match id {
        Some(id) => format!("{} under key {id}", output::bytes(*bytes)),
        None => format!("{} in the clear", output::bytes(*bytes)),
    };
    in_use.iter().map(one).collect::<Vec<_>>().join(", ")
}
