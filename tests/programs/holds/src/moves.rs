// SPDX-License-Identifier: MIT OR Apache-2.0
//! Variables that were moved out, dropped, or never had a value: only some of them depend on the run.

use crate::values::text;
use crate::{inline_cases, Places};
use ledger::{gone, hold, rest, say, Cases};
use std::hint::black_box;

/// Usable bytes of a block.
pub fn usable<T>(items: &[T]) -> usize {
    unsafe { libc::malloc_usable_size(items.as_ptr().cast_mut().cast()) }
}

fn say_live(place: &str, items: &[u8], requested: usize) {
    say(place, "live", usable(items), requested);
}

async fn dropped_before() {
    let early = black_box(text(100));
    drop(early);
    gone("early");
    hold!(late = text(200));
    rest().await;
    drop(late);
}

async fn dropped_argument(given: Vec<u8>) {
    black_box(&given);
    drop(given);
    gone("given");
    rest().await;
}

async fn kept_argument(given: Vec<u8>) {
    say_live("given", &given, given.capacity());
    rest().await;
    drop(given);
}

async fn unused_argument(_given: Vec<u8>) {
    say_live("_given", &_given, _given.capacity());
    rest().await;
}

async fn takes(taken: Vec<u8>) {
    say_live("takes.taken", &taken, taken.capacity());
    rest().await;
    drop(taken);
}

async fn moved_into_callee() {
    let passed = black_box(vec![1u8; 1234]);
    gone("passed");
    takes(passed).await;
}

async fn argument_moved_into_callee(passed: Vec<u8>) {
    gone("passed");
    takes(passed).await;
}

async fn lends(lent: &[u8]) -> usize {
    rest().await;
    lent.len()
}

async fn lent_to_callee() {
    hold!(owned = vec![1u8; 432]);
    black_box(lends(&owned).await);
    drop(owned);
}

async fn temporary_across_await() {
    black_box(lends(&vec![1u8; 2222]).await);
}

async fn scrutinee_across_await() {
    match black_box(text(345)).as_str() {
        "" => {}
        _ => rest().await,
    }
}

fn takes_now<T>(taken: T) {
    black_box(&taken);
}

async fn moved_by_the_run(does_move: bool) {
    let maybe = black_box(vec![1u8; 777]);
    if does_move {
        takes_now(maybe);
        gone("maybe");
        rest().await;
    } else {
        say_live("maybe", &maybe, 777);
        rest().await;
        takes_now(maybe);
    }
}

/// One await for both: a flag of the coroutine tells.
async fn moved_before_one_await(does_move: bool) {
    let maybe = black_box(vec![1u8; 888]);
    let mut kept = None;
    if does_move {
        kept = Some(maybe);
        gone("maybe");
        say_live("kept", kept.as_ref().expect("just set"), 888);
    } else {
        say_live("maybe", &maybe, 888);
        say("kept", "live", 0, 0);
    }
    rest().await;
    black_box(&kept);
}

async fn dropped_by_the_run(does_drop: bool) {
    let maybe = black_box(text(999));
    if does_drop {
        drop(maybe);
        gone("maybe");
    } else {
        say_live("maybe", maybe.as_bytes(), 999);
    }
    rest().await;
}

async fn set_by_the_run(does_set: bool) {
    let maybe;
    if does_set {
        maybe = black_box(text(666));
        say_live("maybe", maybe.as_bytes(), 666);
    } else {
        gone("maybe");
    }
    rest().await;
}

async fn moved_in_a_match(which: u8) {
    let (first, second) = (black_box(text(111)), black_box(text(222)));
    match which {
        0 => {
            takes_now(first);
            gone("first");
            say_live("second", second.as_bytes(), 222);
        }
        1 => {
            takes_now(second);
            say_live("first", first.as_bytes(), 111);
            gone("second");
        }
        _ => {
            takes_now((first, second));
            gone("first");
            gone("second");
        }
    }
    rest().await;
}

async fn taken_out_of_an_option() {
    let mut option = Some(black_box(vec![1u8; 543]));
    let taken = option.take().expect("it was there");
    say("option", "live", 0, 0);
    say_live("taken", &taken, 543);
    rest().await;
    drop(taken);
    black_box(&option);
}

async fn bound_by_a_match(given: Option<Vec<u8>>) {
    match given {
        Some(inside) => {
            say_live("inside", &inside, inside.capacity());
            rest().await;
            drop(inside);
        }
        None => rest().await,
    }
}

#[allow(dead_code)]
struct Parts {
    left: String,
    middle: Box<[u8]>,
    right: Option<String>,
}

async fn part_of_a_struct_is_moved() {
    let parts =
        black_box(Parts { left: text(71), middle: vec![1; 172].into(), right: Some(text(273)) });
    takes_now(parts.middle);
    let rest_of_it =
        usable(parts.left.as_bytes()) + usable(parts.right.as_ref().expect("set above").as_bytes());
    say("parts", "live", rest_of_it, 71 + 273);
    rest().await;
}

async fn part_of_a_tuple_is_moved(does_move: bool) {
    let pair = black_box((text(51), vec![1u8; 151]));
    if does_move {
        takes_now(pair.0);
        say("pair", "live", usable(&pair.1), 151);
    } else {
        say("pair", "live", usable(pair.0.as_bytes()) + usable(&pair.1), 202);
    }
    rest().await;
}

async fn whole_box_is_emptied() {
    let boxed = black_box(Box::new(text(123)));
    let bytes = unsafe { libc::malloc_usable_size(std::ptr::from_ref(&*boxed).cast_mut().cast()) };
    let inside = *boxed;
    say("boxed", "live", bytes, 24);
    say_live("inside", inside.as_bytes(), 123);
    rest().await;
    drop(inside);
}

async fn replaced() {
    let mut changing = black_box(text(10));
    for length in [1000, 300] {
        changing = black_box(text(length));
    }
    say_live("changing", changing.as_bytes(), 300);
    rest().await;
    drop(changing);
}

async fn set_anew_after_a_move() {
    let mut changing = black_box(text(1000));
    takes_now(changing);
    changing = black_box(text(400));
    say_live("changing", changing.as_bytes(), 400);
    rest().await;
    drop(changing);
}

async fn round_a_loop() {
    let mut last = String::new();
    for length in [10, 20, 3000] {
        let current = black_box(text(length));
        tokio::task::yield_now().await;
        if length == 3000 {
            say_live("current", current.as_bytes(), 3000);
            say_live("last", last.as_bytes(), 20);
            rest().await;
        }
        last = current;
    }
    black_box(&last);
}

async fn captured_by_a_block(outer: Vec<u8>) {
    let block = async move {
        say_live("{async block.outer", &outer, outer.capacity());
        rest().await;
        drop(outer);
    };
    block.await;
}

async fn captured_and_dropped(outer: Vec<u8>) {
    let block = async move {
        drop(black_box(outer));
        gone("{async block.outer");
        rest().await;
    };
    block.await;
}

async fn captured_by_a_closure() {
    let outer = black_box(text(812));
    let closure = move |length: usize| outer.len() + length;
    black_box(closure(1));
    rest().await;
    black_box(closure(2));
}

async fn async_closure() {
    hold!(outer = text(813));
    let closure = async |length: usize| {
        rest().await;
        outer.len() + length
    };
    black_box(closure(1).await);
}

async fn forgotten() {
    let lost = black_box(vec![1u8; 1357]);
    std::mem::forget(lost);
    gone("lost");
    rest().await;
}

pub fn start(cases: &mut Cases, places: &Places) {
    let place = &places.many;
    inline_cases!(cases, place; dropped_before, moved_into_callee, lent_to_callee, temporary_across_await,
        scrutinee_across_await, taken_out_of_an_option, part_of_a_struct_is_moved, whole_box_is_emptied, replaced,
        set_anew_after_a_move, round_a_loop, captured_by_a_closure, async_closure, forgotten);
    cases.one(place, "dropped_argument", dropped_argument(vec![1; 135]));
    cases.one(place, "kept_argument", kept_argument(vec![1; 246]));
    cases.one(place, "unused_argument", unused_argument(vec![1; 357]));
    cases.one(place, "argument_moved_into_callee", argument_moved_into_callee(vec![1; 468]));
    cases.one(place, "bound_by_a_match", bound_by_a_match(Some(vec![1; 579])));
    cases.one(place, "captured_by_a_block", captured_by_a_block(vec![1; 680]));
    cases.one(place, "captured_and_dropped", captured_and_dropped(vec![1; 791]));
    for does in [false, true] {
        cases.one(place, format!("moved_by_the_run {does}"), moved_by_the_run(does));
        cases.one(place, format!("moved_before_one_await {does}"), moved_before_one_await(does));
        cases.one(place, format!("dropped_by_the_run {does}"), dropped_by_the_run(does));
        cases.one(place, format!("set_by_the_run {does}"), set_by_the_run(does));
        cases.one(
            place,
            format!("part_of_a_tuple_is_moved {does}"),
            part_of_a_tuple_is_moved(does),
        );
    }
    for which in 0..3 {
        cases.one(place, format!("moved_in_a_match {which}"), moved_in_a_match(which));
    }
}
