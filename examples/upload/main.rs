//! Uploads of any size, through a log to workers, in flat memory.
//!
//! `cargo run --features async --example upload -- DIR` and open the address that it prints, or
//! `curl -T FILE ADDRESS/uploads`. A file is lines of `name,number`.
//!
//! `work.rs`: what becomes of an upload. Here: HTTP. One log holds large values: what was uploaded, and what workers
//! made of it. Another, `jobs`, names what is whole: an upload is a record there once its value is durable. So one that
//! breaks off is never seen by a worker.
//!
//! *Memory*: of each upload one piece, which is filled from the socket; no more is read before the log has taken it.
//! HTTP and the log have buffers of a fixed size besides. A log that is slower than the network slows the network down.

mod work;

use bytes::Bytes;
use cairnlog::{
    AppendOptions, Log, NewRecord, Options, Producer, Queue, QueueOptions, ReadMode, Record,
    Retention, Seq,
};
use futures_util::{StreamExt, TryStreamExt, future::ready, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    error::Error,
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::broadcast, task::spawn_blocking, time::sleep};

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;
type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

const WORKERS: usize = 2;
const TELL_BYTES: u64 = 256 << 10;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What everybody shares.
pub struct Shop {
    pub values: Log,
    /// Keys say what a record is: `upload` or `result`.
    pub jobs: Log,
    queue: Queue,
    /// How far uploads and workers are: for who looks, and gone with the process.
    progress: broadcast::Sender<String>,
}

impl Shop {
    fn open(dir: &Path) -> Outcome<Self> {
        std::fs::create_dir_all(dir)?;
        // By position: pages of a mapping would count as memory of ours. Values are of no use after a
        // day, nor are pieces of one that broke off.
        let options = Options::new().read_mode(ReadMode::Positional);
        let options = options.queue_bytes_max(1 << 20);
        let day = Retention::new().age_max(DAY);
        let jobs = options.clone().open(dir.join("jobs.log"))?;
        Ok(Self {
            values: options.retention(day).open(dir.join("values.log"))?,
            queue: jobs.consumer("workers")?.into_queue(QueueOptions::new())?,
            jobs,
            progress: broadcast::Sender::new(64),
        })
    }

    /// How far something is, for whoever looks.
    pub fn tell(&self, upload_id: u64, what: &str, count: u64) {
        self.progress
            .send(format!("{upload_id:x} {what} {count}"))
            .ok();
    }
}

#[tokio::main]
async fn main() -> Outcome {
    let dir = std::env::args_os().nth(1).ok_or("usage: upload DIR")?;
    let shop = Arc::new(Shop::open(Path::new(&dir))?);
    for _ in 0..WORKERS {
        tokio::spawn(work_on(shop.clone()));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.max_buf_size(64 << 10);
    loop {
        let (socket, _) = listener.accept().await?;
        let shop = shop.clone();
        let answer = service_fn(move |request| answer(shop.clone(), request));
        // A client that goes away is no error of ours.
        let served = http.serve_connection(TokioIo::new(socket), answer);
        tokio::spawn(async move { served.await.ok() });
    }
}

/// One upload after the other. A worker that fails drops its lease, and the upload is given again.
async fn work_on(shop: Arc<Shop>) {
    loop {
        let lease = match shop.queue.next_async().await {
            Ok(Some(lease)) => lease,
            Ok(None) => return, // The log is closed.
            Err(error) => {
                eprintln!("no upload to work on: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let shop = shop.clone();
        match spawn_blocking(move || work::work(&shop, lease)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("given again: {error}"),
            Err(panic) => eprintln!("given again: {panic}"),
        }
    }
}

async fn answer(shop: Arc<Shop>, request: Request<Incoming>) -> Outcome<Response<Body>> {
    let path = request.uri().path();
    let response = Response::builder();
    match (request.method(), path.strip_prefix("/results/")) {
        (&Method::GET, None) if path == "/" => Ok(response
            .header("content-type", "text/html")
            .body(whole(include_str!("page.html")))?),
        (&Method::GET, None) if path == "/events" => Ok(response
            .header("content-type", "text/event-stream")
            .body(events(&shop, request.headers()))?),
        (&Method::PUT | &Method::POST, None) if path == "/uploads" => {
            let seq = receive(&shop, request).await?;
            Ok(Response::new(whole(format!("{seq}\n")))) // It is durable, and will be worked on.
        }
        (&Method::GET, Some(seq)) => match work::packed(&shop, seq.parse()?)? {
            Some(packed) => {
                let frames = packed.into_stream().err_into().map_ok(Frame::data);
                Ok(response
                    .header("content-type", "text/plain")
                    .header("content-encoding", "gzip")
                    .body(BodyExt::boxed_unsync(StreamBody::new(frames)))?)
            }
            None => not_found(),
        },
        _ => not_found(),
    }
}

/// Takes an upload in; gives the number of its job. A client that does not know what became of its upload sends it
/// again, under the same id, and it is one job.
async fn receive(shop: &Shop, request: Request<Incoming>) -> Outcome<Seq> {
    let id = match request.headers().get("upload-id") {
        Some(id) => u64::from_str_radix(id.to_str()?, 16)?,
        None => RandomState::new().hash_one(0), // Nobody else's.
    };
    let mut writer = shop.values.large_writer(&AppendOptions::new())?;
    let mut body = request.into_body();
    // What breaks off ends here, by an error: its pieces are in the log, and nothing shows them.
    while let Some(frame) = body.frame().await {
        let before = writer.value_bytes();
        if let Ok(data) = frame?.into_data() {
            writer.write_all_async(&data).await?; // Waits for the log, and the client for us.
        }
        let now = writer.value_bytes();
        if now / TELL_BYTES > before / TELL_BYTES {
            shop.tell(id, "received", now);
        }
    }
    let (seq, bytes) = (writer.finish_async().await?, writer.value_bytes());
    shop.tell(id, "received", bytes);
    // The only append of its producer.
    let (epoch, number) = (0, 0);
    let once = AppendOptions::new().producer(Producer { id, epoch, number });
    let job = format!("{id:x} {seq} {bytes}");
    let record = NewRecord::keyed("upload", &job);
    Ok(shop.jobs.append_async(&[record], &once).await?.start)
}

/// What is in the log of jobs from where a client left off, and what comes; in between, how far things are.
fn events(shop: &Shop, headers: &HeaderMap) -> Body {
    let last = headers.get("last-event-id");
    let last = last.and_then(|seq| seq.to_str().ok()?.parse::<Seq>().ok());
    let from = last.map_or(shop.jobs.head_seq(), |seq| seq.saturating_add(1));
    let lasting = shop
        .jobs
        .tail(from)
        .into_stream()
        .map(|record| match record {
            Ok(record) => event(&record),
            Err(error) => format!("event: error\ndata: {error}\n\n"),
        });
    let passing = stream::unfold(shop.progress.subscribe(), async |mut progress| {
        loop {
            match progress.recv().await {
                Ok(news) => return Some((format!("event: progress\ndata: {news}\n\n"), progress)),
                Err(broadcast::error::RecvError::Lagged(_)) => {} // Newer news follow.
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    let hello = stream::once(ready(": hello\n\n".to_owned()));
    let text = hello.chain(stream::select(lasting, passing));
    let frames = text.map(|text| Ok(Frame::data(Bytes::from(text))));
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

fn event(record: &Record) -> String {
    let key = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
    let text = String::from_utf8_lossy(record).replace('\r', " ");
    let data: String = text.lines().map(|line| format!("data: {line}\n")).collect();
    format!("id: {}\nevent: {key}\n{data}\n", record.seq())
}

fn whole(text: impl Into<Bytes>) -> Body {
    BodyExt::boxed_unsync(Full::new(text.into()).map_err(|never| match never {}))
}

fn not_found() -> Outcome<Response<Body>> {
    let response = Response::builder().status(StatusCode::NOT_FOUND);
    Ok(response.body(whole("not found\n"))?)
}
