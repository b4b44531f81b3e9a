// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks that end in every way, on every kind of runtime, each counting itself.
//!
//! truth: printed as one line of JSON at the end. `tasks`: of each spawned task its id, how it ended, its
//! polls (calls of its future's poll), the polls that only cancelled it, whether it is a blocking one, and
//! what was allocated while it ran. `workers`: how many worker loops there were besides, each a task of one
//! poll. `crowd`: how many tasks of `crowd_member` are there at once. Each task but those never polled leaves one block, so that its row is kept.
//!
//! What a JoinHandle drops of a finished task is counted apart: the runtime says that it is the task's,
//! although another one does it.

mod counting;
mod scenes;
mod watched;

use counting::{stop, RECORDS};
use serde_json::{json, Value};
use std::sync::atomic::Ordering::SeqCst;

const ENDS: [&str; 6] = ["unknown", "finished", "aborted", "panicked", "dropped", "never_polled"];

fn tasks() -> Vec<Value> {
    let mut rows = Vec::new();
    for (id, record) in RECORDS.iter().enumerate() {
        let end = record.end.load(SeqCst) as usize;
        if end == 0 || id == 0 {
            continue;
        }
        rows.push(json!({
            "id": id,
            "end": ENDS[end],
            "polls": record.polls.load(SeqCst),
            "cancels": record.cancels.load(SeqCst),
            "blocking": record.is_blocking.load(SeqCst),
            "allocations": record.allocations.load(SeqCst),
            "bytes": record.bytes.load(SeqCst),
            "warms_up": record.warms_up.load(SeqCst),
            "parent": record.parent.load(SeqCst),
        }));
    }
    rows
}

fn main() {
    std::panic::set_hook(Box::new(|_| ()));
    let rounds = std::env::args().nth(1).map_or(1, |rounds| rounds.parse().expect("a number"));
    let mut workers = 0;
    for _ in 0..rounds {
        workers += scenes::all();
    }
    stop();
    println!("{}", json!({ "workers": workers, "crowd": scenes::CROWD, "tasks": tasks() }));
}
