// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traps about names: the kinds of futures and where they can be written.

use crate::{briefly, nap};
use std::fmt::Debug;
use std::future::Future;
use std::hint::black_box;

// truth: two futures, `generic<u32>` and `generic<String>`, of different sizes.
// @fn:generic
pub async fn generic<T: Debug>(value: T) -> usize {
    nap().await; // @await:generic
    format!("{value:?}").len()
}

// truth: one future for each length; the name tells the lengths apart.
// @fn:generic_length
pub async fn generic_length<const LENGTH: usize>() -> u8 {
    let bytes = black_box([3u8; LENGTH]);
    nap().await; // @await:generic_length
    bytes[LENGTH - 1]
}

pub struct Conn {
    buffer: Vec<u8>,
}

impl Conn {
    // truth: named `Conn::read`; `self` is a borrowed slot of 8 bytes.
    // @fn:Conn::read
    pub async fn read(&mut self) -> usize {
        nap().await; // @await:inherent
        self.buffer.len()
    }
}

pub struct Pool<T> {
    items: Vec<T>,
}

impl<T: Debug> Pool<T> {
    // truth: a method of a generic type, with a type parameter of its own.
    // @fn:Pool::fill
    pub async fn fill<U: Debug>(&mut self, with: U) -> usize {
        nap().await; // @await:generic_impl
        self.items.len() + format!("{with:?}{:?}", self.items).len()
    }
}

pub trait Handler {
    fn call(&self, request: u64) -> impl Future<Output = u64> + Send;
}

pub struct Svc {
    factor: u64,
}

pub struct Logged {
    inner: Svc,
}

impl Handler for Svc {
    // truth: named `<Svc as Handler>::call`.
    // @fn:Svc::call
    async fn call(&self, request: u64) -> u64 {
        nap().await; // @await:trait_method
        self.factor * request
    }
}

impl Handler for Logged {
    // truth: the other implementor; awaits the first one, which is its whole chain.
    // @fn:Logged::call
    async fn call(&self, request: u64) -> u64 {
        self.inner.call(request).await // @await:trait_method_calls_trait_method
    }
}

#[async_trait::async_trait]
pub trait Store: Sync {
    async fn load(&self, key: String) -> usize;
}

pub struct MemStore {
    entries: Vec<String>,
}

#[async_trait::async_trait]
impl Store for MemStore {
    // truth: the macro makes this a plain fn that boxes an async block; the block is inside `load`.
    // @fn:async_trait
    async fn load(&self, key: String) -> usize {
        nap().await; // @await:async_trait
        self.entries.iter().filter(|entry| **entry == key).count()
    }
}

// truth: `block_by_move` captures `text` by value (24 bytes) and uses it in place: an upvar slot.
pub fn block_by_move(text: String) -> impl Future<Output = usize> + Send {
    // @fn:block_by_move
    async move {
        nap().await; // @await:block_by_move
        text.len()
    }
}

// truth: the block captures `text` by reference (8 bytes); the String is a slot of the async fn.
// @fn:block_by_ref
pub async fn block_by_ref(text: String) -> usize {
    // @fn:block_by_ref_inner
    let block = async {
        nap().await; // @await:block_by_ref_inner
        text.len()
    };
    let length = block.await; // @await:block_by_ref
    length + text.len()
}

// truth: `moved_on` is moved out of the capture into a local before the await.
pub fn block_moves_capture(moved_on: String) -> impl Future<Output = usize> + Send {
    // @fn:block_moves_capture
    async move {
        let local = moved_on;
        nap().await; // @await:block_moves_capture
        local.len()
    }
}

// truth: three blocks inside each other; each captures `seed` from the one around it.
pub fn nested_blocks(seed: [u8; 32]) -> impl Future<Output = u8> + Send {
    // @fn:block_outer
    async move {
        // @fn:block_middle
        let middle = async move {
            // @fn:block_inner
            let inner = async move {
                nap().await; // @await:block_inner
                seed[0]
            };
            inner.await + seed[1] // @await:block_middle
        };
        middle.await + seed[2] // @await:block_outer
    }
}

// truth: two blocks of one fn: `{async block#0}` and `{async block#1}`.
// @fn:two_blocks
pub async fn two_blocks() -> u64 {
    // @fn:two_blocks_first
    let first = async {
        let kept = black_box([1u64; 2]);
        nap().await; // @await:two_blocks_first
        kept[0]
    };
    // @fn:two_blocks_second
    let second = async {
        let kept = black_box([1u64; 6]);
        nap().await; // @await:two_blocks_second
        kept[5]
    };
    first.await + second.await
}

// truth: an async closure; its argument `step` is moved into a local, its capture `base` is not.
// @fn:async_closure
pub async fn async_closure(base: String) -> usize {
    // @fn:async_closure_body
    let add = async |step: u64| {
        nap().await; // @await:async_closure_body
        base.len() + step as usize
    };
    add(3).await + add(4).await
}

// truth: a plain closure that returns an async block: the block is inside `{closure}`.
// @fn:closure_with_block
pub async fn closure_with_block() -> u64 {
    // @fn:closure_block
    let later = |step: u64| async move {
        nap().await; // @await:closure_block
        step + 1
    };
    later(1).await + later(2).await // @await:closure_with_block
}

pub mod deep {
    pub mod er {
        // truth: the name carries the modules: `traps::kinds::deep::er::run`.
        // @fn:deep
        pub async fn run() -> u64 {
            crate::nap().await; // @await:deep
            7
        }
    }
}

pub async fn run() {
    briefly(generic(5u32)).await;
    briefly(generic(String::from("text"))).await;
    briefly(generic_length::<16>()).await;
    briefly(generic_length::<48>()).await;
    let (buffer, items, inner) = (vec![1, 2], vec![1u16, 2], Svc { factor: 3 });
    briefly(async move { Conn { buffer }.read().await }).await;
    briefly(async move { Pool { items }.fill("word").await }).await;
    briefly(async move { Logged { inner }.call(4).await }).await;
    let entries = vec![String::from("key")];
    let store: Box<dyn Store + Send> = Box::new(MemStore { entries });
    briefly(async move { store.load(String::from("key")).await }).await;
    briefly(block_by_move(String::from("moved"))).await;
    briefly(block_by_ref(String::from("lent"))).await;
    briefly(block_moves_capture(String::from("moved on"))).await;
    briefly(nested_blocks(black_box([1; 32]))).await;
    briefly(two_blocks()).await;
    briefly(async_closure(String::from("base"))).await;
    briefly(closure_with_block()).await;
    briefly(deep::er::run()).await;
}
