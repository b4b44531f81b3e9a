// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many futures under one await, and streams.

use crate::shapes::leaf;
use crate::JOIN_SET_CHILDREN;
use futures::future::{join_all, select, select_all, try_join_all};
use futures::stream::{FuturesOrdered, FuturesUnordered};
use futures::StreamExt;
use std::hint::black_box;
use std::pin::pin;
use tokio::task::JoinSet;

async fn part(number: u64) -> u64 {
    if number == 0 {
        return 0;
    }
    leaf().await + number // @part
}

async fn fallible(number: u64) -> Result<u64, ()> {
    Ok(part(number).await) // @fallible
}

// truth: the part of number 0 has ended.
// tree:
//   trees::many::unordered @unordered
//     *5 trees::many::part @part
//       trees::shapes::leaf @leaf: notification
async fn unordered() -> u64 {
    let mut parts: FuturesUnordered<_> = (0..6).map(part).collect();
    let first = parts.next().await.unwrap_or(9);
    first + parts.next().await.unwrap_or(0) // @unordered
}

// tree:
//   trees::many::ordered @ordered
//     *5 trees::many::part @part
//       trees::shapes::leaf @leaf: notification
async fn ordered() -> Option<u64> {
    let mut parts: FuturesOrdered<_> = (1..6).map(part).collect();
    parts.next().await // @ordered
}

// truth: one of the three has ended.
// tree:
//   trees::many::all_of_three @all_of_three
//     *2 trees::many::part @part
//       trees::shapes::leaf @leaf: notification
async fn all_of_three() -> u64 {
    let parts = vec![part(1), part(0), part(2)];
    join_all(parts).await.into_iter().sum() // @all_of_three
}

// truth: above thirty, join_all is built on FuturesOrdered.
// tree:
//   trees::many::all_of_forty @all_of_forty
//     *40 trees::many::part @part
//       trees::shapes::leaf @leaf: notification
async fn all_of_forty() -> u64 {
    join_all((1..41).map(part)).await.into_iter().sum() // @all_of_forty
}

// tree:
//   trees::many::try_all @try_all
//     *3 trees::many::fallible @fallible
//       trees::many::part @part
//         trees::shapes::leaf @leaf: notification
async fn try_all() -> Result<u64, ()> {
    Ok(try_join_all((1..4).map(fallible)).await?.into_iter().sum()) // @try_all
}

// tree:
//   trees::many::first_of_all @first_of_all
//     *4 trees::many::part @part
//       trees::shapes::leaf @leaf: notification
async fn first_of_all() -> u64 {
    let parts = (1..5).map(|number| Box::pin(part(number)));
    select_all(parts).await.0 // @first_of_all
}

// tree:
//   trees::many::first_of_two @first_of_two
//     trees::many::part @part
//       trees::shapes::leaf @leaf: notification
//     trees::shapes::leaf @leaf: notification
async fn first_of_two() -> u64 {
    let (one, two) = (pin!(part(1)), pin!(leaf()));
    select(one, two).await.factor_first().0 // @first_of_two
}

// truth: the children are tasks of their own; the parent waits for the set.
// tree:
//   trees::many::parent @parent: task to end (JoinSet)
async fn parent() -> usize {
    let mut children = JoinSet::new();
    for _ in 0..JOIN_SET_CHILDREN {
        children.spawn(child());
    }
    let first = children.join_next().await; // @parent
    black_box(first.is_some());
    children.len()
}

async fn child() -> u64 {
    leaf().await
}

// tree:
//   trees::many::own_stream @own_stream
//     trees::many::own_stream::{async block#0} @in_stream
//       trees::shapes::leaf @leaf: notification
async fn own_stream() -> u64 {
    let stream = async_stream::stream! {
        yield black_box(1u64);
        let sum = leaf().await; // @in_stream
        yield sum;
    };
    let mut stream = pin!(stream);
    let first = stream.next().await.unwrap_or(0);
    first + stream.next().await.unwrap_or(0) // @own_stream
}

// tree:
//   trees::many::stream_then @stream_then
//     trees::many::part @part
//       trees::shapes::leaf @leaf: notification
async fn stream_then() -> Option<u64> {
    let mut stream = pin!(futures::stream::iter(1..4).then(part));
    stream.next().await // @stream_then
}

// tree:
//   trees::many::buffered @buffered
//     *3 trees::many::part @part
//       trees::shapes::leaf @leaf: notification
async fn buffered() -> Option<u64> {
    let mut stream = pin!(futures::stream::iter(1..9).map(part).buffer_unordered(3));
    stream.next().await // @buffered
}

// truth: the loop's body waits, not the stream.
// tree:
//   trees::many::for_each_one @for_each_one
//     trees::many::for_each_one::{closure#0}::{async block#0} @for_each_body
//       trees::shapes::leaf @leaf: notification
async fn for_each_one() {
    let turns = futures::stream::iter(1..4).for_each(|number: u64| async move {
        black_box(leaf().await + number); // @for_each_body
    });
    turns.await // @for_each_one
}

/// Spawns them; how many.
pub fn spawn() -> usize {
    tokio::spawn(unordered());
    tokio::spawn(ordered());
    tokio::spawn(all_of_three());
    tokio::spawn(all_of_forty());
    tokio::spawn(try_all());
    tokio::spawn(first_of_all());
    tokio::spawn(first_of_two());
    tokio::spawn(parent());
    tokio::spawn(own_stream());
    tokio::spawn(stream_then());
    tokio::spawn(buffered());
    tokio::spawn(for_each_one());
    12
}
