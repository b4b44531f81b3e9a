// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tasks: five sizes of future, each of which ends or waits as its seat says.

use crate::junk;
use std::future::{poll_fn, Future};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, Notify};
use tokio::task::JoinHandle;

/// The futures by size class. tokio puts the last into a box of its own.
pub const SIZES: [&str; 5] = [
    "churn::work::Tiny",
    "churn::work::small",
    "churn::work::medium",
    "churn::work::large",
    "churn::work::huge",
];

#[derive(Clone, Copy, PartialEq)]
pub enum Ending {
    AtOnce,
    AfterYield,
    Notified,
    Sent,
    Sleeps,
    Never,
}

/// What a task shares with the main thread, which holds one of the two counts.
pub struct Seat {
    size: usize,
    ending: Ending,
    keeps_waker: bool,
    copied: bool,
    cell: AtomicUsize,
    arrived: AtomicBool,
    released: AtomicBool,
    waker: Mutex<Option<Waker>>,
    notify: Notify,
    sender: Mutex<Option<oneshot::Sender<()>>>,
}

impl Seat {
    pub fn has_arrived(&self) -> bool {
        self.arrived.load(SeqCst)
    }

    /// The address of the task's cell, which is what its waker points at.
    pub fn cell(&self) -> usize {
        self.cell.load(SeqCst)
    }

    pub fn sleeps(&self) -> bool {
        matches!(self.ending, Ending::Sleeps | Ending::Never) && self.size != 0
    }

    pub fn take_waker(&self) -> Waker {
        self.waker.lock().unwrap().take().expect("the task left its waker")
    }

    /// Lets a waiting task end.
    pub fn release(&self) {
        self.released.store(true, SeqCst);
        self.notify.notify_one();
        if let Some(sender) = self.sender.lock().unwrap().take() {
            sender.send(()).expect("the task waits");
        }
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }

    /// Called inside the first poll.
    fn enter(&self, context: &Context<'_>) {
        let cell = context.waker().data() as usize;
        self.cell.store(cell, SeqCst);
        if self.copied {
            junk::copy_cell(cell);
        }
        if self.keeps_waker {
            *self.waker.lock().unwrap() = Some(context.waker().clone());
        }
    }
}

async fn run(seat: &Seat) -> usize {
    poll_fn(|context| {
        seat.enter(context);
        Poll::Ready(())
    })
    .await;
    match seat.ending {
        Ending::AtOnce => {}
        Ending::AfterYield => tokio::task::yield_now().await,
        Ending::Notified => {
            seat.arrived.store(true, SeqCst);
            seat.notify.notified().await;
        }
        Ending::Sent => {
            let (sender, receiver) = oneshot::channel();
            *seat.sender.lock().unwrap() = Some(sender);
            seat.arrived.store(true, SeqCst);
            receiver.await.expect("the sender stays in the seat");
        }
        Ending::Sleeps | Ending::Never => {
            seat.arrived.store(true, SeqCst);
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
    }
    seat.size
}

/// 8 bytes, and no state machine.
struct Tiny(Arc<Seat>);

impl Future for Tiny {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<usize> {
        let seat = &self.0;
        if !seat.arrived.swap(true, SeqCst) {
            seat.enter(context);
            if seat.ending == Ending::AfterYield {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        if matches!(seat.ending, Ending::AtOnce | Ending::AfterYield) {
            return Poll::Ready(seat.size);
        }
        let mut waker = seat.waker.lock().unwrap();
        if seat.released.load(SeqCst) {
            return Poll::Ready(seat.size);
        }
        *waker = Some(context.waker().clone());
        Poll::Pending
    }
}

async fn small(seat: Arc<Seat>) -> usize {
    run(&seat).await
}

async fn medium(seat: Arc<Seat>) -> usize {
    let ballast = black_box([1u8; 1000]);
    let size = run(&seat).await;
    black_box(&ballast);
    size
}

async fn large(seat: Arc<Seat>) -> usize {
    let ballast = black_box([2u8; 5000]);
    let size = run(&seat).await;
    black_box(&ballast);
    size
}

async fn huge(seat: Arc<Seat>) -> usize {
    let ballast = black_box([3u8; 20_000]);
    let size = run(&seat).await;
    black_box(&ballast);
    size
}

pub fn spawn(
    runtime: &Handle,
    size: usize,
    ending: Ending,
    keeps_waker: bool,
    copied: bool,
) -> (Arc<Seat>, JoinHandle<usize>) {
    let seat = Arc::new(Seat {
        size,
        ending,
        keeps_waker,
        copied,
        cell: AtomicUsize::new(0),
        arrived: AtomicBool::new(false),
        released: AtomicBool::new(false),
        waker: Mutex::new(None),
        notify: Notify::new(),
        sender: Mutex::new(None),
    });
    let its = seat.clone();
    let task = match size {
        0 => runtime.spawn(Tiny(its)),
        1 => runtime.spawn(small(its)),
        2 => runtime.spawn(medium(its)),
        3 => runtime.spawn(large(its)),
        _ => runtime.spawn(huge(its)),
    };
    (seat, task)
}

/// The same numbers in every run (xorshift).
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Random(0x2545_f491_4f6c_dd1d)
    }
}

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}
