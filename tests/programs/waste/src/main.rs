// SPDX-License-Identifier: MIT OR Apache-2.0
//! Six kinds of waste, planted: tasks that never end, a cache that only grows, temporary allocations, a fat
//! future, a list of JoinHandles that nobody awaits, a buffer that never shrinks. Prints how much of each as JSON
//! and exits without dropping anything.

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const WAITING: usize = 300;
const WAITING_BYTES: usize = 2_000;
const ENTRIES: usize = 3_000;
const ENTRY_BYTES: usize = 1_000;
const TEMPORARIES: usize = 200_000;
const TEMPORARY_BYTES: usize = 64;
const FAT: usize = 20;
const FAT_BYTES: usize = 65_536;
const HANDLES: usize = 500;
const BUFFER_BYTES: usize = 5_000_000;

static CACHE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());
static KEPT: Mutex<Vec<JoinHandle<[u64; 16]>>> = Mutex::new(Vec::new());

/// 1. Never told to go on.
async fn waits_for_ever(never: Arc<Notify>) {
    let kept = black_box(vec![1u8; WAITING_BYTES]);
    never.notified().await;
    drop(kept);
}

fn entry(number: usize) -> Box<[u8]> {
    vec![number as u8; ENTRY_BYTES].into_boxed_slice()
}

/// 2. Nothing is ever taken out.
async fn fills_cache() {
    for number in 0..ENTRIES {
        CACHE.lock().unwrap().push(entry(number));
        tokio::task::yield_now().await;
    }
}

/// 3. Each is freed at once.
async fn makes_temporaries() {
    for number in 0..TEMPORARIES {
        drop(black_box(vec![number as u8; TEMPORARY_BYTES]));
    }
}

/// 4. The array lives across the await, so in the future.
async fn fat(never: Arc<Notify>) {
    let mut array = [0u8; FAT_BYTES];
    black_box(&mut array);
    never.notified().await;
    black_box(&array);
}

/// 5. Ended, but its output is kept for whoever awaits the handle.
async fn answers() -> [u64; 16] {
    [7; 16]
}

/// 6. Was needed once; only its length goes back.
async fn keeps_big_buffer(never: Arc<Notify>) {
    let mut buffer = Vec::<u8>::with_capacity(BUFFER_BYTES);
    buffer.resize(BUFFER_BYTES, 1);
    black_box(&mut buffer).clear();
    never.notified().await;
    drop(buffer);
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let never = Arc::new(Notify::new());
    for _ in 0..WAITING {
        tokio::spawn(waits_for_ever(never.clone()));
    }
    for _ in 0..FAT {
        tokio::spawn(fat(never.clone()));
    }
    for _ in 0..HANDLES {
        KEPT.lock().unwrap().push(tokio::spawn(answers()));
    }
    tokio::spawn(keeps_big_buffer(never.clone()));
    tokio::spawn(makes_temporaries()).await.unwrap();
    tokio::spawn(fills_cache()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let fat_bytes = std::mem::size_of_val(&fat(never.clone()));
    println!(
        "{{\"unfinished\":{{\"tasks\":{WAITING},\"bytes\":{}}},\"cache\":{{\"entries\":{ENTRIES},\"bytes\":{}}},\
         \"temporary\":{{\"allocations\":{TEMPORARIES},\"bytes\":{}}},\"fat\":{{\"tasks\":{FAT},\"future_bytes\":{fat_bytes}}},\
         \"handles\":{{\"tasks\":{HANDLES}}},\"buffer\":{{\"bytes\":{BUFFER_BYTES}}}}}",
        WAITING * WAITING_BYTES,
        ENTRIES * ENTRY_BYTES,
        TEMPORARIES * TEMPORARY_BYTES
    );
    std::process::exit(0);
}
