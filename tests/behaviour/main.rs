//! What an application may rely on, question by question, mostly on the real file system.

mod beside;
mod closing;
mod errors;
mod full;
#[path = "../common/gated.rs"]
mod gated;
mod latencies;
mod levels;
mod printed;
mod producers;
mod queue;
mod reopen;
mod split;
mod strangers;
mod threads;
mod trim_rewind;
#[path = "../common/unchanged.rs"]
mod unchanged;
mod under_way;

use cairnlog::{Log, Options, vfs::sim::SimFs};
use std::sync::Arc;

/// A simulated disk and the options to open a log on it, without threads.
fn sim() -> (SimFs, Options) {
    let disk = SimFs::new(1);
    let options = Log::options()
        .vfs(Arc::new(disk.clone()))
        .background(false)
        .segment_bytes(1024);
    (disk, options)
}

/// The values of all records, as text.
fn values(log: &Log) -> Vec<String> {
    let text = |record: cairnlog::Result<cairnlog::Record>| {
        String::from_utf8(record.unwrap().to_vec()).unwrap()
    };
    log.scan(..).unwrap().map(text).collect()
}
