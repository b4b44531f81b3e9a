// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends tasks by a task of the same thread, so that the runtime's driver does nothing between: what it knew of
//! a socket it frees at some time after the socket's end, and that is not the task's. Nothing is allocated for it.

use crate::counting;
use std::sync::Mutex;
use std::task::Poll;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

static TO_END: Mutex<Option<(JoinHandle<()>, usize)>> = Mutex::new(None);
static BELL: Notify = Notify::const_new();
static FREED: Mutex<Option<counting::Freed>> = Mutex::new(None);

/// Ready after all tasks that are in the queue now.
async fn after_the_others() {
    let mut was_polled = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut was_polled, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The task of a place of one thread that ends others there.
pub async fn ends_others() {
    loop {
        BELL.notified().await;
        let (task, cell) = TO_END.lock().expect("nobody panics").take().expect("one to end");
        counting::open([cell].into_iter());
        task.abort();
        while !task.is_finished() {
            after_the_others().await;
        }
        drop(task);
        assert!(counting::are_watched_freed(), "nobody else has the cell");
        let freed = counting::close();
        tokio::task::yield_now().await; // the driver's turn
        *FREED.lock().expect("nobody panics") = Some(freed);
    }
}

/// Ends a task of that place; what that freed.
pub fn end(task: JoinHandle<()>, cell: usize) -> counting::Freed {
    *TO_END.lock().expect("nobody panics") = Some((task, cell));
    BELL.notify_one();
    let mut freed = None;
    subject::wait_until("it has ended", || {
        freed = FREED.lock().expect("nobody panics").take();
        freed.is_some()
    });
    freed.expect("just waited for")
}
