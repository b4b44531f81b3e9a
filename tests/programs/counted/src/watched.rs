// SPDX-License-Identifier: MIT OR Apache-2.0
//! A future that counts its polls and notes whether it came to its end. It leaves one small block behind,
//! so that its task's row is kept apart until the program ends.

use crate::counting::{number, End, Record, RECORDS, RUNNING};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use tokio::task::Id;

/// The id of a task, which its future learns after it was made.
pub type Name = Arc<OnceLock<usize>>;

pub struct Watched<F> {
    future: Option<F>,
    name: Name,
}

pub fn watched<F: Future>(future: F) -> (Watched<F>, Name) {
    let name = Name::default();
    (Watched { future: Some(future), name: name.clone() }, name)
}

/// Notes whose record it is, how it must end, and how many polls will only cancel it.
pub fn expect(id: Id, name: &Name, end: End, cancels: u64) -> &'static Record {
    let record = &RECORDS[number(id)];
    record.end.store(end as u8, SeqCst);
    record.cancels.store(cancels, SeqCst);
    let _ = name.set(number(id));
    record
}

pub fn expect_blocking(id: Id, end: End, cancels: u64) {
    let record = &RECORDS[number(id)];
    record.end.store(end as u8, SeqCst);
    record.cancels.store(cancels, SeqCst);
    record.is_blocking.store(true, SeqCst);
}

/// Leaves a block of 24 bytes, once.
pub fn leave_a_block() {
    Box::leak(std::hint::black_box(Box::new([1u64, 2, 3])));
}

struct Inside(usize);

impl Inside {
    fn enter(name: &Name) -> Inside {
        Inside(RUNNING.replace(name.get().copied().unwrap_or(0)))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        RUNNING.set(self.0);
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = unsafe { self.get_unchecked_mut() };
        // The spawner may not have noted the id yet.
        while this.name.get().is_none() {
            std::hint::spin_loop();
        }
        let record = &RECORDS[*this.name.get().unwrap()];
        let _inside = Inside::enter(&this.name);
        if record.polls.fetch_add(1, SeqCst) == 0 {
            leave_a_block();
        }
        unsafe { Pin::new_unchecked(this.future.as_mut().unwrap()) }.poll(context)
    }
}

impl<F> Drop for Watched<F> {
    fn drop(&mut self) {
        let _inside = Inside::enter(&self.name);
        self.future = None;
    }
}
