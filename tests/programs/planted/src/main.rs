// SPDX-License-Identifier: MIT OR Apache-2.0
//! Blocks of known size, planted where each class of memory is, one class after the other.
//!
//! Plants a class at each line on stdin that names one, and prints what that
//! added: `bytes` and `blocks` as the allocator counts them, `first`, a part of `bytes` where two classes get
//! something, and `mallinfo`, malloc's own count of what is in use. A line "end" ends it.

use ledger::{counting, never_driven, Counting};
use serde_json::json;
use std::cell::RefCell;
use std::hint::black_box;
use std::io::Write;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static GLOBAL: OnceLock<Vec<u8>> = OnceLock::new();
static RAW: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static HIDDEN: AtomicUsize = AtomicUsize::new(0);
static CHAIN: Mutex<Option<Box<Link>>> = Mutex::new(None);

thread_local! {
    static OF_THREAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[allow(dead_code)]
struct Link {
    buffer: Vec<u8>,
    next: Option<Box<Link>>,
}

struct Raw(*mut u8);
unsafe impl Send for Raw {}

fn block(bytes: usize) -> Vec<u8> {
    black_box(vec![0u8; bytes])
}

fn chain(length: usize) -> Option<Box<Link>> {
    (0..length).fold(None, |next, _| Some(Box::new(Link { buffer: block(5_000), next })))
}

async fn holds(held: Vec<u8>, more: Box<[u8]>) {
    std::future::pending::<()>().await;
    drop((held, more));
}

async fn shares(shared: Arc<Vec<u8>>) {
    std::future::pending::<()>().await;
    drop(shared);
}

async fn has_raw(raw: Raw) {
    std::future::pending::<()>().await;
    black_box(raw.0);
}

async fn large_cell() {
    let inline = black_box([0u8; 6_000]);
    std::future::pending::<()>().await;
    black_box(&inline);
}

/// What main keeps on its stack.
struct Kept {
    runtime: Runtime,
    tasks: Vec<JoinHandle<()>>,
    of_stack: Vec<u8>,
    boxes: Vec<Box<[u8; 700]>>,
    shared: Option<Arc<Vec<u8>>>,
    runtimes: Vec<Runtime>,
}

impl Kept {
    fn spawn(&mut self, future: impl std::future::Future<Output = ()> + Send + 'static) {
        self.tasks.push(self.runtime.spawn(future));
        for _ in 0..3 {
            self.runtime.block_on(tokio::task::yield_now());
        }
    }

    /// Plants; the bytes of a part that goes elsewhere than the rest.
    fn plant(&mut self, class: &str) -> usize {
        match class {
            "nothing" => {}
            "global" => GLOBAL.set(block(101_000)).expect("once"),
            "raw global" => RAW.store(block(102_000).leak().as_mut_ptr(), SeqCst),
            "stack" => self.of_stack = block(103_000),
            "boxes" => self.boxes = (0..100).map(|_| Box::new([0; 700])).collect(),
            "thread" => OF_THREAD.set(block(104_000)),
            "chain" => *CHAIN.lock().expect("nobody panics") = chain(20),
            "leaked" => std::mem::forget(block(105_000)),
            // The address is there, but not as one: nothing that reads memory can know.
            "hidden" => HIDDEN.store(!(block(106_000).leak().as_ptr() as usize), SeqCst),
            "held" => {
                return self
                    .plant_task(|kept| kept.spawn(holds(block(107_000), block(10_000).into())))
            }
            "raw" => {
                let raw = Raw(block(108_000).leak().as_mut_ptr());
                return self.plant_task(|kept| kept.spawn(has_raw(raw)));
            }
            "shared" => {
                let shared = Arc::new(block(109_000));
                let other = shared.clone();
                return self.plant_task(|kept| {
                    kept.spawn(shares(shared));
                    kept.spawn(shares(other));
                });
            }
            "shared with main" => {
                let shared = Arc::new(block(110_000));
                self.shared = Some(shared.clone());
                return self.plant_task(|kept| kept.spawn(shares(shared)));
            }
            "cells" => {
                return self.plant_task(|kept| (0..10).for_each(|_| kept.spawn(large_cell())))
            }
            "runtime" => {
                let runtime = never_driven();
                self.tasks.push(runtime.spawn(large_cell()));
                self.runtimes.push(runtime);
                return self.cells_from(self.tasks.len() - 1);
            }
            _ => panic!("{class} is no class"),
        }
        0
    }

    /// Usable bytes of the cells of what `plant` spawns.
    fn plant_task(&mut self, plant: impl FnOnce(&mut Self)) -> usize {
        let before = self.tasks.len();
        plant(self);
        self.cells_from(before)
    }

    fn cells_from(&self, first: usize) -> usize {
        let cell_of = |task: &JoinHandle<()>| unsafe {
            std::ptr::from_ref(task).cast::<*mut libc::c_void>().read()
        };
        let cells = self.tasks[first..]
            .iter()
            .map(|task| unsafe { libc::malloc_usable_size(cell_of(task)) });
        cells.sum()
    }
}

fn mallinfo() -> usize {
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let mut kept = Kept {
        runtime,
        tasks: Vec::with_capacity(100),
        of_stack: Vec::new(),
        boxes: Vec::new(),
        shared: None,
        runtimes: Vec::with_capacity(4),
    };
    // What the first of a kind adds, in tokio, the threads and C, is there before anything is planted.
    kept.spawn(std::future::pending());
    drop(never_driven().spawn(async {}));
    OF_THREAD.set(Vec::new());
    let mut line = String::with_capacity(100);
    loop {
        line.clear();
        let read = std::io::stdin().read_line(&mut line).expect("stdin gives a line");
        if read == 0 || line.trim() == "end" {
            break;
        }
        let (bytes, blocks, _) = counting::live();
        let first = kept.plant(line.trim());
        let (bytes_now, blocks_now, _) = counting::live();
        let in_use = mallinfo();
        println!(
            "{}",
            json!({"bytes": bytes_now - bytes, "blocks": blocks_now - blocks, "first": first,
            "live_bytes": bytes_now, "live_blocks": blocks_now, "mallinfo": in_use})
        );
        std::io::stdout().flush().expect("stdout takes a line");
    }
    black_box(&kept.of_stack);
    black_box((&kept.boxes, &kept.shared, &kept.runtimes, RAW.load(SeqCst), HIDDEN.load(SeqCst)));
}
