// SPDX-License-Identifier: MIT OR Apache-2.0
//! Raw pointers, with an owner that frees what they lead to and without one; leaked and forgotten memory.

use crate::values::text;
use crate::{inline_cases, special_values, values, Places};
use ledger::counting::freed_by_c;
use ledger::{rest, Cases};
use std::alloc::{alloc, dealloc, Layout};
use std::hint::black_box;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A list by raw pointers, which its Drop frees.
struct RawList {
    head: *mut RawNode,
}

struct RawNode {
    next: *mut RawNode,
    text: String,
}

unsafe impl Send for RawList {}

impl RawList {
    fn new(count: usize) -> Self {
        let mut head = std::ptr::null_mut();
        for length in 0..count {
            head = Box::into_raw(Box::new(RawNode { next: head, text: text(length % 60) }));
        }
        Self { head }
    }
}

impl Drop for RawList {
    fn drop(&mut self) {
        while !self.head.is_null() {
            let node = unsafe { Box::from_raw(self.head) };
            black_box(&node.text);
            self.head = node.next;
        }
    }
}

/// A buffer of its own making, as collections have it.
struct OwnBuffer<T> {
    start: NonNull<T>,
    layout: Layout,
    _owns: PhantomData<T>,
}

unsafe impl<T> Send for OwnBuffer<T> {}

impl<T> OwnBuffer<T> {
    fn new(count: usize) -> Self {
        let layout = Layout::array::<T>(count).expect("small");
        let start = NonNull::new(unsafe { alloc(layout) }.cast()).expect("memory");
        Self { start, layout, _owns: PhantomData }
    }
}

impl<T> Drop for OwnBuffer<T> {
    fn drop(&mut self) {
        unsafe { dealloc(self.start.as_ptr().cast(), self.layout) }
    }
}

/// The address of a box, in the lowest bit of which a flag is kept.
struct Marked(usize);

impl Marked {
    fn new() -> Self {
        Self(Box::into_raw(Box::new([5u64; 33])) as usize | 1)
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        drop(unsafe { Box::from_raw((self.0 & !1) as *mut [u64; 33]) });
    }
}

/// Memory of C's malloc.
struct FromC(*mut libc::c_void);

unsafe impl Send for FromC {}

impl Drop for FromC {
    fn drop(&mut self) {
        unsafe {
            freed_by_c(libc::malloc_usable_size(self.0));
            libc::free(self.0);
        }
    }
}

struct Raw(*mut [u8; 900]);
unsafe impl Send for Raw {}

/// Nobody frees it: its end frees nothing of it, though the task alone has its address.
async fn raw_without_an_owner() {
    let raw = Raw(Box::into_raw(Box::new([1; 900])));
    rest().await;
    black_box(raw.0);
}

async fn leaked() {
    let leaked: &'static mut [u8] = Box::leak(vec![1u8; 1700].into_boxed_slice());
    rest().await;
    black_box(leaked);
}

async fn not_dropped() {
    let kept = ManuallyDrop::new(text(1800));
    rest().await;
    black_box(&kept);
}

async fn from_raw_again() {
    let raw = Box::into_raw(Box::new(text(190)));
    let again = unsafe { Box::from_raw(raw) };
    rest().await;
    drop(again);
}

pub fn start(cases: &mut Cases, places: &Places) {
    values!(cases, places.many;
        raw_list_empty: RawList::new(0), raw_list: RawList::new(500), own_buffer: OwnBuffer::<u64>::new(250),
        marked: Marked::new(), vec_of_marked: vec![Marked::new(), Marked::new()],
    );
    special_values!(cases, places.many; from_c: FromC(unsafe { libc::malloc(5000) }));
    inline_cases!(cases, places.many; raw_without_an_owner, leaked, not_dropped, from_raw_again);
}
