// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a task can wait for, in words.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot, watch, Barrier, Mutex, Notify, RwLock, Semaphore};
use tokio::time::{interval, sleep};

const LONG: Duration = Duration::from_secs(3600);

static RELEASED: AtomicBool = AtomicBool::new(false);

// tree:
//   trees::leaves::sleeps @sleeps: sleep
async fn sleeps() {
    sleep(LONG).await; // @sleeps
}

// tree:
//   trees::leaves::ticks @ticks: interval tick
async fn ticks() {
    let mut clock = interval(LONG);
    clock.tick().await;
    clock.tick().await; // @ticks
}

// tree:
//   trees::leaves::receives @receives: channel receive
async fn receives() -> Option<String> {
    let (sender, mut receiver) = mpsc::channel::<String>(4);
    let message = receiver.recv().await; // @receives
    drop(sender);
    message
}

// tree:
//   trees::leaves::receives_unbounded @receives_unbounded: channel receive
async fn receives_unbounded() -> Option<u8> {
    let (sender, mut receiver) = mpsc::unbounded_channel::<u8>();
    let message = receiver.recv().await; // @receives_unbounded
    drop(sender);
    message
}

// tree:
//   trees::leaves::sends @sends: channel send
async fn sends() {
    let (sender, receiver) = mpsc::channel::<u64>(1);
    black_box(sender.send(1).await.is_ok());
    black_box(sender.send(2).await.is_ok()); // @sends
    drop(receiver);
}

// tree:
//   trees::leaves::locks @locks: mutex lock
async fn locks() -> u64 {
    let lock = Mutex::new(1u64);
    let first = lock.lock().await;
    let second = lock.lock().await; // @locks
    *first + *second
}

// tree:
//   trees::leaves::reads_lock @reads_lock: rwlock read
async fn reads_lock() -> u64 {
    let lock = RwLock::new(1u64);
    let first = lock.write().await;
    let second = lock.read().await; // @reads_lock
    *first + *second
}

// tree:
//   trees::leaves::writes_lock @writes_lock: rwlock write
async fn writes_lock() -> u64 {
    let lock = RwLock::new(1u64);
    let first = lock.read().await;
    let second = lock.write().await; // @writes_lock
    *first + *second
}

// tree:
//   trees::leaves::permit @permit: semaphore permit
async fn permit() {
    let gate = Semaphore::new(0);
    let permit = gate.acquire().await; // @permit
    drop(permit);
}

// tree:
//   trees::leaves::once @once: oneshot receive
async fn once() -> Option<u64> {
    let (sender, receiver) = oneshot::channel::<u64>();
    let message = receiver.await.ok(); // @once
    drop(sender);
    message
}

// tree:
//   trees::leaves::notified @notified: notification
async fn notified() {
    let bell = Notify::new();
    bell.notified().await; // @notified
}

// tree:
//   trees::leaves::broadcasts @broadcasts: broadcast receive
async fn broadcasts() -> Option<u64> {
    let (sender, mut receiver) = broadcast::channel::<u64>(4);
    let message = receiver.recv().await.ok(); // @broadcasts
    drop(sender);
    message
}

// tree:
//   trees::leaves::watches @watches: watch change
async fn watches() -> bool {
    let (sender, mut receiver) = watch::channel(0u64);
    let changed = receiver.changed().await.is_ok(); // @watches
    drop(sender);
    changed
}

// tree:
//   trees::leaves::barrier @barrier: barrier
async fn barrier() -> bool {
    let barrier = Barrier::new(2);
    barrier.wait().await.is_leader() // @barrier
}

// tree:
//   trees::leaves::accepts @accepts: socket accept
async fn accepts() -> Option<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.ok()?;
    let (stream, _) = listener.accept().await.ok()?; // @accepts
    Some(stream)
}

// tree:
//   trees::leaves::reads_socket @reads_socket: socket read
async fn reads_socket() -> Option<usize> {
    let listener = TcpListener::bind("127.0.0.1:0").await.ok()?;
    let mut stream = TcpStream::connect(listener.local_addr().ok()?).await.ok()?;
    let mut buffer = [0u8; 64];
    let count = stream.read(&mut buffer).await.ok()?; // @reads_socket
    drop(listener);
    Some(count + black_box(&buffer).len())
}

// tree:
//   trees::leaves::blocks @blocks: task to end (JoinHandle)
async fn blocks() -> u64 {
    let work = tokio::task::spawn_blocking(|| {
        while !RELEASED.load(SeqCst) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        5
    });
    work.await.unwrap_or(0) // @blocks
}

// tree:
//   trees::leaves::for_ever @for_ever: nothing (pending for ever)
async fn for_ever() {
    std::future::pending::<()>().await // @for_ever
}

// tree:
//   trees::leaves::yields @yields: next turn (yield_now)
async fn yields() {
    tokio::task::yield_now().await; // @yields
}

/// Leaves a task in the queue of its runtime.
pub async fn queued() {
    tokio::spawn(yields());
    tokio::task::yield_now().await;
}

/// Lets the blocking task end.
pub fn release() {
    RELEASED.store(true, SeqCst);
}

/// Spawns them; how many.
pub fn spawn() -> usize {
    tokio::spawn(sleeps());
    tokio::spawn(ticks());
    tokio::spawn(receives());
    tokio::spawn(receives_unbounded());
    tokio::spawn(sends());
    tokio::spawn(locks());
    tokio::spawn(reads_lock());
    tokio::spawn(writes_lock());
    tokio::spawn(permit());
    tokio::spawn(once());
    tokio::spawn(notified());
    tokio::spawn(broadcasts());
    tokio::spawn(watches());
    tokio::spawn(barrier());
    tokio::spawn(accepts());
    tokio::spawn(reads_socket());
    tokio::spawn(blocks());
    tokio::spawn(for_ever());
    18
}
