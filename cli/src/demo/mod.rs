//! `cairn demo`: what a log is for, shown on a real file. A process appends it and is killed in the
//! middle; what it had acknowledged has to be there, and nothing that was not in the file.

mod place;
mod source;
mod writer;

pub use writer::{WriterArgs, run as run_writer};

use crate::{
    bench::file_system,
    exit::{About, Failure, In, Outcome},
    input::{Framing, Input},
    keys, open, output,
    pipeline::Pipeline,
    stream,
};
use cairnlog::{Durability, Log, NewRecord, Seq};
use clap::Args;
use owo_colors::OwoColorize;
use place::{Place, random};
use source::Source;
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub const EXAMPLES: &str = "\
Without FILE it takes what the machine has: its package database and file lists, or other texts. It
leaves nothing behind, unless --dir says where: then the file, the log and its quarantine stay there.
Ends with 0 only if every check held.

Examples:
  cairn demo --records 5000
  cairn demo /etc/services
  cairn demo --records 5000 --dir demo && cairn stat demo/log";

/// The process is killed after this time at the latest.
const KILL_WITHIN: Duration = Duration::from_secs(2);
/// Records that are appended one by one, to show what waiting for each costs.
const ONE_BY_ONE: u64 = 200;

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// The file whose lines are appended
    file: Option<PathBuf>,
    /// Where to work, and to leave everything: a directory that is new or empty
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How many lines to take at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
}

pub fn run(args: &DemoArgs) -> Outcome {
    let started = Instant::now();
    let place = Place::new(args.dir.as_deref())?;
    let (input, dir) = (place.path.join("input"), place.path.join("log"));
    let source = source::collect(args.file.as_deref(), args.records, &input)?;
    let demo = Demo { input, dir, source };
    demo.introduce(&place)?;

    let acknowledged = demo.append_and_kill()?;
    let log = demo.open_again()?;
    let mut rest = demo.check_survivors(&log, &acknowledged)?;
    demo.append_one_by_one(&log, &mut rest)?;
    demo.append_rest(&log, &mut rest)?;
    let stats = log.stats();
    log.close().in_log(&demo.dir)?;
    drop(log);
    demo.read_back()?;
    demo.weigh(stats.frame_bytes)?;
    demo.verify()?;

    let time = output::duration(started.elapsed());
    say(&format!(
        "\n{} It took {time}.",
        "Every check held.".green()
    ))?;
    if !place.temporary {
        say(&format!("The log is in {}.", demo.dir.display()))?;
    }
    Ok(())
}

fn say(text: &str) -> Outcome {
    use std::io::Write;
    let mut out = stream::pretty();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn step(text: &str) -> Outcome {
    say(&format!("\n{}", text.bold()))
}

fn wrong(text: String) -> Failure {
    Failure::Said(format!("demo: a check failed: {text}"))
}

struct Demo {
    input: PathBuf,
    dir: PathBuf,
    source: Source,
}

/// The lines of the input that are not in the log yet.
struct Rest {
    input: Input,
    from: Seq,
}

impl Demo {
    fn introduce(&self, place: &Place) -> Outcome {
        let Source {
            name,
            line_count,
            byte_count,
        } = &self.source;
        let lines = output::counted(*line_count, "line");
        say(&format!(
            "input  {lines}, {} of {name}",
            output::bytes(*byte_count)
        ))?;
        let kind = file_system(&place.path);
        let on = kind
            .as_ref()
            .map(|kind| format!(" on {kind}"))
            .unwrap_or_default();
        say(&format!("log    {}{on}", self.dir.display()))?;
        if kind.is_some_and(|kind| kind == "tmpfs" || kind == "ramfs") {
            say("       that is memory, where a sync costs nothing; --dir can name a disk")?;
        }
        Ok(())
    }

    /// Lets a process append, and kills it at a random moment. Gives the seqs that it acknowledged.
    fn append_and_kill(&self) -> Outcome<Vec<Seq>> {
        step("1  A process appends line by line, and prints the seq of each once it is durable")?;
        let program = env::current_exe().about("the program itself")?;
        let mut child = Command::new(program)
            .arg("demo-writer")
            .args([&self.dir, &self.input])
            .envs(keys::file().map(|file| (keys::VARIABLE, file)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .about("starting a process")?;
        let Some(acks) = child.stdout.take() else {
            return Err(wrong("the process has no output".to_owned()));
        };
        let (started, lines) = (Instant::now(), self.source.line_count);
        // Somewhere between a tenth and seven tenths, and a moment that no group knows.
        let wanted = (lines / 10 + random(lines * 6 / 10 + 1)).max(1) as usize;
        let moment = Duration::from_micros(random(3_000));
        let mut acknowledged = Vec::new();
        let mut acks = BufReader::new(acks);
        let mut line = String::new();
        let mut killed = None;
        // Whatever it printed before it died counts, and is read to the end; half a line does not.
        while acks.read_line(&mut line).about("acknowledgements")? > 0 {
            if let Some(seq) = line.strip_suffix('\n') {
                let seq = seq
                    .parse()
                    .map_err(|_| wrong(format!("`{seq}` is no seq")))?;
                acknowledged.push(seq);
            }
            line.clear();
            let due = acknowledged.len() >= wanted || started.elapsed() >= KILL_WITHIN;
            if due && killed.is_none() {
                thread::sleep(moment);
                child.kill().about("killing the process")?;
                killed = Some(started.elapsed());
            }
        }
        let status = child.wait().about("the process")?;
        if killed.is_none() {
            let text = format!("the process ended by itself: {status}");
            return Err(wrong(text));
        }
        let time = killed.unwrap_or_default();
        let count = acknowledged.len() as u64;
        say(&format!(
            "   {} threads; killed with SIGKILL after {}, with {} acknowledged ({}/s)",
            writer::THREADS,
            output::duration(time),
            output::counted(count, "record").bold(),
            output::count(output::per_second(count, time))
        ))?;
        if status.success() {
            say("   (it had finished by then: a smaller input than this demo is made for)")?;
        }
        Ok(acknowledged)
    }

    fn open_again(&self) -> Outcome<Log> {
        step("2  The log is opened again")?;
        let started = Instant::now();
        let log = open::options()?
            .create(false)
            .open(&self.dir)
            .in_log(&self.dir)?;
        let recovery = log.recovery();
        say(&format!("   {recovery}"))?;
        let proven = recovery.next_seq - recovery.carried_count;
        say(&format!(
            "   the disk proves seq 0..{proven} durable; what was whole behind that was carried over"
        ))?;
        say(&format!("   in {}", output::duration(started.elapsed())))?;
        Ok(log)
    }

    /// Compares what is there with the start of the file; gives the rest of it.
    fn check_survivors(&self, log: &Log, acknowledged: &[Seq]) -> Outcome<Rest> {
        step("3  What it acknowledged is there, and nothing that was not in the file")?;
        let mut input = Input::new("demo", std::slice::from_ref(&self.input), Framing::Lines)?;
        let count = self.compare(&mut log.scan(..).in_log(&self.dir)?, &mut input)?;
        if count != log.next_seq() {
            let next_seq = log.next_seq();
            return Err(wrong(format!(
                "{count} records, and the next seq is {next_seq}"
            )));
        }
        let mut seen = acknowledged.to_vec();
        seen.sort_unstable();
        seen.dedup();
        if seen.len() != acknowledged.len() {
            return Err(wrong("a seq was acknowledged twice".to_owned()));
        }
        if let Some(lost) = seen.iter().find(|seq| **seq >= count) {
            return Err(wrong(format!(
                "seq {lost} was acknowledged and is not there"
            )));
        }
        say(&format!(
            "   the log holds exactly the first {} lines of the file, byte for byte, in order",
            output::count(count).bold()
        ))?;
        say(&format!(
            "   all {} acknowledged records are among them; {} more had reached the disk untold",
            output::count(seen.len() as u64).bold(),
            output::count(count - seen.len() as u64)
        ))?;
        Ok(Rest { input, from: count })
    }

    /// Compares records with lines, until the records end. Gives how many there were.
    fn compare(&self, scan: &mut cairnlog::Scan, input: &mut Input) -> Outcome<u64> {
        let (mut count, mut line) = (0, Vec::new());
        while let Some(record) = scan.next_ref() {
            let record = record.in_log(&self.dir)?;
            line.clear();
            if !input.read(&mut line)? {
                return Err(wrong(format!(
                    "seq {} is behind the end of the file",
                    record.seq
                )));
            }
            if record.seq != count || record.value != Some(&line) {
                return Err(wrong(format!(
                    "seq {} is not line {}",
                    record.seq,
                    count + 1
                )));
            }
            count += 1;
        }
        Ok(count)
    }

    fn append_one_by_one(&self, log: &Log, rest: &mut Rest) -> Outcome {
        step("4  The rest is appended")?;
        let (mut times, mut line) = (Vec::new(), Vec::new());
        let started = Instant::now();
        while (times.len() as u64) < ONE_BY_ONE {
            line.clear();
            if !rest.input.read(&mut line)? {
                break;
            }
            let before = Instant::now();
            log.append(&line).in_log(&self.dir)?;
            times.push(before.elapsed());
        }
        let (count, elapsed) = (times.len() as u64, started.elapsed());
        rest.from += count;
        times.sort_unstable();
        if let Some(median) = times.get(times.len() / 2) {
            say(&format!(
                "   {} one by one, each waiting for a sync of its own: {}/s, median {}",
                output::counted(count, "record"),
                output::count(output::per_second(count, elapsed)),
                output::duration(*median)
            ))?;
        }
        Ok(())
    }

    fn append_rest(&self, log: &Log, rest: &mut Rest) -> Outcome {
        let (before, started) = (log.stats(), Instant::now());
        let mut pipeline = Pipeline::start(log, self.dir.clone(), Durability::Durable, false)?;
        let mut line = Vec::new();
        loop {
            line.clear();
            if !rest.input.read(&mut line)? || !pipeline.submit(&[NewRecord::value(&line)], None)? {
                break;
            }
        }
        let (settled, outcome) = pipeline.finish();
        outcome?;
        let (stats, elapsed) = (log.stats(), started.elapsed());
        let count = settled.acknowledged.end - settled.acknowledged.start;
        let syncs = stats.sync_count - before.sync_count;
        say(&format!(
            "   {} by tickets, durable all the same: {}/s, {} for all of them",
            output::counted(count, "record"),
            output::count(output::per_second(count, elapsed)).bold(),
            output::counted(syncs, "sync")
        ))
    }

    fn read_back(&self) -> Outcome {
        step("5  All is read back and compared with the file")?;
        let started = Instant::now();
        let reader = open::read_only(&self.dir)?;
        let mut input = Input::new("demo", std::slice::from_ref(&self.input), Framing::Lines)?;
        let count = self.compare(&mut reader.scan(..).in_log(&self.dir)?, &mut input)?;
        let (elapsed, lines) = (started.elapsed(), self.source.line_count);
        if count != lines {
            return Err(wrong(format!("{count} records of {lines} lines")));
        }
        say(&format!(
            "   {} and {}, identical, each verified: {}/s",
            output::counted(count, "record"),
            output::bytes(self.source.byte_count),
            output::count(output::per_second(count, elapsed))
        ))
    }

    fn weigh(&self, frame_bytes: u64) -> Outcome {
        let (lines, payload) = (self.source.line_count, self.source.byte_count);
        let framing = frame_bytes.saturating_sub(payload);
        say(&format!(
            "   on disk {} for {} of lines: {:.1} bytes of framing a record",
            output::bytes(frame_bytes),
            output::bytes(payload),
            framing as f64 / lines as f64
        ))
    }

    fn verify(&self) -> Outcome {
        let report = open::options()?.verify(&self.dir).in_log(&self.dir)?;
        if report.health() != cairnlog::Health::Clean {
            let findings = report.findings.first().map(ToString::to_string);
            return Err(wrong(findings.unwrap_or_default()));
        }
        say(&format!("   `cairn verify`: clean, {}", kept(&self.dir)))
    }
}

/// What recovery left in quarantine.
fn kept(dir: &Path) -> String {
    let entries = fs::read_dir(dir.join(cairnlog::format::names::QUARANTINE));
    let sizes = entries.into_iter().flatten();
    let sizes = sizes.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    match sizes.sum::<u64>() {
        0 => "nothing had to be cut".to_owned(),
        bytes => format!("{} that were cut are in quarantine", output::bytes(bytes)),
    }
}
