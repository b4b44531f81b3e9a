// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts the live blocks and the bytes asked for, and hands all calls on to malloc. One addition for each
//! call, so that dropping a value costs hardly more instructions than in a program that does not count.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub struct Counting;

/// Blocks above, bytes in the lower bits.
static LIVE: AtomicU64 = AtomicU64::new(0);
const BYTES_BITS: u32 = 36;
pub const MAX_BLOCKS: usize = (1 << (u64::BITS - BYTES_BITS)) - 1;

fn one_of(size: usize) -> u64 {
    (1 << BYTES_BITS) + size as u64
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(one_of(layout.size()), Relaxed);
        System.alloc(layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(one_of(layout.size()), Relaxed);
        System.alloc_zeroed(layout)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(one_of(layout.size()), Relaxed);
        System.dealloc(block, layout);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add((size as u64).wrapping_sub(layout.size() as u64), Relaxed);
        System.realloc(block, layout, size)
    }
}

pub struct Live {
    pub blocks: usize,
    pub bytes: u64, // asked for
}

pub fn live() -> Live {
    let live = LIVE.load(Relaxed);
    Live { blocks: (live >> BYTES_BITS) as usize, bytes: live & ((1 << BYTES_BITS) - 1) }
}

/// struct mallinfo2 of glibc's malloc.h.
#[repr(C)]
#[derive(Default)]
struct MallInfo {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

extern "C" {
    fn mallinfo2() -> MallInfo;
}

/// What malloc itself says of all arenas and mapped chunks: chunks in use, with their headers; freed ones
/// in a tcache count as used.
pub fn malloc_bytes() -> usize {
    let info = unsafe { mallinfo2() };
    info.uordblks + info.hblkhd
}
