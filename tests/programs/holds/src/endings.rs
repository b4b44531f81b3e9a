// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks that do not wait: never polled, in a queue, finished with an output that nobody took.

use crate::values::text;
use crate::Places;
use ledger::{never_driven, rest, Cases};
use std::error::Error;
use std::sync::Arc;
use tokio::sync::Notify;

async fn has_arguments(words: Vec<String>, boxed: Box<[u8; 700]>) {
    rest().await;
    drop((words, boxed));
}

async fn waits_for(bell: Arc<Notify>, ballast: Vec<u8>) {
    let more = text(71);
    bell.notified().await;
    drop((ballast, more));
}

async fn gives_text() -> String {
    text(3100)
}

async fn gives_parts() -> Option<(Vec<u8>, Box<str>)> {
    tokio::task::yield_now().await;
    Some((vec![1; 320], text(33).into()))
}

async fn fails() -> Result<(), Box<dyn Error + Send + Sync>> {
    Err(text(340).into())
}

async fn gives_nothing() {}

async fn panics() {
    let ballast = text(350);
    std::panic::panic_any(ballast);
}

fn finished<F>(cases: &mut Cases, places: &Places, name: &str, future: F)
where
    F: std::future::Future + Send + 'static,
    F::Output: Send,
{
    cases.group(name, |case| {
        let handle = places.many.spawn(future);
        subject::wait_until("it has ended", || handle.is_finished());
        case.has("finished", handle);
    });
}

pub fn start(cases: &mut Cases, places: &Places) {
    cases.group("never_polled", |case| {
        let runtime = never_driven();
        case.has(
            "never_polled",
            runtime.spawn(has_arguments(vec![text(100); 3], Box::new([1; 700]))),
        );
        case.driven_by(runtime);
    });
    cases.group("queued", |case| {
        let (runtime, bell) = (never_driven(), Arc::new(Notify::new()));
        let handle = runtime.spawn(waits_for(bell.clone(), vec![1; 360]));
        runtime.block_on(tokio::task::yield_now());
        bell.notify_waiters();
        drop(bell);
        case.has("queued", handle);
        case.driven_by(runtime);
    });
    finished(cases, places, "finished_text", gives_text());
    finished(cases, places, "finished_parts", gives_parts());
    finished(cases, places, "finished_error", fails());
    finished(cases, places, "finished_nothing", gives_nothing());
    std::panic::set_hook(Box::new(|_| {}));
    finished(cases, places, "finished_panic", panics());
    drop(std::panic::take_hook());
}
