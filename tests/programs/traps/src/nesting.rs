// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traps about futures inside futures: macros, boxes, adapters, recursion and long chains.

use crate::{briefly, nap};
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::sleep;
use tracing::Instrument;

async fn fetch(size: u64) -> u64 {
    sleep(Duration::from_secs(3600)).await;
    size
}

async fn store(text: String) -> usize {
    nap().await;
    text.len()
}

// truth: the await is inside the macro; the user's line is the macro call. Both branches are slots.
// @fn:joined
pub async fn joined() -> u64 {
    let (left, right) = tokio::join!(fetch(1), store(String::from("two"))); // @await:tokio_join
    left + right as u64
}

// truth: as above, but the call spans lines: the user's line is the first one.
// @fn:tried
pub async fn tried() -> Result<u64, ()> {
    let work = async { Ok::<u64, ()>(fetch(1).await) };
    let parts = tokio::try_join! { // @await:tokio_try_join
        work,
        async { Err::<u64, ()>(()) }
    };
    let (left, right) = parts?;
    Ok(left + right)
}

// truth: the await is inside the macro; the user's line is that of `tokio::select!`.
// @fn:selected
pub async fn selected() -> u64 {
    tokio::select! { // @await:tokio_select
        size = fetch(1) => size,
        length = store(String::from("faster")) => length as u64,
    }
}

// truth: the branches of this select! await too: those lines are the user's own.
// @fn:selected_then_awaits
pub async fn selected_then_awaits() -> u64 {
    tokio::select! { // @await:select_first
        size = fetch(1) => size,
        _ = nap() => {
            fetch(2).await // @await:select_branch
        }
    }
}

// truth: futures::join! awaits inside its own macro, a procedural one.
// @fn:futures_joined
pub async fn futures_joined() -> u64 {
    let (left, right) = futures::join!(fetch(1), store(String::from("two"))); // @await:futures_join
    left + right as u64
}

// truth: futures::select! on fused futures.
// @fn:futures_selected
pub async fn futures_selected() -> u64 {
    use futures::FutureExt;
    let mut slow = Box::pin(fetch(1).fuse());
    let mut fast = Box::pin(store(String::from("fast")).fuse());
    futures::select! { // @await:futures_select
        size = slow => size,
        length = fast => length as u64,
    }
}

macro_rules! fetch_twice {
    ($size:expr) => {{
        let first = fetch($size).await; // @macro:own_first
        let second = fetch(first).await; // @macro:own_second
        first + second
    }};
}

// truth: two awaits, both inside a macro of the user's own; the user's line is the call.
// @fn:own_macro
pub async fn own_macro(size: u64) -> u64 {
    let sum = fetch_twice!(size); // @await:own_macro
    sum + 1
}

macro_rules! wait_for {
    ($future:expr) => {
        $future.await // @macro:own_argument
    };
}

// truth: the awaited future is written by the user, `.await` by the macro; the user's line is the call.
// @fn:own_macro_argument
pub async fn own_macro_argument() -> u64 {
    wait_for!(fetch(5)) // @await:own_macro_argument
}

struct Request {
    size: u64,
}

impl Request {
    fn grow(mut self, by: u64) -> Self {
        self.size += by;
        self
    }

    async fn send(self) -> u64 {
        fetch(self.size).await
    }
}

// truth: of an awaited expression over several lines, the line of `.await` is the await point.
// @fn:several_lines
pub async fn several_lines() -> u64 {
    let request = Request { size: 1 };
    request
        .grow(2)
        .grow(3)
        .send()
        .await // @await:several_lines
}

// truth: two awaits on one line are two states with the same line.
// @fn:two_on_a_line
pub async fn two_on_a_line() -> u64 {
    fetch(1).await + fetch(2).await // @await:two_on_a_line
}

// truth: an async fn may await itself through a box: the future is Pin<Box<countdown>>.
// @fn:countdown
pub async fn countdown(left: u64) -> u64 {
    if left == 0 {
        return fetch(0).await; // @await:countdown_bottom
    }
    Box::pin(countdown(left - 1)).await + left // @await:countdown
}

// truth: a fn that returns Pin<Box<dyn Future>>: the type behind it is known at run time only.
pub fn descend(left: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    // @fn:descend
    Box::pin(async move {
        if left == 0 {
            nap().await; // @await:descend_bottom
            return 0;
        }
        descend(left - 1).await + left // @await:descend
    })
}

// truth: waits for whatever is in the box.
// @fn:waits_dyn
pub async fn waits_dyn(work: Pin<Box<dyn Future<Output = u64> + Send>>) -> u64 {
    work.await + 1 // @await:waits_dyn
}

// truth: Instrumented<fetch> is an adapter: the future inside it is `fetch`.
// @fn:instrumented
pub async fn instrumented() -> u64 {
    fetch(1).instrument(tracing::info_span!("fetching")).await // @await:instrumented
}

// truth: the attribute wraps the body into a block of its own inside the fn.
#[tracing::instrument]
// @fn:attributed
pub async fn attributed(size: u64) -> u64 {
    fetch(size).await // @await:attributed
}

// truth: Map<fetch, closure> is an adapter, too.
// @fn:mapped
pub async fn mapped() -> u64 {
    use futures::FutureExt;
    fetch(1).map(|size| size + 1).await // @await:mapped
}

// truth: `bottom` holds 61 440 bytes in `frame`; `middle` and `top` contain it whole, so all three are
// larger than 60 KB.
// @fn:bottom
pub async fn bottom() -> u64 {
    let frame = black_box([1u8; 61_440]);
    nap().await; // @await:bottom
    frame.iter().map(|byte| u64::from(*byte)).sum()
}

// @fn:middle
pub async fn middle(label: String) -> u64 {
    let sum = bottom().await; // @await:middle
    sum + label.len() as u64
}

// @fn:top
pub async fn top() -> u64 {
    let note = black_box([2u64; 8]);
    let sum = middle(String::from("middle")).await; // @await:top
    sum + note[7]
}

pub async fn run() {
    briefly(joined()).await;
    briefly(tried()).await;
    briefly(selected()).await;
    briefly(selected_then_awaits()).await;
    briefly(futures_joined()).await;
    briefly(futures_selected()).await;
    briefly(own_macro(1)).await;
    briefly(own_macro_argument()).await;
    briefly(several_lines()).await;
    briefly(two_on_a_line()).await;
    briefly(countdown(3)).await;
    briefly(descend(3)).await;
    briefly(waits_dyn(Box::pin(fetch(9)))).await;
    briefly(instrumented()).await;
    briefly(attributed(2)).await;
    briefly(mapped()).await;
    briefly(top()).await;
}
