// SPDX-License-Identifier: MIT OR Apache-2.0
//! The traps that async Rust sets to a memory analyser, each in a function of its own.
//!
//! Every trap says its truth in a comment (`// truth: ...`). A line ending in `// @await:NAME` has the
//! `.await` or calls the macro that has it, one ending in `// @macro:NAME` is a line inside a macro, and
//! below `// @fn:NAME` a future starts: the tests find line numbers by these markers, so lines may move
//! but markers stay where they belong. The program polls every trap a few times, cancels those that wait
//! for ever, and ends with 0.
//!
//! The `black_box` calls keep a variable alive after an await; without a use there it would have no slot.

mod kinds;
mod leaves;
mod nesting;
mod slots;

use std::future::Future;
use std::time::Duration;

/// Polls a future at least once, then cancels it.
pub async fn briefly<F>(future: F)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let task = tokio::spawn(future);
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    task.abort();
    drop(task.await);
}

/// The plainest leaf: pending once, then ready.
pub async fn nap() {
    tokio::task::yield_now().await; // @await:nap
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let everything = async {
        slots::run().await;
        kinds::run().await;
        leaves::run().await;
        nesting::run().await;
    };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, everything).await.expect("the traps end by themselves");
    println!("traps: all polled");
}
