// SPDX-License-Identifier: MIT OR Apache-2.0
//! A library that a program loads while it runs. It has its own copy of tokio, whose vtables, types and
//! ids have nothing to do with those of the program's.

use std::ffi::c_ulong;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

async fn in_plugin() {
    tokio::sync::Notify::new().notified().await;
}

/// Spawns tasks that wait for ever on a runtime with one worker; how many are alive.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_spawn(count: c_ulong) -> c_ulong {
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(1).build().expect("a runtime starts")
    });
    for _ in 0..count {
        runtime.spawn(in_plugin());
    }
    runtime.metrics().num_alive_tasks() as c_ulong
}

/// 1 while the worker is parked.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_is_quiet() -> c_ulong {
    let metrics = RUNTIME.get().expect("plugin_spawn comes first").metrics();
    (metrics.worker_park_unpark_count(0) % 2 == 1 && metrics.global_queue_depth() == 0) as c_ulong
}
