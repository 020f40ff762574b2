//! Where the demo takes its lines from: a file that nobody here wrote.

use crate::exit::{About, Failure, Outcome};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Lines that are enough for a demo, if it may choose for itself.
const LINES_ENOUGH: u64 = 200_000;
/// Fewer lines than this would be over before anything could be killed.
const LINES_FEW: u64 = 2_000;
/// Lines longer than this are left out of what the demo finds for itself.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What was taken.
#[derive(Debug)]
pub struct Source {
    /// For people: where it is from.
    pub name: String,
    pub line_count: u64,
    pub byte_count: u64,
}

/// Copies the lines of a file, or of what the machine has, to `to`: what is compared later must not
/// change meanwhile.
pub fn collect(file: Option<&Path>, records: Option<u64>, to: &Path) -> Outcome<Source> {
    let out = File::create_new(to).about(to.display())?;
    let mut copy = Copy {
        out: BufWriter::new(out),
        line_count: 0,
        byte_count: 0,
        limit: records.unwrap_or(if file.is_some() {
            u64::MAX
        } else {
            LINES_ENOUGH
        }),
        to,
    };
    let name = match file {
        Some(file) => {
            copy.take(file, usize::MAX)?;
            file.display().to_string()
        }
        None => copy.take_from_machine(),
    };
    copy.out.flush().about(to.display())?;
    if copy.line_count == 0 {
        return Err(Failure::Said(format!(
            "demo: {name}: there are no lines in it"
        )));
    }
    Ok(Source {
        name,
        line_count: copy.line_count,
        byte_count: copy.byte_count,
    })
}

struct Copy<'a> {
    out: BufWriter<File>,
    line_count: u64,
    byte_count: u64,
    limit: u64,
    to: &'a Path,
}

impl Copy<'_> {
    /// The package database and its file lists; on a machine without, whatever texts there are.
    fn take_from_machine(&mut self) -> String {
        let places: [(&str, Option<&str>); 7] = [
            ("/var/lib/dpkg/status", None),
            ("/var/lib/dpkg/info", Some("list")),
            ("/lib/apk/db/installed", None),
            ("/usr/share/dict/words", None),
            ("/usr/share/doc", None),
            ("/usr/share", None),
            ("/etc", None),
        ];
        let mut files = Vec::new();
        for (place, extension) in places {
            if self.line_count >= LINES_FEW.min(self.limit) && extension.is_none() {
                break;
            }
            for path in files_in(Path::new(place), extension) {
                if self.line_count >= self.limit {
                    break;
                }
                // What cannot be read is not for us.
                if self.take(&path, LINE_BYTES_MAX).is_ok() {
                    files.push(path);
                }
            }
        }
        match files.as_slice() {
            [] => "this machine".to_owned(),
            [one] => one.display().to_string(),
            [first, rest @ ..] => {
                let noun = if rest.len() == 1 { "file" } else { "files" };
                format!("{} and {} more {noun}", first.display(), rest.len())
            }
        }
    }

    fn take(&mut self, path: &Path, line_bytes_max: usize) -> Outcome {
        let file = File::open(path).about(path.display())?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while self.line_count < self.limit {
            line.clear();
            if reader.read_until(b'\n', &mut line).about(path.display())? == 0 {
                break;
            }
            if line.len() > line_bytes_max {
                continue;
            }
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }
            self.out.write_all(&line).about(self.to.display())?;
            self.line_count += 1;
            self.byte_count += line.len() as u64 - 1;
        }
        Ok(())
    }
}

/// The file itself, or the files in the directory, in order of their names.
fn files_in(place: &Path, extension: Option<&str>) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(place) else {
        return Vec::new();
    };
    let wanted = |path: &PathBuf| {
        let fits = extension.is_none_or(|wanted| path.extension().is_some_and(|has| has == wanted));
        fits && path.is_file()
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths.filter(wanted).collect();
    paths.sort();
    paths
}
