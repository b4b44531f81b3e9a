// SPDX-License-Identifier: MIT OR Apache-2.0
//! The subject of the build matrix: a small tokio program that builds with every compiler from 1.63 on.
//! It has one future of each shape that layouts and symbols can get wrong; each of them lives in a
//! task, so that its poll function is in every binary. tests/matrix/matrix.py lists them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, Mutex};

/// Keeps a buffer alive across the await before it.
#[inline(never)]
fn touch(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b == 7).count()
}

async fn leaf(millis: u64) -> usize {
    let scratch = [7u8; 96];
    tokio::time::sleep(Duration::from_millis(millis)).await;
    touch(&scratch)
}

/// Two await points with different live sets, so that two Suspend states share bytes.
async fn middle(rounds: u64) -> usize {
    let first = [1u8; 200];
    let mut total = leaf(rounds).await;
    total += touch(&first);
    let second = vec![7u8; rounds as usize];
    total += leaf(1).await;
    total + touch(&second)
}

/// The argument is moved to a local of its own: its upvar slot stays allocated and is dead.
async fn doubled(name: String, key: [u8; 48]) -> usize {
    tokio::time::sleep(Duration::from_millis(1)).await;
    touch(name.as_bytes()) + touch(&key)
}

/// Two locals of one name, both alive: the DWARF shows only one of them.
async fn shadowed() -> usize {
    let data = [7u8; 64];
    let view = &data;
    let data = vec![7u8; 32];
    tokio::time::sleep(Duration::from_millis(1)).await;
    touch(view) + touch(&data)
}

async fn generic<T: AsRef<[u8]> + Send>(value: T) -> usize {
    let held = value;
    tokio::task::yield_now().await;
    touch(held.as_ref())
}

mod service {
    pub mod inner {
        pub async fn locked(state: super::super::Arc<super::super::Mutex<Vec<u8>>>) -> usize {
            let guard = state.lock().await;
            super::super::leaf(1).await;
            super::super::touch(&guard)
        }
    }
}

struct Conn {
    stream: TcpStream,
    buffer: [u8; 256],
}

impl Conn {
    async fn serve(mut self) -> usize {
        let mut count = 0;
        loop {
            let read = match self.stream.read(&mut self.buffer).await {
                Ok(0) | Err(_) => return count,
                Ok(read) => read,
            };
            if self.stream.write_all(&self.buffer[..read]).await.is_err() {
                return count;
            }
            count += read;
        }
    }
}

trait Handler {
    fn call(&self, size: usize) -> Pin<Box<dyn Future<Output = usize> + Send>>;
}

struct Svc;

impl Handler for Svc {
    fn call(&self, size: usize) -> Pin<Box<dyn Future<Output = usize> + Send>> {
        Box::pin(async move {
            let body = vec![7u8; size];
            leaf(1).await;
            touch(&body)
        })
    }
}

async fn dispatch(handler: Svc) -> usize {
    handler.call(40).await
}

/// The await point is inside a macro of another crate.
async fn selecting(mut jobs: mpsc::Receiver<usize>) -> usize {
    let mut sum = 0;
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => sum += job,
                None => return sum,
            },
            _ = tokio::time::sleep(Duration::from_secs(5)) => return sum,
        }
    }
}

async fn run() -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accept");
        Conn { stream, buffer: [0; 256] }.serve().await
    });
    let client = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.write_all(b"ping").await.expect("write");
        let mut answer = [0u8; 4];
        stream.read_exact(&mut answer).await.expect("read");
        touch(&answer)
    });
    let (sender, receiver) = mpsc::channel(4);
    let state = Arc::new(Mutex::new(vec![7u8; 16]));
    let tasks = vec![
        tokio::spawn(middle(3)),
        tokio::spawn(doubled("seven".to_string(), [7; 48])),
        tokio::spawn(shadowed()),
        tokio::spawn(generic([7u8; 24])),
        tokio::spawn(generic(String::from("seven"))),
        tokio::spawn(service::inner::locked(state)),
        tokio::spawn(dispatch(Svc)),
        tokio::spawn(selecting(receiver)),
        server,
        client,
    ];
    sender.send(5).await.expect("send");
    drop(sender);
    let mut total = 0;
    for task in tasks {
        total += task.await.expect("join");
    }
    total
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime");
    println!("subject: total {}", runtime.block_on(run()));
}
