// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small note-keeping HTTP server, written as one would write it. It is the subject of `make demo`.
//!
//!     PUT /notes/NAME     keeps the body as a note      GET /notes/NAME   gives it back
//!     GET /stats          counts as JSON                GET /slow/MS      answers after MS milliseconds
//!
//! A connection sends each kept note over a channel to one background worker, which indexes the words;
//! another task sweeps old notes out of the cache. Listens on 127.0.0.1; the first argument is the port
//! (0, the default, takes any and prints it). SIGTERM or ctrl-c ends it.
//!
//! One thing is wrong on purpose: see `serve_connection`.

mod cache;
mod worker;

use bytes::Bytes;
use cache::Cache;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::mpsc;
use worker::{Job, Statistics};

const LARGEST_NOTE_BYTES: usize = 1 << 20;
const QUEUED_JOBS: usize = 64;
const NOTE_LIFETIME: Duration = Duration::from_secs(600);

/// What every connection shares.
struct App {
    cache: Cache,
    jobs: mpsc::Sender<Job>,
    statistics: Arc<Statistics>,
    started: Instant,
}

fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

async fn put_note(app: &App, name: &str, body: Incoming) -> Response<Full<Bytes>> {
    let text = match Limited::new(body, LARGEST_NOTE_BYTES).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => return answer(StatusCode::PAYLOAD_TOO_LARGE, "note too large\n"),
    };
    app.cache.put(name, text.clone()).await;
    let job = Job { name: name.to_owned(), text };
    if app.jobs.send(job).await.is_err() {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "the worker is gone\n");
    }
    answer(StatusCode::CREATED, "kept\n")
}

async fn get_note(app: &App, name: &str) -> Response<Full<Bytes>> {
    match app.cache.get(name).await {
        Some(text) => answer(StatusCode::OK, text),
        None => answer(StatusCode::NOT_FOUND, "no such note\n"),
    }
}

async fn slow(milliseconds: &str) -> Response<Full<Bytes>> {
    match milliseconds.parse::<u64>() {
        Ok(number) => {
            tokio::time::sleep(Duration::from_millis(number)).await;
            answer(StatusCode::OK, format!("waited {number} ms\n"))
        }
        Err(_) => answer(StatusCode::BAD_REQUEST, "not a number of milliseconds\n"),
    }
}

async fn stats(app: &App) -> Response<Full<Bytes>> {
    let counts = app.statistics.read(app.cache.len().await, app.started.elapsed()).await;
    match serde_json::to_vec(&counts) {
        Ok(json) => answer(StatusCode::OK, json),
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, "no statistics\n"),
    }
}

async fn route(
    app: Arc<App>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = match (method, path.split('/').skip(1).collect::<Vec<_>>().as_slice()) {
        (Method::PUT, ["notes", name]) => put_note(&app, name, request.into_body()).await,
        (Method::GET, ["notes", name]) => get_note(&app, name).await,
        (Method::GET, ["slow", number]) => slow(number).await,
        (Method::GET, ["stats"]) => stats(&app).await,
        _ => answer(StatusCode::NOT_FOUND, "no such path\n"),
    };
    Ok(response)
}

/// One connection from its first byte to its last.
///
/// Fat on purpose: `first` is looked at once, but because the last line names it again, its 16 KiB stay
/// in the future, and so in the task, for the connection's whole life.
async fn serve_connection(app: Arc<App>, stream: TcpStream, peer: SocketAddr) {
    let mut first = [0u8; 16384];
    let count = match stream.peek(&mut first).await {
        Ok(count) if count > 0 => count,
        _ => return,
    };
    if first.starts_with(b"PRI * HTTP/2") {
        return;
    }
    let handler = service_fn(|request| route(app.clone(), request));
    let http = hyper::server::conn::http1::Builder::new();
    if let Err(error) = http.serve_connection(TokioIo::new(stream), handler).await {
        let line = first[..count].split(|byte| *byte == b'\r').next().unwrap_or_default();
        eprintln!("{peer}: {error} after {:?}", String::from_utf8_lossy(line));
    }
}

async fn accept_connections(app: Arc<App>, listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(serve_connection(app.clone(), stream, peer));
    }
}

async fn told_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        done = tokio::signal::ctrl_c() => done,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 0,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);

    let (jobs, queue) = mpsc::channel(QUEUED_JOBS);
    let statistics = Arc::new(Statistics::default());
    let cache = Cache::default();
    tokio::spawn(worker::index_notes(queue, statistics.clone()));
    tokio::spawn(cache::sweep(cache.clone(), NOTE_LIFETIME));
    let app = Arc::new(App { cache, jobs, statistics, started: Instant::now() });

    tokio::select! {
        failed = accept_connections(app, listener) => failed?,
        done = told_to_stop() => done?,
    }
    Ok(())
}
