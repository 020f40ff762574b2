//! Clients: each does one thing after the other and notes when it began and ended.

use crate::wire::{Call, Put, Reply, receive, send};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(2);
const SHARED_KEYS: u64 = 8;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The put was acknowledged.
    Put,
    /// The put may have been done, or may be some time, or not.
    Unknown,
    /// A get told this.
    Got,
}

/// One call of a client.
#[derive(Clone, Debug)]
pub struct Op {
    pub begun: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
    /// What was put or told; `None`: the key had no value.
    pub value: Option<String>,
}

pub struct Shared {
    addresses: Vec<String>,
    /// The node that led last.
    hint: AtomicUsize,
    pub done: AtomicU64,
    pub stop: AtomicBool,
}

impl Shared {
    pub fn new(addresses: Vec<String>) -> Self {
        Self {
            addresses,
            hint: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    /// Calls the node that led last. Whatever is no answer from a leader makes the next call go elsewhere.
    async fn call(&self, stream: &mut Option<TcpStream>, call: &Call) -> Option<Reply> {
        let at = self.hint.load(Ordering::Relaxed);
        let exchange = async {
            let mut open = match stream.take() {
                Some(stream) => stream,
                None => TcpStream::connect(&self.addresses[at]).await?,
            };
            open.set_nodelay(true)?;
            send(&mut open, call).await?;
            let reply: Reply = receive(&mut open).await?;
            *stream = Some(open);
            Ok::<_, io::Error>(reply)
        };
        let reply = timeout(PATIENCE, exchange).await.ok().and_then(Result::ok);
        if let None | Some(Reply::Leader(_)) = reply {
            *stream = None;
            let next = match reply {
                Some(Reply::Leader(Some(id))) => id as usize - 1,
                _ => (at + 1) % self.addresses.len(),
            };
            self.hint
                .compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed)
                .ok();
            sleep(Duration::from_millis(20)).await;
        }
        reply
    }

    /// The node that says of itself that it leads.
    pub async fn leader(&self) -> Option<u64> {
        for _ in 0..200 {
            for (id, address) in (1..).zip(&self.addresses) {
                let ask = async {
                    let mut stream = TcpStream::connect(address).await?;
                    send(&mut stream, &Call::Leader).await?;
                    receive::<Reply>(&mut stream).await
                };
                if let Ok(Ok(Reply::Leader(Some(leader)))) = timeout(PATIENCE, ask).await
                    && leader == id
                {
                    return Some(id);
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        None
    }

    pub async fn get_until_told(&self, key: &str) -> Op {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let call_begun = Instant::now();
            if let Some(Reply::Value(value)) =
                self.call(&mut None, &Call::Get(key.to_owned())).await
            {
                let (begun, ended) = (call_begun, Instant::now());
                return Op {
                    begun,
                    ended,
                    outcome: Outcome::Got,
                    value,
                };
            }
        }
        panic!("nobody told what {key} is");
    }
}

/// Puts and gets until it is told to stop; what it did, by key.
pub async fn client(id: u64, shared: Arc<Shared>) -> Vec<(String, Op)> {
    let (mut history, mut stream, mut hint) = (Vec::new(), None, usize::MAX);
    let mut number = 0u64;
    while !shared.stop.load(Ordering::Relaxed) {
        number += 1;
        let own = format!("own-{id}-{number}");
        let common = format!("shared-{}", (number * 7 + id) % SHARED_KEYS);
        let value = format!("{id}/{number}");
        let (key, put) = match number % 4 {
            0 | 1 => (own, true),
            2 => (common, true),
            _ => (common, false),
        };
        let call = match put {
            true => Call::Put(Put {
                key: key.clone(),
                value: value.clone(),
            }),
            false => Call::Get(key.clone()),
        };
        // Another client may have found another leader.
        let now = shared.hint.load(Ordering::Relaxed);
        if std::mem::replace(&mut hint, now) != now {
            stream = None;
        }
        let begun = Instant::now();
        let reply = shared.call(&mut stream, &call).await;
        let ended = Instant::now();
        let (outcome, value) = match reply {
            Some(Reply::Done) => (Outcome::Put, Some(value)),
            Some(Reply::Value(value)) => (Outcome::Got, value),
            _ if put => (Outcome::Unknown, Some(value)),
            _ => continue,
        };
        if outcome != Outcome::Unknown {
            shared.done.fetch_add(1, Ordering::Relaxed);
        }
        history.push((
            key,
            Op {
                begun,
                ended,
                outcome,
                value,
            },
        ));
    }
    history
}
