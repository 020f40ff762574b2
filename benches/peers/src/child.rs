//! One measurement in a process of its own, so that no engine disturbs another and memory is exact.
//!
//! The parent hands a `Spec` over as JSON and reads one line of JSON, a `Sample`, back.
//!
//! Called by the runner; calls the jobs.

use crate::{corpus::Text, engine::Values, jobs};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// Appends that are durable when they return, one record or `group` at a time.
    Durable,
    /// The same, and what is old is let go after each 12 MiB.
    Checkpoints,
    /// Appends of the cheapest mode, then one sync.
    Buffered,
    /// Appends of one write each, then one sync.
    Written,
    /// One durable record in a new log, for the space that it takes.
    Fresh,
    /// Fills a log that others open and read, and closes it.
    Fill,
    /// The same, and is killed.
    FillAndDie,
    /// Opens after a clean close.
    Open,
    /// The same, scans, gets.
    Read,
    /// Opens after a kill, appends a little, and is killed.
    OpenKilled,
    /// One durable writer, `threads` readers.
    Mixed,
    /// A tail that waits in another thread.
    TailHere,
    /// A tail that waits in another process.
    TailElsewhere,
    /// A compaction, beside a copy and beside appends.
    Compact,
    /// Jobs that are put, taken and acknowledged, by `threads` workers.
    Queue,
    /// Acknowledgements by `threads` consumers, beside durable appends by as many threads.
    Acknowledge,
    /// A scan and a verification by one thread, and by `threads`.
    Parallel,
    /// Fills a log with text, and has it packed.
    FillText,
    /// What that takes, and a scan of it.
    ReadText,
    /// Packing as fast as it goes beside the bare codec, and at the default rate beside appends.
    Pack,
    /// Durable appends that are handed over, `threads` of them on their way at a time.
    Submit,
    /// The same of the log store of a Raft node.
    Store,
    /// `size` logs that one process has open, used once, and at rest.
    Many,
    /// Makes a log of `size` segments.
    BuildSegments,
    /// What each thing costs in a log that is there.
    Costs,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub job: Job,
    pub engine: String,
    pub payload_bytes: usize,
    pub threads: usize,
    /// Records that share a sync because they are handed over together.
    pub group: usize,
    pub seconds: f64,
    /// The most bytes of payload.
    pub bytes_max: u64,
    /// Segments of a log that is made.
    pub size: u64,
    /// What records are of, where they are text.
    pub text: Option<Text>,
    pub dir: PathBuf,
}

/// What came out of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    pub values: Values,
    /// Latencies, for those that have them: upper bounds in microseconds, and how many were at or below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latencies: Vec<(f64, u64)>,
}

/// After so long a child gives up: in one that has many readers, a writer may never get its turn.
const TIME_MAX: Duration = Duration::from_secs(180);

/// The child's side.
pub fn run(spec: &str) -> Result<()> {
    let spec: Spec = serde_json::from_str(spec)?;
    std::thread::spawn(|| {
        std::thread::sleep(TIME_MAX);
        eprintln!("not done after {TIME_MAX:?}");
        std::process::exit(1);
    });
    let sample = jobs::run(&spec)?;
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}

/// The parent's side: what the child of this spec measured. `under` is a command to start it by.
pub fn measure(spec: &Spec, under: &[String]) -> Result<Sample> {
    let this = std::env::current_exe()?;
    let mut words = under
        .iter()
        .map(String::as_str)
        .map(std::ffi::OsStr::new)
        .collect::<Vec<_>>();
    words.push(this.as_os_str());
    let text = serde_json::to_string(spec)?;
    let output = Command::new(words[0])
        .args(&words[1..])
        .args(["child", &text])
        .env("WALRUS_QUIET", "1")
        .env("WALRUS_DATA_DIR", &spec.dir)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("could not start a child")?;
    // Engines print what they like; the sample is the last line of all.
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(line) = text
        .lines()
        .rev()
        .find(|line| line.starts_with("{\"values\""))
    {
        return Ok(serde_json::from_str(line)?);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().rev().take(5).collect::<Vec<_>>().join(" / ");
    bail!("{} {:?}: {}: {last}", spec.engine, spec.job, output.status)
}
