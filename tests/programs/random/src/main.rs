// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs made by tests/snapshot/random_programs.py, each a task or two: see ../ledger. What is compiled is
//! the file that ASYNCMEM_RANDOM_SOURCE names, or the small sample beside this one.

#![allow(warnings)]

use bytes::{Bytes, BytesMut};
use futures::future::{self, BoxFuture, FutureExt};
use futures::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use ledger::{rest, Cases, Counting, Place};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn text(length: usize) -> String {
    "x".repeat(length)
}

/// Takes a value, and drops it now.
fn takes<T>(taken: T) {
    black_box(&taken);
}

/// Drop code of its own, as a guard has it.
struct Guard(Vec<u8>);

impl Drop for Guard {
    fn drop(&mut self) {
        black_box(self.0.len());
    }
}

trait Speak: Send + Sync {
    fn speak(&self) -> usize;
}

impl Speak for Guard {
    fn speak(&self) -> usize {
        self.0.len()
    }
}

impl Speak for String {
    fn speak(&self) -> usize {
        self.len()
    }
}

enum Shape {
    Nothing,
    Named(String),
    Many { items: Vec<u32>, name: Box<str> },
    Nested(Box<Shape>),
}

include!(env!("RANDOM_SOURCE"));

fn main() {
    let places = [Place::multi_thread(), Place::current_thread()];
    let mut cases = Cases::default();
    start(&mut cases, &places);
    ledger::run(cases, &places.each_ref());
}
