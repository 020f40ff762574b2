//! The three standard streams: what goes to standard output for machines and for people, what is said on
//! standard error, and whether either is wanted at all.
//!
//! INVARIANT: a write to standard output that comes back well was taken by whoever reads it. So a stream
//! that was closed is an error like a full one, and nothing is acknowledged because of it.

use crate::{
    exit::{Failure, Outcome},
    process,
};
use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
use serde_json::Value;
use std::{
    io::{self, BufWriter, Stdin, StdoutLock, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// When output for people has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Also in a pipe or a file
    Always,
    /// Nowhere
    Never,
}

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Settles for the whole run what is wanted.
pub fn settle(color: Color, quiet: bool) {
    match color {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    }
    .write_global();
    IS_QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether only errors, and what was asked for, are wanted.
pub fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Standard output as it was handed over.
pub struct Out(StdoutLock<'static>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        open(1)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn open(stream: u8) -> io::Result<()> {
    match process::is_closed(stream) {
        true => Err(io::Error::from_raw_os_error(libc::EBADF)),
        false => Ok(()),
    }
}

/// Standard output for bytes: buffered, and never stripped of anything.
pub fn raw() -> BufWriter<Out> {
    BufWriter::with_capacity(256 << 10, Out(io::stdout().lock()))
}

/// Standard output for people: colours only where they are seen and wanted.
pub fn pretty() -> BufWriter<AutoStream<Box<dyn Write>>> {
    let choice = AutoStream::choice(&io::stdout());
    let out: Box<dyn Write> = Box::new(Out(io::stdout().lock()));
    BufWriter::new(AutoStream::new(out, choice))
}

/// Standard input, if there is one.
pub fn input() -> Outcome<Stdin> {
    match open(0) {
        Ok(()) => Ok(io::stdin()),
        Err(error) => Err(Failure::Io("standard input".to_owned(), error)),
    }
}

/// Whether standard output takes anything; nothing is done before that is known.
pub fn check_output() -> Outcome {
    let text = "nothing was done: standard output is closed, or open for reading only";
    open(1).map_err(|_| Failure::Said(text.to_owned()))
}

/// One JSON value on a line of its own.
pub fn json(value: &Value) -> io::Result<()> {
    let mut out = raw();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Tells what has been done: as JSON if that was asked for, else in words, if those are wanted. That it
/// cannot be told does not undo it, and the error says so.
pub fn report(
    as_json: Option<Value>,
    words: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Outcome {
    let told = match as_json {
        Some(value) => json(&value),
        None if is_quiet() => Ok(()),
        None => {
            let mut out = pretty();
            words(&mut out).and_then(|()| out.flush())
        }
    };
    match told {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::PipeClosed),
        Err(error) => {
            let what = "it is done, and cannot be told: standard output";
            Err(Failure::Io(what.to_owned(), error))
        }
    }
}

/// Says something on standard error. If that cannot be written, it is lost, and nothing else: what is
/// being done does not depend on it.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(anstream::stderr(), $($text)*).ok();
    }};
}

/// Says on standard error what is no error; nothing if that is not wanted.
macro_rules! note {
    ($($text:tt)*) => {
        if !$crate::stream::is_quiet() {
            $crate::stream::say!($($text)*);
        }
    };
}
pub(crate) use {note, say};
