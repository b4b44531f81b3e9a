// SPDX-License-Identifier: MIT OR Apache-2.0
//! Futures in futures: awaited, boxed, joined, raced, in sets and streams, held and never polled.

use crate::values::text;
use crate::{cases, inline_cases, values, Places};
use async_trait::async_trait;
use futures::future::{self, BoxFuture, FutureExt, LocalBoxFuture, Shared};
use futures::stream::{self, FuturesOrdered, FuturesUnordered, StreamExt};
use ledger::{arrived, hold, rest, weigh, Cases};
use std::future::Future;
use std::hint::black_box;
use std::pin::{pin, Pin};
use std::task::Poll;

async fn leaf(length: usize) -> usize {
    let inside = black_box(text(length));
    rest().await;
    inside.len()
}

/// Ends at once, or not at all.
async fn quick(length: usize) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    match length {
        0 => Err("nothing".into()),
        1..100 => Ok(text(length)),
        _ => {
            leaf(length).await;
            Ok(text(1))
        }
    }
}

async fn deep_3(given: Vec<u8>) {
    hold!("deep_3", third = text(300));
    leaf(30).await;
    drop((given, third));
}

async fn deep_2(given: Vec<u8>) {
    let second = Box::new([1u8; 200]);
    deep_3(given).await;
    drop(second);
}

async fn deep() {
    hold!(first = text(100));
    deep_2(vec![1; 99]).await;
    drop(first);
}

async fn joins_two() {
    hold!(around = text(20));
    black_box(tokio::join!(leaf(1000), leaf(2000)));
    drop(around);
}

/// One of them has ended, and its output waits.
async fn joins_with_an_ended_one() {
    let (first, _, last) = black_box(future::join3(quick(50), leaf(1000), quick(0)).await);
    drop((first, last));
}

async fn tries_to_join() {
    let _ = black_box(tokio::try_join!(quick(70), quick(1000), quick(2000)));
}

async fn selects() {
    let mut kept = pin!(leaf(500));
    tokio::select! {
        length = &mut kept => { black_box(length); }
        length = leaf(600) => { black_box(length); }
        _ = quick(700) => {}
    }
}

async fn selects_in_a_loop() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    (0..3).for_each(|length| sender.try_send(text(length + 40)).expect("room"));
    let mut seen = Vec::new();
    let mut work = Box::pin(leaf(550));
    loop {
        tokio::select! {
            length = &mut work => { black_box(length); break; }
            Some(message) = receiver.recv() => seen.push(message),
        }
    }
    drop((sender, seen));
}

async fn races() {
    black_box(future::select(Box::pin(leaf(10)), Box::pin(leaf(20))).await.factor_first().0);
}

async fn unordered() {
    let mut set: FuturesUnordered<_> = (0..10).map(|number| leaf(number * 100)).collect();
    black_box(set.next().await);
}

/// Some have ended; what they were is freed, their places may stay.
async fn unordered_with_ended() {
    let mut set: FuturesUnordered<_> = (0..10).map(|number| quick(number * 30)).collect();
    for _ in 0..4 {
        black_box(set.next().await.is_some());
    }
    arrived();
    black_box(set.next().await.is_some());
}

async fn ordered() {
    let mut set: FuturesOrdered<_> = [1000, 10, 20, 2000].into_iter().map(quick).collect();
    black_box(set.next().await.is_some());
}

async fn joins_all() {
    black_box(future::join_all((0..8).map(|number| leaf(number * 10))).await);
}

async fn joins_very_many() {
    black_box(future::join_all((0..60).map(|number| quick(number * 5 + 1))).await.len());
}

async fn shared_twice() {
    let shared = leaf(900).map(|length| vec![length]).boxed().shared();
    let other = shared.clone();
    black_box(future::join(shared, other).await);
}

async fn awaits(shared: Shared<BoxFuture<'static, usize>>) {
    arrived();
    black_box(shared.await);
}

fn recursion(depth: usize) -> BoxFuture<'static, usize> {
    async move {
        let ballast = black_box(text(depth * 111));
        let below = if depth == 0 { leaf(5).await } else { recursion(depth - 1).await };
        below + ballast.len()
    }
    .boxed()
}

async fn recurses() {
    black_box(recursion(5).await);
}

async fn recurses_without_a_crate(depth: usize) -> usize {
    let ballast = black_box(vec![1u8; depth * 99]);
    if depth == 0 {
        rest().await;
    } else {
        Box::pin(recurses_without_a_crate(depth - 1)).await;
    }
    ballast.len()
}

async fn buffers_a_stream() {
    let work = stream::iter(vec![10, 20, 1000, 2000, 30, 40]).map(quick).buffer_unordered(3);
    let results: Vec<_> = work.collect().await;
    black_box(results.len());
}

async fn folds_a_stream() {
    let words = stream::iter([20, 30, 2000]).then(quick).map(|it| it.unwrap_or_default());
    black_box(words.fold(text(40), |all, one| async move { all + &one }).await);
}

async fn runs_for_each() {
    stream::iter(1..6)
        .for_each_concurrent(None, |number| async move {
            black_box(leaf(number * 9).await);
        })
        .await;
}

async fn merges_streams() {
    let (left, right) = (
        tokio_stream::iter([text(5)]),
        StreamExt::map(stream::once(leaf(77)), |_| text(6)).boxed(),
    );
    let mut merged = tokio_stream::StreamExt::merge(left, right);
    while let Some(one) = merged.next().await {
        black_box(one);
    }
}

async fn adapters() {
    let mapped = leaf(40).map(|length| text(length)).then(|it| async move { it.len() }).fuse();
    black_box(std::panic::AssertUnwindSafe(mapped).catch_unwind().await.is_ok());
}

async fn abortable() {
    let (work, handle) = future::abortable(leaf(41));
    black_box(work.await.is_ok());
    drop(handle);
}

async fn either() {
    let choice = match black_box(1) {
        0 => future::Either::Left(leaf(42)),
        _ => future::Either::Right(Box::pin(leaf(43))),
    };
    black_box(choice.await);
}

async fn optional() {
    black_box(future::OptionFuture::from(Some(leaf(44))).await);
    black_box(future::OptionFuture::from(None::<BoxFuture<'_, ()>>).await);
}

async fn pins_here() {
    tokio::pin! {
        let here = leaf(45);
    }
    black_box((&mut here).await);
}

async fn polls_by_hand() {
    let inside = black_box(text(46));
    arrived();
    future::poll_fn(move |_| if inside.is_empty() { Poll::Ready(()) } else { Poll::Pending }).await;
}

async fn never_polls() {
    let held = deep_2(vec![1; 470]);
    rest().await;
    held.await;
}

async fn holds_a_boxed_one() {
    let held: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(deep_2(vec![1; 480]));
    rest().await;
    held.await;
}

/// Polled once, then left where it is.
async fn polled_once() {
    let mut held = Box::pin(leaf(49));
    assert!(futures::poll!(&mut held).is_pending());
    rest().await;
    drop(held);
}

async fn generic<T: Send, F: Future<Output = T>>(value: T, future: F) -> (T, T) {
    let other = future.await;
    (value, other)
}

async fn generics() {
    black_box(generic(text(50), async { leaf(51).await.to_string() }).await);
}

async fn large() {
    let inline = black_box([1u8; 40_000]);
    leaf(52).await;
    black_box(&inline);
}

#[async_trait]
trait Works: Send + Sync {
    async fn work(&self, given: String) -> usize;
    async fn by_default(&self) -> usize {
        self.work(text(53)).await
    }
}

struct Worker(Vec<u8>);

#[async_trait]
impl Works for Worker {
    async fn work(&self, given: String) -> usize {
        leaf(54).await + given.len() + self.0.len()
    }
}

async fn dyn_trait() {
    let (worker, _, _) = weigh(|| Box::new(Worker(vec![1; 550])) as Box<dyn Works>);
    black_box(worker.by_default().await);
}

async fn local_boxes() {
    let held: LocalBoxFuture<'_, usize> = leaf(56).boxed_local();
    let counted = std::rc::Rc::new(text(57));
    black_box(held.await + counted.len());
}

pub fn start(cases: &mut Cases, places: &Places) {
    inline_cases!(cases, places.many; deep, joins_two, unordered, recurses);
    cases!(cases, places.many; joins_with_an_ended_one, tries_to_join, selects, selects_in_a_loop,
        races, unordered_with_ended, ordered, joins_all, joins_very_many, shared_twice,
        buffers_a_stream, folds_a_stream, runs_for_each, merges_streams, adapters, abortable, either);
    cases!(cases, places.one; optional, pins_here, polls_by_hand, never_polls, holds_a_boxed_one, polled_once,
        generics, large, dyn_trait);
    cases.one(
        &places.one,
        "recurses_without_a_crate",
        recurses_without_a_crate(7).map(drop).boxed(),
    );
    cases.group("local_boxes", |case| case.start(|| places.local.spawn(local_boxes)));
    values!(cases, places.many;
        future_boxed: deep_2(vec![1; 60]).boxed(), futures_boxed: (1..5).map(recursion).collect::<Vec<_>>(),
        future_ready: future::ready(text(61)), future_lazy: { let it = text(62); future::lazy(move |_| it.len()) },
    );
    cases.group("shared_of_two_tasks", |case| {
        let shared = leaf(6300).boxed().shared();
        let other = shared.clone();
        case.start(|| places.many.spawn(awaits(shared)));
        case.start(|| places.many.spawn(awaits(other)));
        case.shares_something();
    });
}
