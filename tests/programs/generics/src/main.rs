// SPDX-License-Identifier: MIT OR Apache-2.0
//! Generic futures that are held by reference. The compiler merges polls of equal code and may keep one of
//! them: what is a future must not depend on which.

use serde_json::json;
use std::future::pending;
use std::time::Duration;
use subject::{announce, settle, wait_for_line};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

async fn leaf<T>() -> T {
    pending().await
}

async fn select_handle<T: Send + 'static>(mut handle: JoinHandle<T>) -> bool {
    tokio::select! {
        done = &mut handle => done.is_ok(),
        () = tokio::time::sleep(Duration::from_secs(3600)) => false,
    }
}

/// Two tasks.
fn spawn<T: Send + 'static>(runtime: &Handle) {
    runtime.spawn(select_handle(runtime.spawn(leaf::<T>())));
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let handle = runtime.handle();
    spawn::<u64>(handle);
    spawn::<i64>(handle);
    spawn::<usize>(handle);
    spawn::<u32>(handle);
    spawn::<()>(handle);
    spawn::<Box<u8>>(handle);
    spawn::<Result<u64, u64>>(handle);
    settle(handle, 0);
    announce(&json!({"selects": 7, "alive": handle.metrics().num_alive_tasks()}));
    wait_for_line();
}
