//! A log over HTTP: a browser watches what is appended, as server-sent events.
//!
//! `cargo run --features async --example sse -- DIR` and open the address that it prints, or
//! `curl -N ADDRESS/events`. What a client posts to `/` is appended. A client that comes back says by
//! `Last-Event-ID` where it was, which is a seq, and misses nothing. No thread waits for a sync.

use bytes::Bytes;
use cairnlog::{AppendOptions, Log, NewRecord};
use futures_util::{StreamExt, TryStreamExt, future::ready, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode, body::Frame, body::Incoming, service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::error::Error;
use tokio::net::TcpListener;

type Failure = Box<dyn Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Failure>;

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>cairn</title><ol id=log start=0></ol>
<script>new EventSource('/events').onmessage = event => {
  const item = document.createElement('li'); item.textContent = event.data; log.append(item);
}</script>";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = std::env::args().nth(1).ok_or("usage: sse DIR")?;
    let log = Log::open(dir)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let log = log.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(log.clone(), request));
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away is no error of ours; its stream is dropped, and nothing is lost.
            http.serve_connection(TokioIo::new(socket), answer)
                .await
                .ok();
        });
    }
}

async fn answer(log: Log, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Ok(Response::builder()
            .header("content-type", "text/html")
            .body(whole(PAGE))?),
        (&Method::GET, "/events") => {
            let last = request.headers().get("last-event-id");
            let last = last.and_then(|seq| seq.to_str().ok()?.parse::<u64>().ok());
            let from = last.map_or(log.head_seq(), |seq| seq.saturating_add(1));
            Ok(Response::builder()
                .header("content-type", "text/event-stream")
                .body(events(&log, from))?)
        }
        (&Method::POST, "/") => {
            let value = request.into_body().collect().await?.to_bytes();
            let how = AppendOptions::new();
            let seqs = log.append_async(&[NewRecord::value(&value)], &how).await?;
            Ok(Response::new(whole(format!("{}\n", seqs.start)))) // It is durable.
        }
        _ => Ok(Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(whole("not found\n"))?),
    }
}

/// The records from a seq on, and those to come. A reader that fell behind the head is told where the
/// log begins now, and comes back for it.
fn events(log: &Log, from: u64) -> Body {
    let event = |record: Result<cairnlog::Record, cairnlog::Error>| match record {
        Ok(record) => {
            let text = String::from_utf8_lossy(&record);
            format!("id: {}\n{}\n", record.seq(), data(&text))
        }
        Err(error) => match error.resume_seq() {
            Some(seq) if seq > 0 => format!("id: {}\nevent: trimmed\ndata: {seq}\n\n", seq - 1),
            _ => format!("event: error\ndata: {error}\n\n"),
        },
    };
    // A comment first: the client knows at once that it is connected.
    let hello = stream::once(ready(": hello\n\n".to_owned()));
    let text = hello.chain(log.tail(from).into_stream().map(event));
    let frames = text.map(|text| Ok::<_, Failure>(Frame::data(Bytes::from(text))));
    BodyExt::boxed_unsync(StreamBody::new(frames.into_stream()))
}

/// A text as lines of data. In this protocol a line ends with a line feed, a carriage return or both, so
/// the client gets each of them as a line feed.
fn data(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines = text.split('\n').map(|line| format!("data: {line}\n"));
    lines.collect()
}

fn whole(text: impl Into<Bytes>) -> Body {
    BodyExt::boxed_unsync(Full::new(text.into()).map_err(|never| match never {}))
}
