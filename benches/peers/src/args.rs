//! The command line.

use anyhow::{Result, bail};
use lexopt::{Arg, Parser, ValueExt};
use std::path::PathBuf;

pub const HELP: &str = "\
cairn-peers: Cairn beside the logs that people know, on the same work, in the same run

  cargo run --release -p cairn-peers -- [options]

  --quick            short rounds: under 5 minutes, the same shape
  --workload W1..    only these: W1 to W18, growth
  --payload N..      only these payloads: 100, 1024, 16384
  --threads N..      only these numbers of threads
  --peers NAME..     only these, and cairn if it is among them: `--list` names them
  --rounds N         rounds of each measurement
  --seconds S        the time box of a durable measurement. Default: 0.6
  --disk NAME        this is another disk than that of the rest: its tables come last, under this name
  --dir DIR          where to measure; a real disk. Default: target/peers-data
  --strace           count the system calls of one short run of each durable row
  --list             who can be compared in this build, and how each is set up
  --render           write BENCHMARKS.md, the charts and the README's table again from
                     benches/results.json
  --out FILE         write the report here instead; results.json and charts go beside it
";

#[derive(Clone, Debug, Default)]
pub struct Args {
    pub quick: bool,
    pub strace: bool,
    pub list: bool,
    pub render: bool,
    pub help: bool,
    pub workloads: Vec<String>,
    pub payloads: Vec<usize>,
    pub threads: Vec<usize>,
    pub peers: Vec<String>,
    pub rounds: Option<usize>,
    pub seconds: Option<f64>,
    pub disk: Option<String>,
    pub dir: Option<PathBuf>,
    pub out: Option<PathBuf>,
    /// The spec of a child.
    pub child: Option<String>,
    /// For the process that reads along: the log, and how many records.
    pub follow: Option<(PathBuf, usize)>,
}

pub fn parse() -> Result<Args> {
    let mut args = Args::default();
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("quick") => args.quick = true,
            Arg::Long("strace") => args.strace = true,
            Arg::Long("list") => args.list = true,
            Arg::Long("render") => args.render = true,
            Arg::Short('h') | Arg::Long("help") => args.help = true,
            Arg::Long("workload") => args.workloads.extend(words(&mut parser)?),
            Arg::Long("peers") => args.peers.extend(words(&mut parser)?),
            Arg::Long("payload") => args.payloads.extend(numbers(&mut parser)?),
            Arg::Long("threads") => args.threads.extend(numbers(&mut parser)?),
            Arg::Long("rounds") => args.rounds = Some(parser.value()?.parse()?),
            Arg::Long("seconds") => args.seconds = Some(parser.value()?.parse()?),
            Arg::Long("disk") => args.disk = Some(parser.value()?.string()?),
            Arg::Long("dir") => args.dir = Some(parser.value()?.into()),
            Arg::Long("out") => args.out = Some(parser.value()?.into()),
            Arg::Value(word) if word == "child" => args.child = Some(parser.value()?.string()?),
            Arg::Value(word) if word == "follow" => {
                args.follow = Some((parser.value()?.into(), parser.value()?.parse()?));
            }
            other => bail!("{}\n\n{HELP}", other.unexpected()),
        }
    }
    Ok(args)
}

fn words(parser: &mut Parser) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for value in parser.values()? {
        words.extend(value.string()?.split(',').map(str::to_owned));
    }
    Ok(words)
}

fn numbers(parser: &mut Parser) -> Result<Vec<usize>> {
    words(parser)?
        .iter()
        .map(|word| Ok(word.parse()?))
        .collect()
}
