// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traps about what a future waits for: leaves that deserve a readable name.
//!
//! truth: in each function the line marked `@await:NAME` waits for the thing of that name, for ever or
//! for a moment; whatever it needs is a slot of the function.

use crate::briefly;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot, watch, Barrier, Mutex, Notify, RwLock, Semaphore};
use tokio::time::{interval, sleep, timeout};

const LONG: Duration = Duration::from_secs(3600);

pub async fn waits_sleep() {
    sleep(LONG).await; // @await:sleep
}

pub async fn waits_mutex() -> u64 {
    let lock = Mutex::new(1u64);
    let first = lock.lock().await;
    let second = lock.lock().await; // @await:mutex
    *first + *second
}

pub async fn waits_rwlock_read() -> u64 {
    let lock = RwLock::new(1u64);
    let first = lock.write().await;
    let second = lock.read().await; // @await:rwlock_read
    *first + *second
}

pub async fn waits_rwlock_write() -> u64 {
    let lock = RwLock::new(1u64);
    let first = lock.read().await;
    let second = lock.write().await; // @await:rwlock_write
    *first + *second
}

pub async fn waits_semaphore() {
    let gate = Semaphore::new(0);
    let permit = gate.acquire().await; // @await:semaphore
    drop(permit);
}

pub async fn waits_mpsc_recv() -> Option<String> {
    let (_sender, mut receiver) = mpsc::channel::<String>(4);
    receiver.recv().await // @await:mpsc_recv
}

pub async fn waits_mpsc_send() {
    let (sender, _receiver) = mpsc::channel::<String>(1);
    drop(sender.send(String::from("fits")).await);
    drop(sender.send(String::from("does not")).await); // @await:mpsc_send
}

pub async fn waits_unbounded_recv() -> Option<u8> {
    let (_sender, mut receiver) = mpsc::unbounded_channel::<u8>();
    receiver.recv().await // @await:unbounded_recv
}

pub async fn waits_oneshot() -> Option<u64> {
    let (_sender, receiver) = oneshot::channel::<u64>();
    receiver.await.ok() // @await:oneshot
}

pub async fn waits_broadcast() -> Option<u64> {
    let (_sender, mut receiver) = broadcast::channel::<u64>(4);
    receiver.recv().await.ok() // @await:broadcast
}

pub async fn waits_watch() -> bool {
    let (_sender, mut receiver) = watch::channel(0u64);
    receiver.changed().await.is_ok() // @await:watch
}

pub async fn waits_notify() {
    let bell = Notify::new();
    bell.notified().await; // @await:notify
}

pub async fn waits_barrier() -> bool {
    let barrier = Barrier::new(2);
    barrier.wait().await.is_leader() // @await:barrier
}

pub async fn waits_join_handle() {
    let task = tokio::spawn(sleep(Duration::from_millis(20)));
    drop(task.await); // @await:join_handle
}

pub async fn waits_spawn_blocking() -> u64 {
    let work = tokio::task::spawn_blocking(|| 5u64);
    work.await.unwrap_or(0) // @await:spawn_blocking
}

pub async fn waits_timeout() -> bool {
    timeout(LONG, std::future::pending::<()>()).await.is_ok() // @await:timeout
}

pub async fn waits_interval() {
    let mut ticks = interval(LONG);
    ticks.tick().await;
    ticks.tick().await; // @await:interval
}

pub async fn waits_yield() {
    tokio::task::yield_now().await; // @await:yield_now
}

pub async fn waits_accept() -> Option<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.ok()?;
    let (stream, _address) = listener.accept().await.ok()?; // @await:accept
    Some(stream)
}

pub async fn waits_read() -> Option<usize> {
    let listener = TcpListener::bind("127.0.0.1:0").await.ok()?;
    let mut stream = TcpStream::connect(listener.local_addr().ok()?).await.ok()?;
    let mut buffer = [0u8; 512];
    let count = stream.read(&mut buffer).await.ok()?; // @await:tcp_read
    Some(count + buffer.len())
}

pub async fn waits_read_exact() -> Option<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.ok()?;
    let mut stream = TcpStream::connect(listener.local_addr().ok()?).await.ok()?;
    let mut buffer = [0u8; 64];
    stream.read_exact(&mut buffer).await.ok()?; // @await:tcp_read_exact
    Some(buffer[63])
}

pub async fn waits_write() -> Option<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.ok()?;
    let mut stream = TcpStream::connect(listener.local_addr().ok()?).await.ok()?;
    let block = vec![0u8; 1 << 16];
    loop {
        stream.write_all(&block).await.ok()?; // @await:tcp_write
    }
}

async fn part(number: u64) -> u64 {
    sleep(LONG).await;
    number
}

pub async fn waits_join_all() -> u64 {
    let parts = vec![part(1), part(2), part(3)];
    join_all(parts).await.into_iter().sum() // @await:join_all
}

pub async fn waits_unordered() -> Option<u64> {
    let mut parts: FuturesUnordered<_> = (0..4).map(part).collect();
    parts.next().await // @await:futures_unordered
}

pub async fn run() {
    briefly(waits_sleep()).await;
    briefly(waits_mutex()).await;
    briefly(waits_rwlock_read()).await;
    briefly(waits_rwlock_write()).await;
    briefly(waits_semaphore()).await;
    briefly(waits_mpsc_recv()).await;
    briefly(waits_mpsc_send()).await;
    briefly(waits_unbounded_recv()).await;
    briefly(waits_oneshot()).await;
    briefly(waits_broadcast()).await;
    briefly(waits_watch()).await;
    briefly(waits_notify()).await;
    briefly(waits_barrier()).await;
    briefly(waits_join_handle()).await;
    briefly(waits_spawn_blocking()).await;
    briefly(waits_timeout()).await;
    briefly(waits_interval()).await;
    briefly(waits_yield()).await;
    briefly(waits_accept()).await;
    briefly(waits_read()).await;
    briefly(waits_read_exact()).await;
    briefly(waits_write()).await;
    briefly(waits_join_all()).await;
    briefly(waits_unordered()).await;
}
