//! One node of a replicated key-value store: `kv ID DIR ADDRESS...`, where the addresses are those of nodes 1, 2, 3.
//!
//! Start three and kill whichever you like:
//!
//! ```sh
//! cargo build -p cairnlog-openraft --example kv
//! for id in 1 2 3; do target/debug/examples/kv $id /tmp/kv-$id 127.0.0.1:7001 127.0.0.1:7002 127.0.0.1:7003 & done
//! ```
//!
//! What a node is told goes over TCP, each call and each reply with its length before it (`wire`). The log, the vote and the note of
//! the newest snapshot are in a Cairn log; the state is in memory, and in a snapshot from time to time (`machine`). What the
//! versions of openraft ask of the two is apart: 0.9 in `v09.rs`; 0.10 in `v010.rs`, with
//! `--no-default-features --features openraft-010`.

mod machine;
mod network;
#[cfg_attr(feature = "openraft-09", path = "v09.rs")]
#[cfg_attr(not(feature = "openraft-09"), path = "v010.rs")]
mod version;
mod wire;

use machine::Machine;
use network::Network;
use std::{collections::BTreeMap, env, io, path::PathBuf, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use version::{
    BasicNode, Config, LogStore, Node, SYNC_COMMITTED, SnapshotPolicy, install, is_up_to_date,
    safe, told,
};
use wire::{Call, Reply, Types, receive, send};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = env::args().skip(1);
    let id: u64 = args.next().ok_or("which node?")?.parse()?;
    let dir = PathBuf::from(args.next().ok_or("which directory?")?);
    let addresses: BTreeMap<u64, BasicNode> = (1..).zip(args.map(BasicNode::new)).collect();
    let own = addresses
        .get(&id)
        .ok_or("no address of this node")?
        .addr
        .clone();
    std::fs::create_dir_all(&dir)?;

    let store = LogStore::<Types>::open(dir.join("raft.log"))?.sync_committed(SYNC_COMMITTED);
    let machine = Machine::open(&dir, store.reader())?;
    let config = Config {
        heartbeat_interval: 100,
        election_timeout_min: 300,
        election_timeout_max: 600,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(500),
        max_in_snapshot_log_to_keep: 100,
        ..Config::default()
    };
    let config = Arc::new(safe(config).validate()?);
    let node = Node::new(id, config, Network, store, machine.clone()).await?;
    if id == 1 && !node.is_initialized().await? {
        node.initialize(addresses).await?;
    }
    let listener = TcpListener::bind(own).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (node, machine) = (node.clone(), machine.clone());
        tokio::spawn(async move { serve(stream, &node, &machine).await });
    }
}

/// Answers one connection until it ends.
async fn serve(mut stream: TcpStream, node: &Node, machine: &Machine) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let reply = answer(receive(&mut stream).await?, node, machine).await;
        send(&mut stream, &reply).await?;
    }
}

async fn answer(call: Call, node: &Node, machine: &Machine) -> Reply {
    let done = match call {
        Call::Append(request) => return Reply::Appended(told(node.append_entries(request).await)),
        Call::Vote(request) => return Reply::Voted(told(node.vote(request).await)),
        Call::Install(request) => return Reply::Installed(install(node, request).await),
        Call::Put(put) => node.client_write(put).await.is_ok().then_some(Reply::Done),
        Call::Get(key) if is_up_to_date(node).await => Some(Reply::Value(machine.get(&key))),
        Call::Get(_) | Call::Leader => None,
    };
    match done {
        Some(reply) => reply,
        None => Reply::Leader(node.current_leader().await),
    }
}
