//! What goes over the wire: a length in four bytes, little-endian, and a value in postcard.

use crate::Types;
use openraft_09::{
    error::{InstallSnapshotError, RaftError},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest,
        InstallSnapshotResponse, VoteRequest, VoteResponse,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const BYTES_MAX: u32 = 64 << 20;

/// Gives a key a value.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Put {
    pub key: String,
    pub value: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub enum Call {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<u64>),
    Snapshot(InstallSnapshotRequest<Types>),
    Put(Put),
    Get(String),
    Leader,
}

#[derive(Debug, Deserialize, Serialize)]
pub enum Reply {
    Append(Result<AppendEntriesResponse<u64>, RaftError<u64>>),
    Vote(Result<VoteResponse<u64>, RaftError<u64>>),
    Snapshot(Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>>),
    /// The value is durable on most nodes.
    Done,
    Value(Option<String>),
    /// Nothing is known of what became of the call; this node leads, as far as that is known.
    Leader(Option<u64>),
}

pub async fn send(to: &mut (impl AsyncWrite + Unpin), what: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    bytes.extend(postcard::to_allocvec(what).map_err(io::Error::other)?);
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    to.write_all(&bytes).await
}

pub async fn receive<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = from.read_u32_le().await?;
    if length > BYTES_MAX {
        return Err(io::Error::other("longer than anything that is sent"));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes).await?;
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}
