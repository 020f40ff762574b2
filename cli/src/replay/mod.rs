//! `cairn replay`: runs a history of operations, telling each as it becomes true.
//!
//! A crash is a real one: the process image is replaced by a fresh one of the same tool, which goes
//! on behind the crash. Nothing is dropped, closed or flushed, and the operating system lets go of
//! the lock, as it does after `kill -9`.

mod history;

use crate::{
    exit::{self, About, Failure, In, Outcome},
    open::{self, WriterArgs},
    stream,
};
use cairnlog::{AppendOptions, Durability, ErrorKind, Log, Maintained, NewRecord, Seq};
use clap::Args;
use history::{Line, Op};
use std::{
    fs,
    io::{self, Read, Write},
    path::PathBuf,
    thread,
    time::Duration,
};

pub use history::GRAMMAR;

pub const EXAMPLES: &str = "\
The log is opened, or created, before the first operation. Each operation is printed with its line and
what became of it, as soon as that is true. An expectation that does not hold, or an operation that
fails, ends the replay with 1.

Examples:
  printf 'append 100 1\\ncrash\\nexpect 0 100 1\\n' > history.txt
  cairn replay new.log history.txt
  cairn replay new-too.log history.txt --segment-bytes 4K --no-background
  printf 'batch 3 10 1\\nexpect-next 3\\n' | cairn replay another.log -";

#[derive(Args, Debug)]
pub struct ReplayArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// The file with the history; `-`: standard input, and then without a crash in it
    history: PathBuf,
    /// The size of new segments in bytes, such as 4K
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = open::size)]
    segment_bytes: u64,
    /// Open without the background worker: what it does happens inside the operations
    #[arg(long)]
    no_background: bool,
    /// Go on behind this line: the second half of a crash
    #[arg(long, hide = true, value_name = "LINE")]
    resume_after: Option<usize>,
}

pub fn run(args: &ReplayArgs) -> Outcome {
    let name = args.history.display();
    let from_pipe = args.history.as_os_str() == "-";
    let text = if from_pipe {
        let mut text = String::new();
        stream::input()?.read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(&args.history)
    };
    let history = history::parse(&text.about(name)?)
        .map_err(|error| Failure::Said(format!("{}, {error}", args.history.display())))?;
    if from_pipe && history.iter().any(|line| line.op == Op::Crash) {
        let text = "a history with a crash in it has to be in a file, to be read on behind it";
        return Err(Failure::Usage(text.to_owned()));
    }
    args.writer.check_place()?;
    let mut replay = Replay { args, log: None };
    let opened = replay.open()?;
    if let Some(line) = args.resume_after {
        tell(line, "crash", &opened)?;
    }
    let done = args.resume_after.unwrap_or(0);
    for line in history.iter().filter(|line| line.number > done) {
        let what = replay.step(line).map_err(|failure| failed(line, failure))?;
        tell(line.number, &line.text, &what)?;
    }
    replay.close()
}

/// Says what became true, at once: whoever reads it may rely on it.
fn tell(number: usize, text: &str, what: &str) -> Outcome {
    let mut out = stream::raw();
    let told = writeln!(out, "{number}: {text}: {what}").and_then(|()| out.flush());
    match told {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Code(exit::PIPE)),
        told => Ok(told?),
    }
}

fn failed(line: &Line, failure: Failure) -> Failure {
    match failure {
        Failure::Said(text) => {
            Failure::Said(format!("line {}: `{}`: {text}", line.number, line.text))
        }
        other => {
            crate::stream::say!("cairn: line {}: `{}` failed", line.number, line.text);
            other
        }
    }
}

struct Replay<'a> {
    args: &'a ReplayArgs,
    log: Option<Log>,
}

impl Replay<'_> {
    fn open(&mut self) -> Outcome<String> {
        let options = open::options()?
            .segment_bytes(self.args.segment_bytes)
            .background(!self.args.no_background);
        let log = self.args.writer.open_quietly(options)?;
        let what = format!("opened {}", log.recovery());
        self.log = Some(log);
        Ok(what)
    }

    fn close(&mut self) -> Outcome {
        match self.log.take() {
            Some(log) => log.close().in_log(&self.args.writer.dir),
            None => Ok(()),
        }
    }

    fn log(&self) -> Outcome<&Log> {
        let closed = || Failure::Said("the log is closed; `reopen` comes first".to_owned());
        self.log.as_ref().ok_or_else(closed)
    }

    /// Runs an operation; gives what became true.
    fn step(&mut self, line: &Line) -> Outcome<String> {
        let dir = &self.args.writer.dir;
        Ok(match &line.op {
            Op::Append {
                size,
                seed,
                key,
                level,
            } => {
                let value = history::bytes(*size, *seed);
                let record = match key {
                    Some(key) => NewRecord::keyed(key, &value),
                    None => NewRecord::value(&value),
                };
                self.append(&[record], *level)?
            }
            Op::Tombstone { key, level } => self.append(&[NewRecord::tombstone(key)], *level)?,
            Op::Batch {
                count,
                size,
                seed,
                level,
            } => {
                let seeds = (0..u64::from(*count)).map(|number| seed.wrapping_add(number));
                let values: Vec<Vec<u8>> = seeds.map(|seed| history::bytes(*size, seed)).collect();
                let records: Vec<NewRecord<'_>> = values.iter().map(NewRecord::value).collect();
                self.append(&records, *level)?
            }
            Op::Sync => format!("durable below seq {}", self.log()?.sync().in_log(dir)?),
            Op::Rotate => {
                self.log()?.rotate().in_log(dir)?;
                "a new segment".to_owned()
            }
            Op::Maintain => match self.log()?.maintain().in_log(dir)? {
                Maintained::Nothing => "nothing to do".to_owned(),
                _ => "done".to_owned(),
            },
            Op::Trim(seq) => {
                self.log()?.trim(*seq).in_log(dir)?;
                format!("begins at seq {}", self.log()?.head_seq())
            }
            Op::Rewind(seq) => {
                self.log()?.rewind(*seq).in_log(dir)?;
                format!("next seq {}", self.log()?.next_seq())
            }
            Op::Close => {
                self.close()?;
                "closed".to_owned()
            }
            Op::Reopen => {
                self.close()?;
                self.open()?
            }
            Op::Crash => return Err(crash(line.number)),
            Op::Sleep(ms) => {
                thread::sleep(Duration::from_millis(*ms));
                "slept".to_owned()
            }
            _ => self.expect(&line.op)?,
        })
    }

    fn append(&self, records: &[NewRecord<'_>], level: Durability) -> Outcome<String> {
        let how = AppendOptions::new().durability(level);
        let seqs = self.log()?.append_records(records, &how);
        let seqs = seqs.in_log(&self.args.writer.dir)?;
        let word = format!("{level:?}").to_lowercase();
        Ok(if seqs.end - seqs.start == 1 {
            format!("seq {} {word}", seqs.start)
        } else {
            format!("seq {}..{} {word}", seqs.start, seqs.end)
        })
    }

    fn expect(&self, op: &Op) -> Outcome<String> {
        let (log, dir) = (self.log()?, &self.args.writer.dir);
        match op {
            Op::Expect { seq, size, seed } => {
                let found = self.get(*seq)?;
                let wanted = history::bytes(*size, *seed);
                match found {
                    Some(value) if value == wanted => Ok("holds".to_owned()),
                    Some(value) => Err(Failure::Said(format!(
                        "the record has {} bytes, and not these",
                        value.len()
                    ))),
                    None => Err(Failure::Said("there is no such record".to_owned())),
                }
            }
            Op::ExpectNone(seq) => match self.get(*seq)? {
                None => Ok("holds".to_owned()),
                Some(value) => Err(Failure::Said(format!("it has {} bytes", value.len()))),
            },
            Op::ExpectNext(seq) => same(*seq, log.next_seq()),
            Op::ExpectHead(seq) => same(*seq, log.head_seq()),
            Op::ExpectCount(count) => {
                let mut scan = log.reader().including_written().scan(..).in_log(dir)?;
                let mut found = 0;
                while let Some(record) = scan.next_ref() {
                    record.in_log(dir)?;
                    found += 1;
                }
                same(*count, found)
            }
            Op::ExpectVerdict(verdict) => same(verdict.clone(), log.recovery().verdict.to_string()),
            _ => Ok(String::new()),
        }
    }

    fn get(&self, seq: Seq) -> Outcome<Option<Vec<u8>>> {
        match self.log()?.reader().including_written().get(seq) {
            Ok(found) => Ok(found.map(|record| record.to_vec())),
            Err(error) if error.kind() == ErrorKind::Trimmed => Ok(None),
            Err(error) => Err(error).in_log(&self.args.writer.dir),
        }
    }
}

fn same<T: PartialEq + std::fmt::Display>(wanted: T, found: T) -> Outcome<String> {
    if wanted == found {
        Ok("holds".to_owned())
    } else {
        Err(Failure::Said(format!("it is {found}")))
    }
}

/// Becomes a fresh process that goes on behind the line. Comes back only if that fails.
#[cfg(unix)]
fn crash(line: usize) -> Failure {
    use std::os::unix::process::CommandExt;
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Failure::Io("crash".to_owned(), error),
    };
    let before = std::env::args_os().skip(1);
    let resume = format!("--resume-after={line}");
    let kept = before.filter(|arg| !arg.to_string_lossy().starts_with("--resume-after="));
    let error = std::process::Command::new(program)
        .args(kept)
        .arg(resume)
        .exec();
    Failure::Io("crash".to_owned(), error)
}

#[cfg(not(unix))]
fn crash(_: usize) -> Failure {
    Failure::Said("a process cannot crash and go on here".to_owned())
}
