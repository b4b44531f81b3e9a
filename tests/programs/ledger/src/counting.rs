// SPDX-License-Identifier: MIT OR Apache-2.0
//! The allocator: the system's, with counters of what is live, and a window that adds up what is freed.
//!
//! In the window only blocks count that were there when it was opened: what a drop allocates and frees
//! again is nobody's. Bytes are usable ones, as malloc_usable_size says. One window at a time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

pub struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static LIVE_BLOCKS: AtomicUsize = AtomicUsize::new(0);
static REQUESTED_BYTES: AtomicUsize = AtomicUsize::new(0);

const MAX_NEW: usize = 1024;
pub const MAX_SIZES: usize = 24;
static IS_OPEN: AtomicBool = AtomicBool::new(false);
static LOCK: AtomicBool = AtomicBool::new(false);
static FREED_BYTES: AtomicUsize = AtomicUsize::new(0);
static FREED_BLOCKS: AtomicUsize = AtomicUsize::new(0);
static SIZES: [AtomicUsize; MAX_SIZES] = [const { AtomicUsize::new(0) }; MAX_SIZES];
static NEW: [AtomicUsize; MAX_NEW] = [const { AtomicUsize::new(0) }; MAX_NEW];
const MAX_WATCHED: usize = 16;
static WATCHED: [AtomicUsize; MAX_WATCHED] = [const { AtomicUsize::new(0) }; MAX_WATCHED];

thread_local! {
    static BY_THREAD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// What this thread allocated less what it freed: usable and asked-for bytes.
pub fn by_thread() -> (usize, usize) {
    BY_THREAD.get()
}

fn count_by_thread(bytes: usize, requested: usize) {
    let (all_bytes, all_requested) = BY_THREAD.get();
    BY_THREAD.set((all_bytes.wrapping_add(bytes), all_requested.wrapping_add(requested)));
}

/// Usable bytes, blocks and asked-for bytes that are live now.
pub fn live() -> (usize, usize, usize) {
    (LIVE_BYTES.load(SeqCst), LIVE_BLOCKS.load(SeqCst), REQUESTED_BYTES.load(SeqCst))
}

/// What was freed in a window; the first sizes, for whoever looks for a difference.
pub struct Freed {
    pub bytes: usize,
    pub blocks: usize,
    pub sizes: Vec<usize>,
}

/// Opens the window; `watched` are the blocks that `are_watched_freed` tells about.
pub fn open(watched: impl Iterator<Item = usize>) {
    for one in &NEW {
        one.store(0, SeqCst);
    }
    FREED_BYTES.store(0, SeqCst);
    FREED_BLOCKS.store(0, SeqCst);
    for (number, block) in watched.enumerate() {
        WATCHED[number].store(block, SeqCst);
    }
    IS_OPEN.store(true, SeqCst);
}

pub fn are_watched_freed() -> bool {
    WATCHED.iter().all(|one| one.load(SeqCst) == 0)
}

pub fn close() -> Freed {
    IS_OPEN.store(false, SeqCst);
    let blocks = FREED_BLOCKS.load(SeqCst);
    let sizes = SIZES[..blocks.min(MAX_SIZES)].iter().map(|size| size.load(SeqCst)).collect();
    Freed { bytes: FREED_BYTES.load(SeqCst), blocks, sizes }
}

/// Counts a block that was freed by C's free(), not by this allocator.
pub fn freed_by_c(bytes: usize) {
    if IS_OPEN.load(SeqCst) {
        count(bytes);
    }
}

fn count(bytes: usize) {
    FREED_BYTES.fetch_add(bytes, SeqCst);
    let position = FREED_BLOCKS.fetch_add(1, SeqCst);
    if position < MAX_SIZES {
        SIZES[position].store(bytes, SeqCst);
    }
}

/// Only while the window is open, when hardly anything runs.
fn locked(act: impl FnOnce()) {
    while LOCK.swap(true, SeqCst) {
        std::hint::spin_loop();
    }
    act();
    LOCK.store(false, SeqCst);
}

#[cold]
fn note_new(at: usize) {
    locked(|| {
        let free = NEW.iter().find(|one| one.load(SeqCst) == 0);
        free.expect("fewer new blocks in a window").store(at, SeqCst);
    });
}

#[cold]
fn note_freed(at: usize, bytes: usize) {
    locked(|| match NEW.iter().find(|one| one.load(SeqCst) == at) {
        Some(new) => new.store(0, SeqCst),
        None => {
            count(bytes);
            let watched = WATCHED.iter().find(|one| one.load(SeqCst) == at);
            watched.into_iter().for_each(|one| one.store(0, SeqCst));
        }
    });
}

fn usable(at: *mut u8) -> usize {
    unsafe { libc::malloc_usable_size(at.cast()) }
}

fn allocated(at: *mut u8, layout: Layout) -> *mut u8 {
    if !at.is_null() {
        LIVE_BYTES.fetch_add(usable(at), SeqCst);
        LIVE_BLOCKS.fetch_add(1, SeqCst);
        REQUESTED_BYTES.fetch_add(layout.size(), SeqCst);
        count_by_thread(usable(at), layout.size());
        if IS_OPEN.load(SeqCst) {
            note_new(at as usize);
        }
    }
    at
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(System.alloc(layout), layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocated(System.alloc_zeroed(layout), layout)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let bytes = usable(at);
        LIVE_BYTES.fetch_sub(bytes, SeqCst);
        LIVE_BLOCKS.fetch_sub(1, SeqCst);
        REQUESTED_BYTES.fetch_sub(layout.size(), SeqCst);
        count_by_thread(bytes.wrapping_neg(), layout.size().wrapping_neg());
        if IS_OPEN.load(SeqCst) {
            note_freed(at as usize, bytes);
        }
        System.dealloc(at, layout);
    }
}
