// SPDX-License-Identifier: MIT OR Apache-2.0
//! Suspended tasks, and a thread beside them that sees how long it stands still.
//!
//!     tasks NUMBER
//!
//! spawns NUMBER tasks: a third sleeps in the task's own future, a third four async fns deep, a third
//! inside a Pin<Box<dyn Future>>. When all are suspended it prints how many of each there are. Then each
//! line on stdin is answered by a line of JSON about the time since the line before; after the line
//! "rest" the thread leaves its processor to others until the next line. The end of stdin ends the program.

mod watcher;

use std::future::Future;
use std::hint::black_box;
use std::io::BufRead;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use watcher::Watcher;

const WORKERS: usize = 2;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

static BEGUN: AtomicUsize = AtomicUsize::new(0);

async fn plain(number: usize) -> usize {
    let kept = black_box([number; 4]);
    BEGUN.fetch_add(1, SeqCst);
    tokio::time::sleep(DAY).await;
    black_box(&kept).len()
}

async fn handle_connection(number: usize) -> usize {
    let buffer = black_box([number as u8; 64]);
    handle_request(number).await + black_box(&buffer).len()
}

async fn handle_request(number: usize) -> usize {
    let name = black_box(number.to_string());
    query(number).await + black_box(&name).len()
}

async fn query(number: usize) -> usize {
    let row = black_box([number; 2]);
    plain(number).await + black_box(&row).len()
}

fn handler(number: usize) -> Pin<Box<dyn Future<Output = usize> + Send>> {
    Box::pin(plain(number))
}

async fn dispatch(number: usize) -> usize {
    let answer = handler(number).await;
    black_box(number) + answer
}

fn main() {
    let number: usize = std::env::args().nth(1).expect("NUMBER").parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_time()
        .build()
        .expect("a runtime");
    let mut counts = [0; 3];
    let tasks: Vec<_> = (0..number)
        .map(|i| {
            counts[i % 3] += 1;
            match i % 3 {
                0 => runtime.spawn(plain(i)),
                1 => runtime.spawn(handle_connection(i)),
                _ => runtime.spawn(dispatch(i)),
            }
        })
        .collect();
    while BEGUN.load(SeqCst) < number {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50)); // the last one gets to its await, workers to sleep
    let watcher = Watcher::start();
    println!(
        "{{\"tasks\":{},\"plain\":{},\"nested\":{},\"boxed\":{}}}",
        tasks.len(),
        counts[0],
        counts[1],
        counts[2]
    );
    for line in std::io::stdin().lock().lines() {
        let rests = line.is_ok_and(|line| line == "rest");
        println!("{}", if rests { watcher.rest() } else { watcher.take() });
    }
}
