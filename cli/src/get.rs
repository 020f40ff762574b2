//! `cairn get`: single records, by their seqs.

use crate::{
    exit::{Failure, In, Outcome},
    open,
    show::{self, EndArgs, ShowArgs},
    stream,
};
use cairnlog::{ErrorKind, Seq};
use clap::Args;
use std::{io::Write, path::PathBuf};

pub const EXAMPLES: &str = "\
Takes no lock and writes nothing. A seq whose record is not there, or not any more, is said on standard
error; the others are shown, and it ends with 1.

Examples:
  cairn get orders.log 7
  cairn get orders.log 7 5 900 --json
  cairn get orders.log 7 --format hex";

#[derive(Args, Debug)]
pub struct GetArgs {
    /// The directory of the log
    dir: PathBuf,
    /// The seqs, in the order in which they are to be shown
    #[arg(required = true, value_name = "SEQ")]
    seqs: Vec<Seq>,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    end: EndArgs,
}

pub fn run(args: &GetArgs) -> Outcome {
    let mut show = args.show.start()?;
    let reader = args.end.reader(open::read_only(&args.dir)?, true);
    let mut out = stream::raw();
    let (mut missing, mut failed) = (Vec::new(), Ok(()));
    for seq in &args.seqs {
        match reader.get(*seq) {
            Ok(Some(record)) => show.record(&mut out, &show::lend(&record))?,
            Ok(None) if *seq >= reader.end_seq() => {
                missing.push(format!("seq {seq} is not there yet"));
            }
            Ok(None) => missing.push(format!("seq {seq} was compacted or rewound away")),
            Err(error) if error.kind() == ErrorKind::Trimmed => {
                let head_seq = reader.head_seq();
                missing.push(format!(
                    "seq {seq} was dropped; the oldest record kept is seq {head_seq}"
                ));
            }
            // The others may be readable all the same.
            Err(error) => failed = failed.and(Err(error).in_log(&args.dir)),
        }
    }
    out.flush()?;
    failed?;
    match missing.is_empty() {
        true => Ok(()),
        false => {
            let text = missing.join("; ");
            Err(Failure::Said(format!("{}: {text}", args.dir.display())))
        }
    }
}
