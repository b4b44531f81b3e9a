// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runtimes to start tasks on: with several threads, with one, and a LocalSet for what is not Send.

use crate::inside::ends_others;
use std::future::Future;
use std::sync::mpsc as thread_mpsc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet};

/// Threads for blocking work stay: their end would free memory at any time.
const LONG: Duration = Duration::from_secs(1_000_000);

/// A runtime that something drives until the program ends.
pub struct Place {
    handle: Handle,
    _driven: Option<Runtime>,
}

async fn for_ever() {
    std::future::pending().await
}

impl Place {
    pub fn multi_thread() -> Self {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).thread_keep_alive(LONG).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        Self { handle: runtime.handle().clone(), _driven: Some(runtime) }
    }

    pub fn current_thread() -> Self {
        Self::of_one_thread(&mut Builder::new_current_thread())
    }

    /// One thread, on which nothing is asked of the system while a task is ready: see Case::ends_inside.
    pub fn quiet() -> Self {
        let place = Self::of_one_thread(Builder::new_current_thread().event_interval(u32::MAX));
        drop(place.spawn(ends_others()));
        place
    }

    fn of_one_thread(builder: &mut Builder) -> Self {
        let runtime = builder.enable_all().thread_keep_alive(LONG).build();
        let runtime = runtime.expect("a runtime starts");
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(for_ever()));
        Self { handle, _driven: None }
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        self.handle.spawn(future)
    }
}

/// A runtime that nobody drives.
pub fn never_driven() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime starts")
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread with a LocalSet.
pub struct Local {
    jobs: mpsc::UnboundedSender<Job>,
}

async fn work_off(mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        job();
    }
}

struct Carried<T>(T);
// A JoinHandle of an output that is not Send; only its cell is looked at by another thread.
unsafe impl<T> Send for Carried<T> {}

impl Local {
    pub fn start() -> Self {
        let (jobs, to_do) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let runtime =
                Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            LocalSet::new().block_on(&runtime, work_off(to_do));
        });
        Self { jobs }
    }

    /// Spawns what `make` makes on the LocalSet's thread.
    pub fn spawn<F>(&self, make: impl FnOnce() -> F + Send + 'static) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (sender, receiver) = thread_mpsc::channel();
        let job = move || {
            let handle = Carried(tokio::task::spawn_local(make()));
            assert!(sender.send(handle).is_ok(), "main listens");
        };
        assert!(self.jobs.send(Box::new(job)).is_ok(), "the thread works");
        receiver.recv().expect("a handle").0
    }
}
