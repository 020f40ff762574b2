//! The keys of sealed logs: which file they come from, settled once for the whole run.

use crate::exit::{Failure, Outcome};
use cairnlog::{ErrorKind, Keys, Options};
use std::{
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
