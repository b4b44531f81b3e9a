// SPDX-License-Identifier: MIT OR Apache-2.0
//! One task for each shape that an await can have.
//!
//! truth: beside each shape stands its tree, which the tests read:
//!
//!     // tree:
//!     //   trees::shapes::nested @nested
//!     //     trees::shapes::leaf @leaf: notification
//!
//! A line is a future of this program by name, then the tag of the line it waits at, which is the source
//! line that ends with that tag in a comment (`// @nested`), then after a colon what the leaf under it
//! waits for, in asyncmem's words. `*5` before the name: five such futures. Futures of other crates that stand
//! between two of the program's own are left out. A future that is held and not awaited, or that has ended,
//! is not in the tree. The first name is that of the task, and of no other task.
//!
//! When every task waits, the program prints one line of JSON: `tasks`, how many there are of all trees
//! together, and `alive`, what tokio counts. A line on stdin ends it.

mod leaves;
mod macros;
mod many;
mod shapes;

use serde_json::json;
use subject::{announce, settle, wait_for_line};
use tokio::runtime::{Builder, Handle};

/// Children that tasks spawn themselves; they are not counted among the trees.
pub const JOIN_SET_CHILDREN: usize = 3;

fn spawn_all(runtime: &Handle) -> usize {
    let _inside = runtime.enter();
    shapes::spawn() + macros::spawn() + many::spawn() + leaves::spawn()
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let handle = runtime.handle().clone();
    let trees = spawn_all(&handle);
    settle(&handle, 0);

    // Driven until its task is in the queue again, and never more.
    let queue = Builder::new_current_thread().build().expect("a runtime starts");
    queue.block_on(leaves::queued());

    let alive = handle.metrics().num_alive_tasks() + queue.metrics().num_alive_tasks();
    assert_eq!(alive, trees + JOIN_SET_CHILDREN + 1);
    announce(&json!({"tasks": trees + 1, "alive": alive}));
    wait_for_line();
    leaves::release();
}
