//! The log store of a Raft node on three logs, as openraft 0.10 asks for it: the same calls, entries and callbacks, and
//! one loop that hands over.
//!
//! INVARIANTS: an append returns as soon as its entry can be read, and the callback comes when it survives power loss. What
//! a peer has no way for is done by as little as it takes; nothing is done for Cairn that its adapter does not do.

mod cairn;
#[cfg(feature = "raft-engine")]
mod raft_engine;
#[cfg(feature = "raft-log")]
mod raft_log;

use crate::{
    child::{Sample, Spec},
    engine::Payloads,
    jobs::sample,
    meter,
};
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use openraft::{
    EntryPayload, alias::EntryOf, entry::RaftEntry, storage::IOFlushed, type_config::TypeConfigExt,
    vote::RaftLeaderIdExt,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    collections::VecDeque,
    fmt, io,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

openraft::declare_raft_types!(pub Types: D = Bytes, R = ());

type Entry = EntryOf<Types>;
type Flushed = IOFlushed<Types>;

/// What an entry is of: bytes that go through serde as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(Vec<u8>);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        from.deserialize_bytes(Visitor)
    }
}

/// What is asked of a store here.
trait Store {
    /// Returns as soon as the entry can be read; calls back when it is durable.
    async fn append(&mut self, entry: Entry, flushed: Flushed) -> io::Result<()>;
}

/// An entry's index and payload, for who stores them apart.
fn parts(entry: Entry) -> (u64, Vec<u8>) {
    let index = entry.index();
    match entry.payload {
        EntryPayload::Normal(Bytes(bytes)) => (index, bytes),
        _ => (index, Vec::new()),
    }
}

pub fn run(spec: &Spec) -> Result<Sample> {
    match &*spec.engine {
        "cairn" => measure(spec, cairn::open(&spec.dir)?),
        #[cfg(feature = "raft-engine")]
        "raft-engine" => measure(spec, raft_engine::open(&spec.dir)?),
        #[cfg(feature = "raft-log")]
        "raft-log" => measure(spec, raft_log::open(&spec.dir, spec.threads)?),
        other => bail!("no store on `{other}` in this build"),
    }
}

fn measure<S: Store>(spec: &Spec, mut store: S) -> Result<Sample> {
    let (runtime, payloads) = (Runtime::new()?, Payloads::new(spec.payload_bytes));
    let mut next_index = 0;
    sample(spec, |time| {
        let going = keep_going(&mut store, &mut next_index, &payloads, spec.threads, time);
        runtime.block_on(tokio::task::unconstrained(going))
    })
}

/// Appends as long as there is time, and waits for the oldest whenever `depth` are on their way. How long each took.
async fn keep_going(
    store: &mut impl Store,
    next_index: &mut u64,
    payloads: &Payloads,
    depth: usize,
    time: Duration,
) -> Result<Histogram<u64>> {
    let mut latencies = meter::histogram()?;
    let mut on_their_way = VecDeque::with_capacity(depth);
    let leader = <Types as openraft::RaftTypeConfig>::LeaderId::new_committed(1, 1);
    let mut now = Instant::now();
    let deadline = now + time;
    while now < deadline || !on_their_way.is_empty() {
        if now < deadline && on_their_way.len() < depth {
            let entry = Entry {
                log_id: openraft::LogId::new(leader, *next_index),
                payload: EntryPayload::Normal(Bytes(payloads.at(*next_index).to_vec())),
            };
            let (done, told) = Types::oneshot();
            store.append(entry, Flushed::signal(done)).await?;
            on_their_way.push_back((now, told));
            *next_index += 1;
            now = Instant::now();
            continue;
        }
        let (start, told) = on_their_way.pop_front().context("none is on its way")?;
        told.await??;
        now = Instant::now();
        latencies.saturating_record((now - start).as_nanos() as u64);
    }
    Ok(latencies)
}
