// SPDX-License-Identifier: MIT OR Apache-2.0
//! Futures in futures: direct, boxed, recursive, adapted, moved, held.

use async_trait::async_trait;
use futures::future::{BoxFuture, Either, FutureExt, OptionFuture, Shared};
use std::future::Future;
use std::hint::black_box;
use std::pin::{pin, Pin};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::Instrument;

/// Waits for ever.
pub async fn leaf() -> u64 {
    let bell = Notify::new();
    bell.notified().await; // @leaf
    black_box(1)
}

// tree:
//   trees::shapes::nested @nested
//     trees::shapes::middle @middle
//       trees::shapes::inner @inner
//         trees::shapes::leaf @leaf: notification
async fn nested() -> u64 {
    middle().await + 1 // @nested
}

async fn middle() -> u64 {
    let ballast = black_box([1u8; 100]);
    let sum = inner().await; // @middle
    sum + u64::from(ballast[99])
}

async fn inner() -> u64 {
    leaf().await + 1 // @inner
}

// tree:
//   trees::shapes::recursion @recursion
//     trees::shapes::descend::{async block#0} @descend
//       trees::shapes::descend::{async block#0} @descend
//         trees::shapes::descend::{async block#0} @descend
//           trees::shapes::descend::{async block#0} @descend_end
//             trees::shapes::leaf @leaf: notification
async fn recursion() -> u64 {
    descend(3).await // @recursion
}

fn descend(left: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if left == 0 {
            return leaf().await; // @descend_end
        }
        descend(left - 1).await + left // @descend
    })
}

// truth: each turn is another value of the same type, in a box.
// tree:
//   trees::shapes::countdown @countdown
//     trees::shapes::countdown @countdown
//       trees::shapes::countdown @countdown_end
//         trees::shapes::leaf @leaf: notification
async fn countdown(left: u64) -> u64 {
    if left == 0 {
        return leaf().await; // @countdown_end
    }
    Box::pin(countdown(left - 1)).await + left // @countdown
}

// tree:
//   trees::shapes::boxed_concrete @boxed_concrete
//     trees::shapes::inner @inner
//       trees::shapes::leaf @leaf: notification
async fn boxed_concrete() -> u64 {
    Box::pin(inner()).await // @boxed_concrete
}

#[async_trait]
trait Handler: Send + Sync {
    async fn handle(&self, number: u64) -> u64;
}

struct Service;

#[async_trait]
impl Handler for Service {
    async fn handle(&self, number: u64) -> u64 {
        leaf().await + number // @handle
    }
}

// tree:
//   trees::shapes::through_trait @through_trait
//     <Service as Handler>::handle::{async block#0} @handle
//       trees::shapes::leaf @leaf: notification
async fn through_trait() -> u64 {
    let service: Box<dyn Handler> = Box::new(Service);
    service.handle(3).await // @through_trait
}

// tree:
//   trees::shapes::timed @timed
//     trees::shapes::leaf @leaf: notification
async fn timed() -> bool {
    timeout(Duration::from_secs(3600), leaf()).await.is_ok() // @timed
}

// tree:
//   trees::shapes::instrumented @instrumented
//     trees::shapes::leaf @leaf: notification
async fn instrumented() -> u64 {
    leaf().instrument(tracing::info_span!("waiting")).await // @instrumented
}

// tree:
//   trees::shapes::with_attribute @attribute
//     trees::shapes::with_attribute::{async block#0} @with_attribute
//       trees::shapes::leaf @leaf: notification
#[tracing::instrument] // @attribute
async fn with_attribute() -> u64 {
    leaf().await + 1 // @with_attribute
}

// tree:
//   trees::shapes::pinned @pinned
//     trees::shapes::inner @inner
//       trees::shapes::leaf @leaf: notification
async fn pinned() -> u64 {
    let mut local = pin!(inner());
    local.as_mut().await // @pinned
}

// tree:
//   trees::shapes::by_reference @by_reference
//     trees::shapes::inner @inner
//       trees::shapes::leaf @leaf: notification
async fn by_reference() -> u64 {
    let mut local = Box::pin(inner());
    let sum = (&mut local).await; // @by_reference
    drop(local);
    sum
}

// tree:
//   trees::shapes::mapped @mapped
//     trees::shapes::leaf @leaf: notification
async fn mapped() -> u64 {
    leaf().map(|sum| sum + 1).await // @mapped
}

// tree:
//   trees::shapes::then_first @then_first
//     trees::shapes::leaf @leaf: notification
async fn then_first() -> u64 {
    leaf().then(|sum| async move { sum + inner().await }).await // @then_first
}

// tree:
//   trees::shapes::then_second @then_second
//     trees::shapes::then_second::{closure#1}::{async block#0} @then_second_block
//       trees::shapes::inner @inner
//         trees::shapes::leaf @leaf: notification
async fn then_second() -> u64 {
    let chain = async { 1u64 }.then(|sum| async move {
        sum + inner().await // @then_second_block
    });
    chain.await // @then_second
}

// tree:
//   trees::shapes::boxed_and_fused @boxed_and_fused
//     trees::shapes::inner @inner
//       trees::shapes::leaf @leaf: notification
async fn boxed_and_fused() -> u64 {
    inner().boxed().fuse().await // @boxed_and_fused
}

// tree:
//   trees::shapes::shared @shared
//     trees::shapes::inner @inner
//       trees::shapes::leaf @leaf: notification
async fn shared() -> u64 {
    let whole: Shared<BoxFuture<'static, u64>> = inner().boxed().shared();
    whole.await // @shared
}

// tree:
//   trees::shapes::optional @optional
//     trees::shapes::inner @inner
//       trees::shapes::leaf @leaf: notification
async fn optional() -> Option<u64> {
    OptionFuture::from(black_box(Some(inner()))).await // @optional
}

// tree:
//   trees::shapes::either_side @either_side
//     trees::shapes::inner @inner
//       trees::shapes::leaf @leaf: notification
async fn either_side(left: bool) -> u64 {
    let side = if left { Either::Left(leaf()) } else { Either::Right(inner()) };
    side.await // @either_side
}

// tree:
//   trees::shapes::block_in_closure @block_in_closure
//     trees::shapes::block_in_closure::{closure#0}::{async block#0} @the_block
//       trees::shapes::leaf @leaf: notification
async fn block_in_closure() -> u64 {
    let make = |number: u64| async move {
        let sum = leaf().await; // @the_block
        sum + number
    };
    make(black_box(4)).await // @block_in_closure
}

// tree:
//   trees::shapes::two_blocks @two_blocks
//     trees::shapes::two_blocks::{async block#1} @second_block
//       trees::shapes::leaf @leaf: notification
async fn two_blocks() -> u64 {
    let first = async { black_box(1u64) }.await;
    let second = async {
        leaf().await + first // @second_block
    };
    second.await // @two_blocks
}

// truth: `first` was moved into `second`, whose place is another.
// tree:
//   trees::shapes::moved @moved
//     trees::shapes::inner @inner
//       trees::shapes::leaf @leaf: notification
async fn moved() -> u64 {
    let first = inner();
    black_box(&first);
    tokio::task::yield_now().await;
    let second = first;
    second.await // @moved
}

// truth: `held` is polled after the await only; `dropped` is gone.
// tree:
//   trees::shapes::held @held
//     trees::shapes::leaf @leaf: notification
async fn held() -> u64 {
    let dropped = Box::pin(inner());
    let held = inner();
    let boxed: BoxFuture<'static, u64> = inner().boxed();
    drop(dropped);
    let sum = leaf().await; // @held
    sum + held.await + boxed.await
}

// truth: `polled` was polled once and is held while another is awaited: it does not wait in the await.
// tree:
//   trees::shapes::polled_and_held @polled_and_held
//     trees::shapes::leaf @leaf: notification
async fn polled_and_held() -> u64 {
    let mut polled = Box::pin(middle());
    assert!(futures::poll!(&mut polled).is_pending());
    let sum = leaf().await; // @polled_and_held
    sum + polled.await
}

// truth: the third turn of a loop with two awaits.
// tree:
//   trees::shapes::in_a_loop @in_a_loop
//     trees::shapes::leaf @leaf: notification
async fn in_a_loop() -> u64 {
    let mut sum = 0;
    for turn in 0..5 {
        tokio::task::yield_now().await;
        if turn == 2 {
            sum += leaf().await; // @in_a_loop
        }
    }
    sum
}

// truth: generic over the future, which is named in the arguments.
// tree:
//   trees::shapes::generic<trees::shapes::inner> @generic
//     trees::shapes::inner @inner
//       trees::shapes::leaf @leaf: notification
async fn generic<F: Future<Output = u64>>(work: F) -> u64 {
    work.await + 1 // @generic
}

/// Spawns them; how many.
pub fn spawn() -> usize {
    tokio::spawn(nested());
    tokio::spawn(recursion());
    tokio::spawn(countdown(2));
    tokio::spawn(boxed_concrete());
    tokio::spawn(through_trait());
    tokio::spawn(timed());
    tokio::spawn(instrumented());
    tokio::spawn(with_attribute());
    tokio::spawn(pinned());
    tokio::spawn(by_reference());
    tokio::spawn(mapped());
    tokio::spawn(then_first());
    tokio::spawn(then_second());
    tokio::spawn(boxed_and_fused());
    tokio::spawn(shared());
    tokio::spawn(optional());
    tokio::spawn(either_side(black_box(false)));
    tokio::spawn(block_in_closure());
    tokio::spawn(two_blocks());
    tokio::spawn(moved());
    tokio::spawn(held());
    tokio::spawn(polled_and_held());
    tokio::spawn(in_a_loop());
    tokio::spawn(generic(inner()));
    24
}
