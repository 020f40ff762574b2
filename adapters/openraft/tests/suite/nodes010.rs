//! Three nodes of 0.10 in one process, whose calls to each other take a while.

use crate::{
    gated::Gated,
    machine010::{Machine, Types},
};
use cairnlog::{
    Log, Postcard,
    vfs::{Vfs, sim::SimFs},
};
use cairnlog_openraft::v010::{LogReader, LogStore};
use openraft_010::{
    BasicNode, Config, OptionalSend, Raft, RaftNetworkFactory,
    alias::{LogIdOf, SnapshotOf, VoteOf},
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};
use std::{
    collections::BTreeMap,
    future::Future,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{sleep, timeout};

type Node = Raft<Types, Machine>;
pub type LogId = LogIdOf<Types>;

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// How long a call is on its way.
pub const WAY: Duration = Duration::from_millis(50);

/// The nodes that run, by their ids.
#[derive(Clone, Default)]
pub struct Nodes(Arc<Mutex<BTreeMap<u64, Node>>>);

/// The way to one of them.
pub struct Peer(Nodes, u64);

impl Nodes {
    pub fn get(&self, id: u64) -> Option<Node> {
        self.0.lock().unwrap().get(&id).cloned()
    }

    /// Starts a node on what is in its log.
    pub async fn start(&self, id: u64, disk: Arc<dyn Vfs>, how: How) -> LogReader<Types> {
        let log = Log::options().vfs(disk).open("/log").unwrap();
        let store = LogStore::<Types>::new(log, Postcard).unwrap();
        let store = store.sync_committed(how.syncs_committed);
        // The first asks first for votes; where it is to lead on it is back long before the others miss it.
        let patience = if how.restores { 5000 } else { 600 };
        let least = if id == 1 { 300 } else { patience + id * 100 };
        let config = Config {
            heartbeat_interval: 100,
            election_timeout_min: least,
            election_timeout_max: least + 100,
            enable_leader_restore: Some(how.restores),
            ..Config::default()
        };
        let reader = store.reader();
        let config = Arc::new(config.validate().unwrap());
        let node = Node::new(id, config, self.clone(), store, Machine::default()).await;
        self.0.lock().unwrap().insert(id, node.unwrap());
        reader
    }

    /// Has something written by whoever leads.
    pub async fn put(&self, what: &str) -> LogId {
        let tried = async {
            for id in (1..=3).cycle() {
                let Some(node) = self.get(id) else { continue };
                match timeout(PATIENCE / 4, node.client_write(what.to_owned())).await {
                    Ok(Ok(done)) => return done.log_id,
                    _ => sleep(WAY).await,
                }
            }
            unreachable!()
        };
        timeout(PATIENCE, tried).await.expect("a leader")
    }

    /// As if the process of the first node had been killed.
    pub async fn kill_first(&self, gated: &Gated) -> SimFs {
        let node = self.0.lock().unwrap().remove(&1).unwrap();
        let disk = gated.disk.kill();
        gated.release();
        node.shutdown().await.ok();
        disk
    }
}

/// How a node runs.
#[derive(Clone, Copy)]
pub struct How {
    pub restores: bool,
    pub syncs_committed: bool,
}

impl RaftNetworkFactory<Types> for Nodes {
    type Network = Peer;

    async fn new_client(&mut self, id: u64, _: &BasicNode) -> Peer {
        Peer(self.clone(), id)
    }
}

impl Peer {
    async fn node(&self) -> Result<Node, Unreachable<Types>> {
        sleep(WAY).await;
        let gone = || Unreachable::new(&io::Error::other("it does not run"));
        self.0.get(self.1).ok_or_else(gone)
    }
}

fn failed(error: impl std::error::Error + 'static) -> Unreachable<Types> {
    Unreachable::new(&io::Error::other(error.to_string()))
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = self.node().await?.append_entries(request).await;
        Ok(answer.map_err(failed)?)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.node().await?.vote(request).await.map_err(failed)?)
    }

    async fn full_snapshot(
        &mut self,
        _: VoteOf<Types>,
        _: SnapshotOf<Types, Vec<u8>>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(failed(io::Error::other("there are none")).into())
    }
}
