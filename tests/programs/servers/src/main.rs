// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two servers as users write them, with malloc's own count of the heap: `servers redis` is mini-redis, its
//! library unchanged; `servers http` is one of hyper that collects the body of each request.
//!
//! Listens on 127.0.0.1 and prints the port; for each line on stdin a line of JSON with `mallinfo`, the bytes
//! in use by glibc's count. Ends with stdin.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use tokio::net::{TcpListener, TcpStream};

fn print_mallinfo() {
    let info = unsafe { libc::mallinfo2() };
    println!("{}", json!({"mallinfo": info.uordblks + info.hblkhd}));
    std::io::stdout().flush().expect("stdout takes a line");
}

/// On a thread of its own; true when stdin has ended.
fn answer_lines() {
    let mut line = String::with_capacity(100);
    while std::io::stdin().read_line(&mut line).expect("stdin gives a line") > 0 {
        line.clear();
        print_mallinfo();
    }
}

async fn stdin_ends() {
    let (sender, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        answer_lines();
        let _ = sender.send(());
    });
    let _ = ended.await;
}

/// Keeps what has come of the body until all of it is here.
async fn collect(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut received = Vec::new();
    while let Some(Ok(frame)) = request.body_mut().frame().await {
        if let Ok(data) = frame.into_data() {
            received.extend_from_slice(&data);
        }
    }
    Ok(Response::new(Full::from(format!("{} bytes\n", received.len()))))
}

async fn serve_connection(stream: TcpStream) {
    let connection = hyper::server::conn::http1::Builder::new();
    let _ = connection.serve_connection(TokioIo::new(stream), service_fn(collect)).await;
}

async fn serve_http(listener: TcpListener, until: impl Future<Output = ()>) {
    let accepting = async {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_connection(stream));
        }
    };
    tokio::select! {
        () = accepting => {}
        () = until => {}
    }
}

#[tokio::main]
async fn main() -> mini_redis::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    match std::env::args().nth(1).as_deref() {
        Some("redis") => mini_redis::server::run(listener, stdin_ends()).await?,
        Some("http") => serve_http(listener, stdin_ends()).await,
        _ => panic!("usage: servers redis | servers http"),
    }
    Ok(())
}
