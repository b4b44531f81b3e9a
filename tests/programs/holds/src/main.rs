// SPDX-License-Identifier: MIT OR Apache-2.0
//! One task for each way to hold memory. Each rests at an await and has said what its variables hold; then
//! each is ended, and the allocator says what that freed: see ../ledger.
//!
//! With a number as its argument the cases are started that many times, in one process.

mod buffers;
mod channels;
mod collections;
mod counted;
mod drops;
mod endings;
mod futures_held;
mod moves;
mod pending_io;
mod pointers;
mod shadows;
mod values;

use ledger::{hold, rest, Cases, Counting, Local, Place};
use std::future::Future;
use std::pin::Pin;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A variable of any type.
pub async fn keeps<T>(make: fn() -> T) {
    hold!(kept = make());
    rest().await;
    drop(kept);
}

pub type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

pub fn boxed<T: Send + 'static>(make: fn() -> T) -> Boxed {
    Box::pin(keeps(make))
}

/// The same, but nothing is said: making it allocates for others too, or its end does not free all.
pub async fn keeps_something<T>(make: fn() -> T) {
    let kept = make();
    rest().await;
    drop(kept);
}

pub struct Places {
    many: Place,
    one: Place,
    quiet: Place,
    local: Local,
}

/// Each of a list of async fns is a case on a place, in its task's cell.
#[macro_export]
macro_rules! inline_cases {
    ($cases:expr, $place:expr; $($future:ident),* $(,)?) => {
        $($cases.one(&$place, stringify!($future), $future());)*
    };
}

/// The same in a box, for tasks of one type: a hundred types of tasks take long to compile.
#[macro_export]
macro_rules! cases {
    ($cases:expr, $place:expr; $($future:ident),* $(,)?) => {
        $($cases.one(&$place, stringify!($future), Box::pin($future()) as $crate::Boxed);)*
    };
}

/// A case for each value, in its task's cell.
#[macro_export]
macro_rules! inline_values {
    ($cases:expr, $place:expr; $($name:ident: $make:expr),* $(,)?) => {
        $($cases.one(&$place, stringify!($name), $crate::keeps(|| $make));)*
    };
}

/// The same in a box.
#[macro_export]
macro_rules! values {
    ($cases:expr, $place:expr; $($name:ident: $make:expr),* $(,)?) => {
        $($cases.one(&$place, stringify!($name), $crate::boxed(|| $make));)*
    };
}

#[macro_export]
macro_rules! special_values {
    ($cases:expr, $place:expr; $($name:ident: $make:expr),* $(,)?) => {
        $($cases.one(&$place, stringify!($name), $crate::keeps_something(|| $make));)*
    };
}

/// The same for what is not Send.
#[macro_export]
macro_rules! local_values {
    ($cases:expr, $local:expr; $($name:ident: $make:expr),* $(,)?) => {
        $($cases.group(stringify!($name), |case| {
            case.start(|| $local.spawn(|| $crate::keeps(|| $make)))
        });)*
    };
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(1, |text| text.parse().expect("a number"));
    let places = Places {
        many: Place::multi_thread(),
        one: Place::current_thread(),
        quiet: Place::quiet(),
        local: Local::start(),
    };
    let mut cases = Cases::default();
    for _ in 0..rounds {
        values::start(&mut cases, &places);
        collections::start(&mut cases, &places);
        counted::start(&mut cases, &places);
        buffers::start(&mut cases, &places);
        channels::start(&mut cases, &places);
        futures_held::start(&mut cases, &places);
        moves::start(&mut cases, &places);
        shadows::start(&mut cases, &places);
        pointers::start(&mut cases, &places);
        drops::start(&mut cases, &places);
        pending_io::start(&mut cases, &places);
        endings::start(&mut cases, &places);
    }
    ledger::run(cases, &[&places.many, &places.one, &places.quiet]);
}
