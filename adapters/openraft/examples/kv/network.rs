//! What one node has to say to another: a connection that is made when it is needed, and anew after an error.

use crate::wire::{Call, Reply, receive, send};
use std::{io, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// Who knows the others.
pub struct Network;

pub struct Peer {
    pub id: u64,
    address: String,
    stream: Option<TcpStream>,
}

impl Peer {
    pub fn new(id: u64, address: &str) -> Self {
        let (address, stream) = (address.to_owned(), None);
        Self {
            id,
            address,
            stream,
        }
    }

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

    /// What the other says to a call.
    pub async fn call(&mut self, call: Call, time: Duration) -> io::Result<Reply> {
        let exchanged = timeout(time, self.exchange(&call)).await;
        exchanged.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// For an answer to something else.
pub fn unasked() -> io::Error {
    io::Error::other("an answer to something else")
}
