//! What one node has to say to another: a connection that is made when it is needed, and anew after an error.

use crate::{
    Types,
    wire::{Call, Reply, receive, send},
};
use openraft_09::{
    BasicNode, RaftNetwork, RaftNetworkFactory,
    error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest,
        InstallSnapshotResponse, VoteRequest, VoteResponse,
    },
};
use std::{error::Error, io, time::Duration};
use tokio::{net::TcpStream, time::timeout};

type Failure<E> = RPCError<u64, BasicNode, E>;

pub struct Network;

pub struct Peer {
    id: u64,
    address: String,
    stream: Option<TcpStream>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, id: u64, node: &BasicNode) -> Peer {
        let address = node.addr.clone();
        Peer {
            id,
            address,
            stream: None,
        }
    }
}

impl Peer {
    async fn exchange(&mut self, call: &Call) -> io::Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(&self.address).await?,
        };
        stream.set_nodelay(true)?;
        send(&mut stream, call).await?;
        let reply = receive(&mut stream).await?;
        // Kept only now: a call that was given up leaves a reply behind.
        self.stream = Some(stream);
        Ok(reply)
    }

    async fn call<T, E: Error>(
        &mut self,
        call: Call,
        time: Duration,
        reply: impl Fn(Reply) -> Option<Result<T, E>>,
    ) -> Result<T, Failure<E>> {
        let exchanged = timeout(time, self.exchange(&call)).await;
        let exchanged = exchanged.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let answer = exchanged.map_err(|error| Failure::Unreachable(Unreachable::new(&error)))?;
        let told = reply(answer).ok_or_else(|| {
            let error = io::Error::other("an answer to something else");
            Failure::Network(NetworkError::new(&error))
        })?;
        told.map_err(|error| Failure::RemoteError(RemoteError::new(self.id, error)))
    }
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure<RaftError<u64>>> {
        let reply = |reply| match reply {
            Reply::Append(told) => Some(told),
            _ => None,
        };
        self.call(Call::Append(request), option.hard_ttl(), reply)
            .await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failure<RaftError<u64>>> {
        let reply = |reply| match reply {
            Reply::Vote(told) => Some(told),
            _ => None,
        };
        self.call(Call::Vote(request), option.hard_ttl(), reply)
            .await
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<RaftError<u64, InstallSnapshotError>>> {
        let reply = |reply| match reply {
            Reply::Snapshot(told) => Some(told),
            _ => None,
        };
        self.call(Call::Snapshot(request), option.hard_ttl(), reply)
            .await
    }
}
