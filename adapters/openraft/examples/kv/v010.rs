//! What openraft 0.10 asks of the state and of the network.

use crate::{
    machine::Machine,
    network::{Network, Peer, unasked},
    wire::{Call, Install, Installed, Reply, Types},
};
pub use cairnlog_openraft::v010::{LogReader, LogStore};
use futures_util::{Stream, TryStreamExt};
pub use openraft_010::{BasicNode, Config, EntryPayload, SnapshotPolicy};
use openraft_010::{
    OptionalSend, Raft, RaftNetworkFactory, RaftSnapshotBuilder, ReadPolicy, Snapshot,
    alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
    storage::{EntryResponder, RaftStateMachine},
};
use std::{future::Future, io, time::Duration};

pub type Node = Raft<Types, Machine>;
pub type Entry = EntryOf<Types>;
pub type LogId = LogIdOf<Types>;
pub type Members = StoredMembershipOf<Types>;
pub type Meta = SnapshotMetaOf<Types>;

type Bytes = SnapshotOf<Types, Vec<u8>>;

/// A leader that comes back is elected anew. By default it leads on at once: with a state that may be older than what it
/// acknowledged, and without entries that others have of it, whose log ids it then gives to others.
pub fn safe(config: Config) -> Config {
    Config {
        enable_leader_restore: Some(false),
        ..config
    }
}

/// What the store has to do besides.
pub const SYNC_COMMITTED: bool = false;

/// What is told of a call, as it goes over the wire.
pub fn told<T>(outcome: Result<T, impl ToString>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

pub async fn install(node: &Node, (vote, meta, snapshot): Install) -> Installed {
    let snapshot = Snapshot { meta, snapshot };
    told(node.install_full_snapshot(vote, snapshot).await)
}

/// Whether the state is at least as new as when this was called.
pub async fn is_up_to_date(node: &Node) -> bool {
    node.ensure_linearizable(ReadPolicy::ReadIndex)
        .await
        .is_ok()
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Bytes> {
        let (last_log_id, last_membership, snapshot) = self.state()?;
        let meta = Meta {
            last_log_id,
            last_membership,
        };
        self.keep(&meta, &snapshot).await?;
        Ok(Snapshot { meta, snapshot })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Members)> {
        Ok(self.applied())
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            Self::apply(self, entry);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Vec<u8>) -> io::Result<()> {
        self.keep(meta, &snapshot).await?;
        self.become_snapshot(meta, &snapshot)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Bytes>> {
        let newest = self.newest()?;
        Ok(newest.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, id: u64, node: &BasicNode) -> Peer {
        Peer::new(id, &node.addr)
    }
}

impl Peer {
    async fn ask<T>(
        &mut self,
        call: Call,
        time: Duration,
        reply: impl Fn(Reply) -> Option<Result<T, String>>,
    ) -> Result<T, RPCError<Types>> {
        let answer = self.call(call, time).await;
        let answer = answer.map_err(|error| Unreachable::new(&error))?;
        let told = reply(answer).ok_or_else(|| NetworkError::new(&unasked()))?;
        let of = |error| format!("node {}: {error}", self.id);
        Ok(told.map_err(|error| NetworkError::from_string(of(error)))?)
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let reply = |reply| match reply {
            Reply::Appended(told) => Some(told),
            _ => None,
        };
        self.ask(Call::Append(request), option.hard_ttl(), reply)
            .await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let reply = |reply| match reply {
            Reply::Voted(told) => Some(told),
            _ => None,
        };
        self.ask(Call::Vote(request), option.hard_ttl(), reply)
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: Bytes,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let reply = |reply| match reply {
            Reply::Installed(told) => Some(told),
            _ => None,
        };
        let call = Call::Install((vote, snapshot.meta, snapshot.snapshot));
        let asked = self.ask(call, option.hard_ttl(), reply).await;
        asked.map_err(|error| match error {
            RPCError::Unreachable(error) => error.into(),
            other => NetworkError::from_string(other).into(),
        })
    }
}
