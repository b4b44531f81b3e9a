// SPDX-License-Identifier: MIT OR Apache-2.0
//! Futures that async-backtrace watches: each await goes through `frame!`, which notes the fn and the line.
//!
//! truth: `trees`, in one line of JSON, is what async-backtrace's own taskdump says: for each task the
//! lines of its tree, as it prints them. A frame there is named by the fn that `frame!` stands in, which is
//! also the one that awaits, and on one line with the await. A line on stdin ends the program.

use async_backtrace::frame;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::time::Duration;
use subject::{announce, settle, wait_for_line};
use tokio::runtime::Builder;
use tokio::sync::{oneshot, Notify};

async fn notified() -> u64 {
    let bell = Notify::new();
    frame!(bell.notified()).await;
    black_box(1)
}

async fn answered() -> u64 {
    let (sender, receiver) = oneshot::channel::<u64>();
    let answer = frame!(receiver).await;
    drop(sender);
    answer.unwrap_or(0)
}

async fn inner() -> u64 {
    frame!(notified()).await + 1
}

async fn middle() -> u64 {
    frame!(inner()).await + 1
}

async fn nested() {
    black_box(frame!(middle()).await);
}

fn descend(left: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if left == 0 {
            return frame!(notified()).await;
        }
        frame!(descend(left - 1)).await + left
    })
}

async fn recursion() {
    black_box(frame!(descend(3)).await);
}

async fn joined() {
    let both = async {
        let (one, two) = tokio::join!(frame!(inner()), frame!(answered()));
        one + two
    };
    black_box(frame!(both).await);
}

async fn selected() {
    let first = async {
        tokio::select! { sum = frame!(middle()) => sum, sum = frame!(answered()) => sum }
    };
    black_box(frame!(first).await);
}

async fn unordered() {
    let all = async {
        let mut parts: FuturesUnordered<_> = (0..5).map(|_| inner()).collect();
        frame!(parts.next()).await
    };
    black_box(frame!(all).await);
}

async fn timed() {
    let limited = async { tokio::time::timeout(Duration::from_secs(3600), frame!(inner())).await };
    black_box(frame!(limited).await.is_ok());
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    runtime.spawn(nested());
    runtime.spawn(recursion());
    runtime.spawn(joined());
    runtime.spawn(selected());
    runtime.spawn(unordered());
    runtime.spawn(timed());
    settle(runtime.handle(), 0);
    let trees: Vec<Vec<String>> = async_backtrace::tasks()
        .map(|task| task.pretty_tree(true).lines().map(str::to_owned).collect())
        .collect();
    announce(&json!({"trees": trees, "alive": runtime.metrics().num_alive_tasks()}));
    wait_for_line();
}
