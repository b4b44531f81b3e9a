// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the program counts of itself: for each task, by its id, its polls, how it ended, and what it
//! allocated, seen by the allocator below. Fixed arrays: counting allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicU8, Ordering::SeqCst};

pub const TASKS: usize = 8192;

/// How a task is expected to end, and is seen to.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    Finished = 1,
    Aborted,
    Panicked,
    Dropped,
    NeverPolled,
}

pub struct Record {
    pub end: AtomicU8,
    pub is_blocking: AtomicBool,
    pub polls: AtomicU64,
    pub cancels: AtomicU64,
    pub allocations: AtomicU64,
    pub bytes: AtomicU64,
    pub parent: AtomicU64,
    /// What libc allocates while it runs is not known.
    pub warms_up: AtomicBool,
}

#[allow(clippy::declare_interior_mutable_const)]
const EMPTY: Record = Record {
    end: AtomicU8::new(0),
    is_blocking: AtomicBool::new(false),
    polls: AtomicU64::new(0),
    cancels: AtomicU64::new(0),
    allocations: AtomicU64::new(0),
    bytes: AtomicU64::new(0),
    parent: AtomicU64::new(0),
    warms_up: AtomicBool::new(false),
};

pub static RECORDS: [Record; TASKS] = [EMPTY; TASKS];
static COUNTS: AtomicBool = AtomicBool::new(true);

pub fn stop() {
    COUNTS.store(false, SeqCst);
}

pub fn number(id: tokio::task::Id) -> usize {
    // An id is one number, in all versions of tokio.
    const { assert!(size_of::<tokio::task::Id>() == 8) };
    let number: u64 = unsafe { std::mem::transmute(id) };
    number as usize
}

thread_local! {
    /// Set by the tasks themselves while they are polled or dropped.
    pub static RUNNING: Cell<usize> = const { Cell::new(0) };
    /// An output is being dropped by its JoinHandle: under the task's id, by another.
    pub static APART: Cell<bool> = const { Cell::new(false) };
}

#[cfg(feature = "ids")]
pub fn running() -> usize {
    tokio::task::try_id().map_or(0, number)
}

#[cfg(not(feature = "ids"))]
pub fn running() -> usize {
    RUNNING.try_with(Cell::get).unwrap_or(0)
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    if !COUNTS.load(SeqCst) || APART.try_with(Cell::get).unwrap_or(true) {
        return;
    }
    let record = &RECORDS[running()];
    record.allocations.fetch_add(1, SeqCst);
    record.bytes.fetch_add(bytes as u64, SeqCst);
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        System.alloc(layout)
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        System.alloc_zeroed(layout)
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        System.realloc(block, layout, bytes)
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        System.dealloc(block, layout)
    }
}
