// SPDX-License-Identifier: MIT OR Apache-2.0
//! The allocator that counts its calls, and the future that says for whom.
//!
//! A reallocation is an allocation and a free, as the tracer has it. Bytes are those asked for.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

pub const NR_TASKS: usize = 200;
const NOBODY: usize = NR_TASKS;

pub struct Counting<A>(pub A);

#[derive(Default)]
pub struct Sums {
    id: AtomicU64,
    polls: AtomicU64,
    allocations: AtomicUsize,
    allocated_bytes: AtomicUsize,
    frees: AtomicUsize,
    freed_bytes: AtomicUsize,
}

/// One row more: of what was done by nobody of the tasks.
static SUMS: [Sums; NR_TASKS + 1] = [const { Sums::new() }; NR_TASKS + 1];

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(NOBODY) };
}

pub struct Counts(usize, usize, usize, usize);

impl fmt::Display for Counts {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "\"allocations\":{},\"allocated_bytes\":{}", self.0, self.1)?;
        write!(to, ",\"frees\":{},\"freed_bytes\":{}", self.2, self.3)
    }
}

impl Sums {
    const fn new() -> Self {
        Sums {
            id: AtomicU64::new(0),
            polls: AtomicU64::new(0),
            allocations: AtomicUsize::new(0),
            allocated_bytes: AtomicUsize::new(0),
            frees: AtomicUsize::new(0),
            freed_bytes: AtomicUsize::new(0),
        }
    }

    pub fn id(&self) -> u64 {
        self.id.load(Relaxed)
    }

    pub fn nr_polls(&self) -> u64 {
        self.polls.load(Relaxed)
    }

    pub fn counts(&self) -> Counts {
        Counts(
            self.allocations.load(Relaxed),
            self.allocated_bytes.load(Relaxed),
            self.frees.load(Relaxed),
            self.freed_bytes.load(Relaxed),
        )
    }
}

pub fn of_task(number: usize) -> &'static Sums {
    &SUMS[number]
}

pub fn all() -> Counts {
    SUMS.iter().fold(Counts(0, 0, 0, 0), |sum, task| {
        let here = task.counts();
        Counts(sum.0 + here.0, sum.1 + here.1, sum.2 + here.2, sum.3 + here.3)
    })
}

fn current() -> &'static Sums {
    &SUMS[CURRENT.try_with(Cell::get).unwrap_or(NOBODY)]
}

fn made(block: *mut u8, bytes: usize) -> *mut u8 {
    if !block.is_null() {
        current().allocations.fetch_add(1, Relaxed);
        current().allocated_bytes.fetch_add(bytes, Relaxed);
    }
    block
}

fn gone(bytes: usize) {
    current().frees.fetch_add(1, Relaxed);
    current().freed_bytes.fetch_add(bytes, Relaxed);
}

unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        made(self.0.alloc(layout), layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        made(self.0.alloc_zeroed(layout), layout.size())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        gone(layout.size());
        self.0.dealloc(block, layout);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let moved = self.0.realloc(block, layout, new_size);
        if !moved.is_null() {
            gone(layout.size());
        }
        made(moved, new_size)
    }
}

/// tokio's number of the task that is polled; its Display would be the way, but that takes memory.
fn own_id() -> u64 {
    unsafe { std::mem::transmute::<tokio::task::Id, u64>(tokio::task::id()) }
}

/// A task's future: what it does when it is polled and dropped is counted as its own.
pub struct Counted<F> {
    number: usize,
    inner: ManuallyDrop<F>,
}

impl<F> Counted<F> {
    pub fn new(number: usize, inner: F) -> Self {
        Self { number, inner: ManuallyDrop::new(inner) }
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = unsafe { self.get_unchecked_mut() };
        let sums = of_task(this.number);
        sums.id.store(own_id(), Relaxed);
        let before = CURRENT.replace(this.number);
        let answer = unsafe { Pin::new_unchecked(&mut *this.inner) }.poll(context);
        CURRENT.set(before);
        sums.polls.fetch_add(1, Relaxed);
        answer
    }
}

impl<F> Drop for Counted<F> {
    fn drop(&mut self) {
        let before = CURRENT.replace(self.number);
        unsafe { ManuallyDrop::drop(&mut self.inner) };
        CURRENT.set(before);
    }
}
