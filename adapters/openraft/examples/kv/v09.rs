//! What openraft 0.9 asks of the state and of the network.

use crate::{
    machine::Machine,
    network::{Network, Peer, unasked},
    wire::{Call, Install, Installed, Reply, Types},
};
pub use cairnlog_openraft::v09::{LogReader, LogStore};
pub use openraft_09::{BasicNode, Config, EntryPayload, SnapshotPolicy};
use openraft_09::{
    ErrorSubject, ErrorVerb, OptionalSend, Raft, RaftNetwork, RaftNetworkFactory,
    RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError, StoredMembership,
    error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest,
        InstallSnapshotResponse, VoteRequest, VoteResponse,
    },
    storage::RaftStateMachine,
};
use std::{
    error::Error,
    io::{self, Cursor},
    time::Duration,
};

pub type Node = Raft<Types>;
pub type Entry = openraft_09::Entry<Types>;
pub type LogId = openraft_09::LogId<u64>;
pub type Members = StoredMembership<u64, BasicNode>;
pub type Meta = SnapshotMeta<u64, BasicNode>;

type Failure = StorageError<u64>;

/// Nothing has to be different.
pub fn safe(config: Config) -> Config {
    config
}

/// A leader that comes back leads on, and has to know what it had committed: else it answers a get with an older state.
pub const SYNC_COMMITTED: bool = true;

/// What is told of a call, as it goes over the wire.
pub fn told<T, E>(outcome: Result<T, E>) -> Result<T, E> {
    outcome
}

pub async fn install(node: &Node, request: Install) -> Installed {
    node.install_snapshot(request).await
}

/// Whether the state is at least as new as when this was called.
pub async fn is_up_to_date(node: &Node) -> bool {
    node.ensure_linearizable().await.is_ok()
}

fn failed(verb: ErrorVerb) -> impl FnOnce(io::Error) -> Failure {
    move |error| StorageError::from_io_error(ErrorSubject::Snapshot(None), verb, error)
}

fn snapshot((meta, bytes): (Meta, Vec<u8>)) -> Snapshot<Types> {
    let snapshot = Box::new(Cursor::new(bytes));
    Snapshot { meta, snapshot }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        let state = self.state().map_err(failed(ErrorVerb::Write))?;
        let (last_log_id, last_membership, bytes) = state;
        let index = last_log_id.map_or(0, |log_id| log_id.index);
        let meta = Meta {
            last_log_id,
            last_membership,
            snapshot_id: format!("{index:020}"),
        };
        let kept = self.keep(&meta, &bytes).await;
        kept.map_err(failed(ErrorVerb::Write))?;
        Ok(snapshot((meta, bytes)))
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Members), Failure> {
        Ok(self.applied())
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, Failure>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter();
        Ok(entries.map(|entry| Self::apply(self, entry)).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Failure> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), Failure> {
        let bytes = snapshot.into_inner();
        let kept = self.keep(meta, &bytes).await;
        kept.map_err(failed(ErrorVerb::Write))?;
        self.become_snapshot(meta, &bytes)
            .map_err(failed(ErrorVerb::Read))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        let newest = self.newest().map_err(failed(ErrorVerb::Read))?;
        Ok(newest.map(snapshot))
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, id: u64, node: &BasicNode) -> Peer {
        Peer::new(id, &node.addr)
    }
}

type Unanswered<E> = RPCError<u64, BasicNode, E>;

impl Peer {
    async fn ask<T, E: Error>(
        &mut self,
        call: Call,
        time: Duration,
        reply: impl Fn(Reply) -> Option<Result<T, E>>,
    ) -> Result<T, Unanswered<E>> {
        let answer = self.call(call, time).await;
        let answer = answer.map_err(|it| Unanswered::Unreachable(Unreachable::new(&it)))?;
        let told = reply(answer).ok_or_else(|| NetworkError::new(&unasked()))?;
        told.map_err(|error| Unanswered::RemoteError(RemoteError::new(self.id, error)))
    }
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Unanswered<RaftError<u64>>> {
        let reply = |reply| match reply {
            Reply::Appended(told) => Some(told),
            _ => None,
        };
        self.ask(Call::Append(request), option.hard_ttl(), reply)
            .await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Unanswered<RaftError<u64>>> {
        let reply = |reply| match reply {
            Reply::Voted(told) => Some(told),
            _ => None,
        };
        self.ask(Call::Vote(request), option.hard_ttl(), reply)
            .await
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Unanswered<RaftError<u64, InstallSnapshotError>>>
    {
        let reply = |reply| match reply {
            Reply::Installed(told) => Some(told),
            _ => None,
        };
        self.ask(Call::Install(request), option.hard_ttl(), reply)
            .await
    }
}
