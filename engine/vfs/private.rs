//! Reading a file that is nobody else's business.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

/// The bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// All of a file that its owner alone may read, of this size at most.
///
/// # Errors
/// `InvalidInput`, and why, if it is not such a file.
pub(crate) fn read_private(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    // A pipe would be waited for.
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let known = file.metadata()?;
    if !known.is_file() {
        return refuse("it is not a regular file".to_owned());
    }
    let mode = known.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return refuse(format!(
            "others may read it (mode {mode:03o}): `chmod 600` it"
        ));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= bytes_max {
        true => Ok(bytes),
        false => refuse(format!("it is longer than {bytes_max} bytes")),
    }
}
