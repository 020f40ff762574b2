//! What goes over the wire: a length in four bytes, little-endian, and a value in postcard.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

#[cfg(feature = "openraft-09")]
pub use v09::*;
#[cfg(not(feature = "openraft-09"))]
pub use v010::*;

#[cfg(feature = "openraft-09")]
mod v09 {
    use openraft_09::{
        error::{InstallSnapshotError, RaftError},
        raft::{
            AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest,
            InstallSnapshotResponse, VoteRequest, VoteResponse,
        },
    };

    openraft_09::declare_raft_types!(pub Types: D = super::Put, R = (), SnapshotData = std::io::Cursor<Vec<u8>>);

    pub type Append = AppendEntriesRequest<Types>;
    pub type Appended = Result<AppendEntriesResponse<u64>, RaftError<u64>>;
    pub type Vote = VoteRequest<u64>;
    pub type Voted = Result<VoteResponse<u64>, RaftError<u64>>;
    /// A piece of one.
    pub type Install = InstallSnapshotRequest<Types>;
    pub type Installed = Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>>;
}

#[cfg(not(feature = "openraft-09"))]
mod v010 {
    use openraft_010::{
        alias::{SnapshotMetaOf, VoteOf},
        raft::{
            AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest,
            VoteResponse,
        },
    };

    openraft_010::declare_raft_types!(pub Types: D = super::Put, R = ());

    pub type Append = AppendEntriesRequest<Types>;
    pub type Appended = Result<AppendEntriesResponse<Types>, String>;
    pub type Vote = VoteRequest<Types>;
    pub type Voted = Result<VoteResponse<Types>, String>;
    /// All of one.
    pub type Install = (VoteOf<Types>, SnapshotMetaOf<Types>, Vec<u8>);
    pub type Installed = Result<SnapshotResponse<Types>, String>;
}

const BYTES_MAX: u32 = 64 << 20;

/// Gives a key a value.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Put {
    pub key: String,
    pub value: String,
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key, self.value)
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub enum Call {
    Append(Append),
    Vote(Vote),
    Install(Install),
    Put(Put),
    Get(String),
    Leader,
}

#[derive(Debug, Deserialize, Serialize)]
pub enum Reply {
    Appended(Appended),
    Voted(Voted),
    Installed(Installed),
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
