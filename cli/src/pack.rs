//! `cairn pack`: the same records in fewer bytes.

use crate::{
    compact::{Rate, Rewritten, rate, rewrite},
    exit::Outcome,
    open::{self, WriterArgs},
    output, stream,
};
use cairnlog::{Compression, PackOptions};
use clap::{Args, ValueEnum};

pub const EXAMPLES: &str = "\
Writes each sealed segment anew with its records packed by a codec. Seqs, payloads, keys and times stay
as they are, and every reader that has the codec reads on. What gains less than an eighth stays as it
is. Only sealed segments are packed; --rotate seals the one being written first.

It can be interrupted or killed at any moment, and goes on where it ended when it is run again.

Examples:
  cairn pack orders.log --rotate
  cairn pack orders.log --rotate --codec zstd --rate none
  cairn pack orders.log --json";

#[derive(Args, Debug)]
pub struct PackArgs {
    #[command(flatten)]
    writer: WriterArgs,
    /// What to pack with: lz4 is quicker to read, zstd smaller
    #[arg(long, value_name = "CODEC", default_value = "lz4")]
    codec: Codec,
    /// Bytes to read and write in a second, together, or `none`: as fast as it can
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = rate)]
    rate: Rate,
    /// Seal the segment that is being written first, so that it is packed too
    #[arg(long)]
    rotate: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Codec {
    Lz4,
    Zstd,
}

pub fn run(args: &PackArgs) -> Outcome {
    let dir = &args.writer.dir;
    let codec = match args.codec {
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    };
    let how = PackOptions::new(codec).rate_bytes_per_s(args.rate.0);
    let log = args.writer.open(open::existing()?)?;
    let done = rewrite(log, dir, args.rotate, "pack", |log, progress| {
        log.pack_with(&how, progress)
    })?;
    tell(args, &done)
}

fn tell(args: &PackArgs, done: &Rewritten) -> Outcome {
    let sealed_bytes = done.stats.sealed_bytes;
    stream::report(args.json.then(|| done.json()), |out| {
        if done.report.segments_before > 0 {
            writeln!(out, "packed {}", done.text())
        } else if sealed_bytes == 0 {
            writeln!(
                out,
                "pack: no segment is sealed yet; --rotate seals the one that is being written"
            )
        } else {
            let (sealed, time) = (output::bytes(sealed_bytes), output::duration(done.elapsed));
            writeln!(out, "pack: nothing to gain in {sealed}, in {time}")
        }
    })
}
