// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traps about the variables of a future: which of them have a slot while it is suspended.

use crate::{briefly, nap};
use std::hint::black_box;
use std::sync::Mutex;

// truth: at `shadow_second` two locals `x` live, [u8; 100] and Vec<u8>; DWARF shows one of them twice.
// @fn:shadowed
pub async fn shadowed() {
    let x = [7u8; 100];
    nap().await; // @await:shadow_first
    let first = &x;
    let x = vec![1u8; 50];
    nap().await; // @await:shadow_second
    black_box((first, &x));
}

// truth: at `shadow_three` three locals `step` live (40, 56 and 72 bytes); two of them are hidden.
// @fn:shadowed_thrice
pub async fn shadowed_thrice() {
    let step = black_box([1u64; 5]);
    let first = &step;
    let step = black_box([2u64; 7]);
    let second = &step;
    let step = black_box([3u64; 9]);
    nap().await; // @await:shadow_three
    black_box((first, second, &step));
}

// truth: `name` (24 bytes) and `count` (8) are moved into locals at entry; 32 bytes of dead upvars stay.
// @fn:doubled
pub async fn doubled(name: String, count: u64) -> u64 {
    nap().await; // @await:doubled
    black_box(&name);
    count + name.len() as u64
}

// truth: `size` is used up before the await: no slot there, 8 bytes of dead upvar, `half` has a slot.
// @fn:not_kept
pub async fn not_kept(size: u64) -> u64 {
    let half = size / 2;
    nap().await; // @await:not_kept
    black_box(half)
}

// truth: `words` is moved away before the await and never borrowed: no slot, 24 bytes of dead upvar.
// @fn:given_away
pub async fn given_away(words: Vec<u8>) {
    drop(words);
    nap().await; // @await:given_away
}

// truth: `words` was borrowed before it was moved away, so rustc keeps its slot: it is listed but dead.
// @fn:borrowed_then_given_away
pub async fn borrowed_then_given_away(words: Vec<u8>) {
    black_box(&words);
    drop(words);
    nap().await; // @await:borrowed_then_given_away
}

// truth: `load` may or may not be moved out at the await; a drop flag (an unnamed bool slot) tells.
// @fn:maybe_moved
pub async fn maybe_moved(early: bool) {
    let load = vec![1u8; 300];
    if black_box(early) {
        drop(load);
    }
    nap().await; // @await:maybe_moved
}

// truth: two variables, two drop flags.
// @fn:maybe_moved_two
pub async fn maybe_moved_two(first_early: bool, second_early: bool) {
    let first = vec![1u8; 300];
    let second = String::from("second");
    if black_box(first_early) {
        drop(first);
    }
    if black_box(second_early) {
        drop(second);
    }
    nap().await; // @await:maybe_moved_two
}

// truth: a variable that is dead before the await has no slot there at all: `big` is in neither state.
// @fn:out_of_scope
pub async fn out_of_scope() -> u8 {
    let last = {
        let big = black_box([9u8; 2048]);
        big[2047]
    };
    nap().await; // @await:out_of_scope
    last
}

// truth: `early` lives only at the first await, `late` only at the second; each slot is the other's
// "other state" or they share bytes.
// @fn:one_after_the_other
pub async fn one_after_the_other() {
    {
        let early = black_box([1u8; 600]);
        nap().await; // @await:early
        black_box(&early);
    }
    {
        let late = black_box([2u8; 200]);
        nap().await; // @await:late
        black_box(&late);
    }
}

async fn read_from(text: &str) -> usize {
    nap().await;
    text.len()
}

// truth: the String is a temporary without a name; it lives to the end of the statement: an unnamed
// slot of 24 bytes.
// @fn:temporary
pub async fn temporary() -> usize {
    read_from(&String::from("a temporary of some length")).await // @await:temporary
}

// truth: the scrutinee of a match lives through the match: an unnamed slot holds the Vec.
// @fn:scrutinee
pub async fn scrutinee() -> usize {
    match vec![1u8, 2, 3].as_slice() {
        [first, ..] => {
            nap().await; // @await:scrutinee
            *first as usize
        }
        [] => 0,
    }
}

// truth: a MutexGuard across an await; the future is not Send, so it is polled on this thread only.
// @fn:guard_across_await
pub async fn guard_across_await(lock: &Mutex<u64>) -> u64 {
    let guard = lock.lock().expect("no poison");
    nap().await; // @await:guard_across_await
    *guard
}

// truth: the pattern's parts `left` and `right` each have a slot; the tuple itself has none.
// @fn:pattern
pub async fn pattern() -> u64 {
    let (left, right) = (black_box([1u64; 4]), black_box(String::from("right")));
    nap().await; // @await:pattern
    left[0] + right.len() as u64
}

macro_rules! many_naps {
    () => {};
    ($head:tt $($tail:tt)*) => { nap().await; many_naps!($($tail)*); };
}

// truth: more than 256 suspend states: the discriminant takes two bytes.
// @fn:wide_discriminant
pub async fn wide_discriminant() {
    let kept = black_box([5u8; 9]);
    many_naps!(0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0);
    many_naps!(0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0);
    many_naps!(0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0);
    many_naps!(0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0);
    many_naps!(0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0);
    many_naps!(0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0);
    nap().await; // @await:wide_discriminant
    black_box(&kept);
}

async fn step(n: u8) -> u8 {
    nap().await;
    n + 1
}

// truth: `f` is a function item and has no bytes, though DWARF describes it as a pointer of 8 bytes.
// @fn:function_item
pub async fn function_item<F, R>(f: F, n: u8) -> u8
where
    F: Fn(u8) -> R,
    R: std::future::Future<Output = u8>,
{
    nap().await; // @await:function_item
    f(n).await
}

// truth: the argument `g` has no bytes; the local `g`, an Option of it, has one byte and may lie at its place.
// @fn:empty_argument
pub async fn empty_argument<F: Fn() -> u8>(a: u64, g: F, s: u64) -> u8 {
    let mut g = Some(g);
    let mut n = 0;
    for round in 0..4 {
        nap().await; // @await:empty_argument
        if round as u64 > a {
            if let Some(g) = g.take() {
                n += g();
            }
        }
        nap().await;
        n += black_box(s) as u8;
    }
    n
}

pub async fn run() {
    briefly(async { black_box(function_item(step, black_box(1)).await) }).await;
    briefly(async { black_box(empty_argument(black_box(1), || 3, black_box(2)).await) }).await;
    briefly(shadowed()).await;
    briefly(shadowed_thrice()).await;
    briefly(doubled(String::from("name"), 3)).await;
    briefly(not_kept(black_box(9))).await;
    briefly(given_away(vec![1, 2, 3])).await;
    briefly(borrowed_then_given_away(vec![1, 2, 3])).await;
    briefly(maybe_moved(black_box(true))).await;
    briefly(maybe_moved_two(black_box(true), black_box(false))).await;
    briefly(out_of_scope()).await;
    briefly(one_after_the_other()).await;
    briefly(temporary()).await;
    briefly(scrutinee()).await;
    briefly(pattern()).await;
    briefly(wide_discriminant()).await;
    let lock = Mutex::new(4);
    guard_across_await(&lock).await;
}
