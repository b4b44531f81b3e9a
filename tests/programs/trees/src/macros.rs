// SPDX-License-Identifier: MIT OR Apache-2.0
//! Awaits that macros write: the line is the one of the call.

use crate::shapes::leaf;
use futures::FutureExt;
use std::hint::black_box;
use tokio::sync::oneshot;

async fn left() -> u64 {
    leaf().await + 1 // @left
}

async fn right() -> u64 {
    let (sender, receiver) = oneshot::channel::<u64>();
    let sum = receiver.await.unwrap_or(0); // @right
    drop(sender);
    sum
}

async fn at_once() -> u64 {
    black_box(2)
}

async fn after_a_turn() -> u64 {
    tokio::task::yield_now().await;
    black_box(2)
}

// tree:
//   trees::macros::join_two @join_two
//     trees::macros::left @left
//       trees::shapes::leaf @leaf: notification
//     trees::macros::right @right: oneshot receive
async fn join_two() -> u64 {
    let (one, two) = tokio::join!(left(), right()); // @join_two
    one + two
}

// truth: the second arm has ended.
// tree:
//   trees::macros::join_three @join_three
//     trees::macros::left @left
//       trees::shapes::leaf @leaf: notification
//     trees::macros::right @right: oneshot receive
async fn join_three() -> u64 {
    let (one, two, three) = tokio::join!(left(), after_a_turn(), right()); // @join_three
    one + two + three
}

// tree:
//   trees::macros::try_join @try_join
//     trees::macros::try_join::{async block#0} @try_left
//       trees::macros::left @left
//         trees::shapes::leaf @leaf: notification
//     trees::macros::try_join::{async block#1} @try_right
//       trees::macros::right @right: oneshot receive
async fn try_join() -> Result<u64, ()> {
    let first = async {
        Ok::<u64, ()>(left().await) // @try_left
    };
    let second = async {
        Ok::<u64, ()>(right().await) // @try_right
    };
    let (one, two) = tokio::try_join!(first, second)?; // @try_join
    Ok(one + two)
}

// tree:
//   trees::macros::select_two @select_two
//     trees::macros::left @left
//       trees::shapes::leaf @leaf: notification
//     trees::macros::right @right: oneshot receive
async fn select_two() -> u64 {
    tokio::select! { // @select_two
        sum = left() => sum,
        sum = right() => sum + 1,
    }
}

// truth: a branch that has won awaits on its own; the other future is gone.
// tree:
//   trees::macros::select_branch @select_branch
//     trees::shapes::leaf @leaf: notification
async fn select_branch() -> u64 {
    tokio::select! {
        sum = right() => sum,
        sum = after_a_turn() => {
            sum + leaf().await // @select_branch
        }
    }
}

// truth: `&mut` arms: the futures are the function's own variables.
// tree:
//   trees::macros::select_borrowed @select_borrowed
//     trees::macros::left @left
//       trees::shapes::leaf @leaf: notification
//     trees::macros::right @right: oneshot receive
async fn select_borrowed() -> u64 {
    let one = left();
    let mut two = Box::pin(right());
    tokio::pin!(one);
    tokio::select! { // @select_borrowed
        sum = &mut one => sum,
        sum = &mut two => sum + 1,
    }
}

// tree:
//   trees::macros::futures_join @futures_join
//     trees::macros::left @left
//       trees::shapes::leaf @leaf: notification
//     trees::macros::right @right: oneshot receive
async fn futures_join() -> u64 {
    let (one, two, three) = futures::join!(left(), right(), at_once()); // @futures_join
    one + two + three
}

// tree:
//   trees::macros::futures_select @futures_select
//     trees::macros::left @left
//       trees::shapes::leaf @leaf: notification
//     trees::macros::right @right: oneshot receive
async fn futures_select() -> u64 {
    let mut one = Box::pin(left().fuse());
    let mut two = Box::pin(right().fuse());
    futures::select! { // @futures_select
        sum = one => sum,
        sum = two => sum + 1,
    }
}

// truth: a select in a join in a select.
// tree:
//   trees::macros::mixed @mixed
//     trees::macros::select_two @select_two
//       trees::macros::left @left
//         trees::shapes::leaf @leaf: notification
//       trees::macros::right @right: oneshot receive
//     trees::macros::join_two @join_two
//       trees::macros::left @left
//         trees::shapes::leaf @leaf: notification
//       trees::macros::right @right: oneshot receive
async fn mixed() -> u64 {
    let (one, two) = tokio::join!(select_two(), join_two()); // @mixed
    one + two
}

/// Spawns them; how many.
pub fn spawn() -> usize {
    tokio::spawn(join_two());
    tokio::spawn(join_three());
    tokio::spawn(try_join());
    tokio::spawn(select_two());
    tokio::spawn(select_branch());
    tokio::spawn(select_borrowed());
    tokio::spawn(futures_join());
    tokio::spawn(futures_select());
    tokio::spawn(mixed());
    9
}
