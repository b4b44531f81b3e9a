// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every way to drive a future from a thread: it has no task cell.
//!
//! truth: printed as one line of JSON when nothing moves any more. `roots`: [future, status, scheduler];
//! a null scheduler is one that the stack does not tell. `others`: roots whose type has no name of its own.
//! `async`: how many tasks were spawned.
//!
//! A line on stdin ends the process, whatever its threads do.

use serde_json::json;
use std::future::{pending, Future};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use subject::{announce, wait_for_line, wait_until};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

const LARGE: usize = 64 * 1024;
const LISTENERS: usize = 5;

static ARRIVED: AtomicUsize = AtomicUsize::new(0);

fn arrive() {
    ARRIVED.fetch_add(1, SeqCst);
}

async fn wait() {
    arrive();
    pending::<()>().await;
}

async fn on_runtime() {
    wait().await;
}

async fn on_handle() {
    wait().await;
}

async fn in_blocking_pool() {
    wait().await;
}

async fn in_local_set() {
    wait().await;
}

async fn with_local_set() {
    wait().await;
}

async fn large() {
    let bytes = [1u8; LARGE];
    wait().await;
    black_box(&bytes);
}

async fn boxed() {
    wait().await;
}

async fn hidden() {
    wait().await;
}

async fn in_timeout() {
    wait().await;
}

async fn generic<T: Default>() {
    let value = T::default();
    wait().await;
    black_box(&value);
}

/// Asks for the time without end, so most of its stacks end in the vdso.
async fn asks_for_time() {
    arrive();
    loop {
        black_box(Instant::now());
    }
}

fn hold() {
    arrive();
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Never leaves its first poll.
async fn holds() {
    hold();
}

/// A root inside a root.
async fn outer() {
    tokio::task::block_in_place(|| Handle::current().block_on(inner()));
}

async fn inner() {
    wait().await;
}

/// Waits while a task of its runtime is being polled, by the same thread.
async fn beside_a_busy_task() {
    tokio::spawn(holds_as_a_task());
    wait().await;
}

async fn holds_as_a_task() {
    hold();
}

struct ByHand;

impl Future for ByHand {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        arrive();
        std::task::Poll::Pending
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts")
}

/// A thread with what it does.
fn start(body: impl FnOnce() + Send + 'static) {
    thread::spawn(body);
}

fn main() {
    let runtime = multi_thread();
    let handle = runtime.handle().clone();
    start(|| multi_thread().block_on(on_runtime()));
    start(|| current_thread().block_on(generic::<u64>()));
    let own = handle.clone();
    start(move || own.block_on(on_handle()));
    let own = handle.clone();
    handle.spawn_blocking(move || own.block_on(in_blocking_pool()));
    start(|| LocalSet::new().block_on(&current_thread(), in_local_set()));
    start(|| {
        current_thread().block_on(async { LocalSet::new().run_until(with_local_set()).await })
    });
    start(|| multi_thread().block_on(large()));
    start(|| current_thread().block_on(Box::pin(boxed())));
    start(|| {
        let hidden: Pin<Box<dyn Future<Output = ()>>> = Box::pin(hidden());
        current_thread().block_on(hidden);
    });
    let own = handle.clone();
    start(move || {
        let _inside = own.enter();
        let limited = tokio::time::timeout(Duration::from_secs(3600), in_timeout());
        black_box(own.block_on(limited).is_ok());
    });
    start(|| current_thread().block_on(ByHand));
    start(|| current_thread().block_on(asks_for_time()));
    start(|| multi_thread().block_on(holds()));
    start(|| multi_thread().block_on(outer()));
    start(|| current_thread().block_on(beside_a_busy_task()));
    for _ in 0..LISTENERS {
        let (sender, receiver) = oneshot::channel::<()>();
        start(move || {
            arrive();
            black_box((receiver.blocking_recv().is_ok(), sender));
        });
    }
    wait_until("all have arrived", || ARRIVED.load(SeqCst) >= 16 + LISTENERS);
    thread::sleep(Duration::from_millis(200)); // until they are parked

    announce(&json!({"roots": [
        ["roots::on_runtime", "suspended", "multi_thread"],
        ["roots::generic<u64>", "suspended", "current_thread"],
        ["roots::on_handle", "suspended", null],
        ["roots::in_blocking_pool", "suspended", null],
        ["roots::in_local_set", "suspended", "local"],
        ["roots::main::{closure#5}::{async block#0}", "suspended", "current_thread"],
        ["roots::large", "suspended", "multi_thread"],
        ["roots::boxed", "suspended", "current_thread"],
        ["tokio::time::timeout::Timeout<roots::in_timeout>", "suspended", null],
        ["roots::ByHand", "suspended", "current_thread"],
        ["roots::asks_for_time", "running", "current_thread"],
        ["roots::holds", "running", "multi_thread"],
        ["roots::outer", "running", "multi_thread"],
        ["roots::inner", "suspended", null],
        ["roots::beside_a_busy_task", "suspended", "current_thread"],
    ], "others": 1, "async": 1, "large": LARGE}));
    wait_for_line();
}
