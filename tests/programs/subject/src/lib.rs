// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the programs share that are looked at from outside: they wait until nothing moves, print what
//! must be seen as one line of JSON, stay as they are until a line comes on stdin, and end.

use std::io::Write;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

const LIMIT: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_millis(100);

/// Waits until a condition holds; panics when it does not within a minute.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How often each worker parked and unparked; odd while it is parked.
fn parkings(runtime: &Handle) -> Vec<u64> {
    let metrics = runtime.metrics();
    (0..metrics.num_workers()).map(|worker| metrics.worker_park_unpark_count(worker)).collect()
}

/// Waits until all but `busy` workers of a runtime are parked, with nothing in the queue, and stay so.
pub fn settle(runtime: &Handle, busy: usize) {
    let mut before = Vec::new();
    let mut since = Instant::now();
    wait_until("the runtime is quiet", || {
        let now = parkings(runtime);
        let parked = now.iter().filter(|count| *count % 2 == 1).count();
        let quiet = parked + busy == now.len() && runtime.metrics().global_queue_depth() == 0;
        if !quiet || now != before {
            since = Instant::now();
            before = now;
        }
        quiet && since.elapsed() >= QUIET
    });
}

/// Prints the truth as one line.
pub fn announce(truth: &serde_json::Value) {
    println!("{truth}");
    std::io::stdout().flush().expect("stdout takes a line");
}

/// Returns when a line has come on stdin, or its end.
pub fn wait_for_line() {
    std::io::stdin().read_line(&mut String::new()).expect("stdin gives a line");
}
