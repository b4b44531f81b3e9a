// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the programs share whose tasks are their own oracle: each task says what its variables hold, and
//! when it is ended the allocator says what that freed.
//!
//! A program starts its tasks one after the other, each until it rests; `announce` prints the truth as one
//! line of JSON. `tasks`, a row for each case: `name`, `ids` (tokio's, in the order of their ends), `cells` (usable
//! bytes of their blocks), `status`, `says` (what its variables hold: `frame`, `slot`, `status`, `bytes` usable,
//! `requested`), `shared` (bytes that all of them share and the last one frees; null: unknown here), `together` (they end at
//! once). After a line on stdin each is aborted, and a line of JSON gives for each its `name`, and in
//! `ends` the `bytes`, `blocks` and first block `sizes` that the end of each task freed.

pub mod counting;
mod inside;
mod places;

pub use counting::Counting;
pub use places::{never_driven, Local, Place};

use serde_json::{json, Value};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

static HAS_ARRIVED: AtomicBool = AtomicBool::new(false);
static SAYS: Mutex<Vec<Value>> = Mutex::new(Vec::new());

/// Where a task stays until it is ended.
pub async fn rest() {
    HAS_ARRIVED.store(true, SeqCst);
    std::future::pending().await
}

/// As `rest` tells, for what waits for something else.
pub fn arrived() {
    HAS_ARRIVED.store(true, SeqCst);
}

/// A variable of the future that is being polled: its heap, usable and requested bytes. `place` is
/// "slot", "first+second" for two that have it together, or "frame.slot" for one of a future below that
/// of the task.
pub fn say(place: &str, status: &str, bytes: usize, requested: usize) {
    let (frame, slot) = place.split_once('.').unwrap_or(("", place));
    SAYS.lock()
        .expect("nobody panics")
        .push(json!({"frame": frame, "slot": slot, "status": status,
        "bytes": bytes, "requested": requested}));
}

pub fn gone(place: &str) {
    say(place, "gone", 0, 0);
}

/// What making something has allocated on this thread, and what was made.
pub fn weigh<T>(make: impl FnOnce() -> T) -> (T, usize, usize) {
    let (bytes, requested) = counting::by_thread();
    let made = make();
    let (bytes_now, requested_now) = counting::by_thread();
    (made, bytes_now.wrapping_sub(bytes), requested_now.wrapping_sub(requested))
}

/// `let NAME = VALUE;`, and says what it holds; in a future below that of the task with the frame's name.
#[macro_export]
macro_rules! hold {
    ($name:ident = $value:expr) => {
        $crate::hold!("", $name = $value);
    };
    ($frame:literal, $name:ident = $value:expr) => {
        let $name = {
            let (made, bytes, requested) = $crate::weigh(|| $value);
            $crate::say(concat!($frame, ".", stringify!($name)), "live", bytes, requested);
            made
        };
    };
}

/// The address of a task's cell.
fn cell_of<T>(task: &T) -> usize {
    const { assert!(size_of::<T>() == size_of::<usize>()) };
    unsafe { std::ptr::from_ref(task).cast::<usize>().read() }
}

/// A handle without the type of the output, which only tokio's own code touches, by the cell's vtable.
fn untyped<T>(task: JoinHandle<T>) -> JoinHandle<()> {
    const { assert!(size_of::<JoinHandle<T>>() == size_of::<JoinHandle<()>>()) };
    let task = std::mem::ManuallyDrop::new(task);
    unsafe { std::mem::transmute_copy(&task) }
}

fn usable(block: usize) -> usize {
    unsafe { libc::malloc_usable_size(block as *mut libc::c_void) }
}

/// Neither running nor in a queue (tokio's runtime/task/state.rs: RUNNING 1, NOTIFIED 4).
fn is_idle(cell: usize) -> bool {
    let state = unsafe { &*(cell as *const AtomicUsize) };
    state.load(SeqCst) & 5 == 0
}

fn wait(what: &str, name: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{name}: waited too long until {what}"
        );
        std::thread::sleep(Duration::from_micros(20));
    }
}

struct Task {
    id: String,
    cell: usize,
    cell_bytes: usize,
    handle: Option<JoinHandle<()>>, // none: another task of the case ends it
}

fn shown(freed: &counting::Freed) -> Value {
    json!({"bytes": freed.bytes, "blocks": freed.blocks, "sizes": freed.sizes})
}

/// One case: a task, or several that belong together.
pub struct Case {
    name: String,
    tasks: Vec<Task>,
    says: Vec<Value>,
    shared: Option<usize>, // none: not known here
    is_together: bool,
    status: &'static str,
    driver: Option<Runtime>,
    is_inside: bool,
}

impl Case {
    fn add<T>(&mut self, handle: JoinHandle<T>) {
        let cell = cell_of(&handle);
        let id = handle.id().to_string();
        self.tasks.push(Task { id, cell, cell_bytes: usable(cell), handle: Some(untyped(handle)) });
    }

    /// Starts one task and waits until it rests.
    pub fn start<T>(&mut self, spawn: impl FnOnce() -> JoinHandle<T>) {
        HAS_ARRIVED.store(false, SeqCst);
        let handle = spawn();
        let cell = cell_of(&handle);
        wait("it rests", &self.name, || HAS_ARRIVED.load(SeqCst) && is_idle(cell));
        self.add(handle);
    }

    /// A task that was started otherwise.
    pub fn has<T>(&mut self, status: &'static str, handle: JoinHandle<T>) {
        self.status = status;
        self.add(handle);
    }

    /// Tasks that a task of this case owns; they end with it.
    pub fn owns(&mut self, children: Vec<tokio::task::AbortHandle>) {
        self.is_together = true;
        for child in children {
            let cell = cell_of(&child);
            wait("its child rests", &self.name, || is_idle(cell));
            let (id, cell_bytes) = (child.id().to_string(), usable(cell));
            self.tasks.push(Task { id, cell, cell_bytes, handle: None });
        }
    }

    /// What all tasks of this case own together; the last frees it.
    pub fn shares(&mut self, bytes: usize) {
        self.shared = Some(bytes);
    }

    /// The same where only asyncmem knows how much.
    pub fn shares_something(&mut self) {
        self.shared = None;
    }

    /// Its task is on the quiet place, and ends by one that runs there too.
    pub fn ends_inside(&mut self) {
        self.is_inside = true;
    }

    /// The runtime of its tasks, which nobody drives.
    pub fn driven_by(&mut self, runtime: Runtime) {
        self.driver = Some(runtime);
    }

    fn truth(&self) -> Value {
        json!({"name": self.name, "status": self.status, "says": self.says, "shared": self.shared,
            "together": self.is_together,
            "ids": self.tasks.iter().map(|task| task.id.parse::<u64>().expect("a number")).collect::<Vec<_>>(),
            "cells": self.tasks.iter().map(|task| task.cell_bytes).collect::<Vec<_>>()})
    }

    fn drive(&self) {
        if let Some(driver) = &self.driver {
            driver.block_on(tokio::task::yield_now());
        }
    }

    fn end_one(&mut self, number: usize) {
        let Some(handle) = self.tasks[number].handle.take() else { return };
        handle.abort();
        wait("it has ended", &self.name, || {
            self.drive();
            handle.is_finished()
        });
        drop(handle);
    }

    /// Ends the task of this number, or all from it on that end with it; what that freed.
    fn end_from(&mut self, number: usize) -> Value {
        if self.is_inside {
            let task = &mut self.tasks[number];
            return shown(&inside::end(task.handle.take().expect("it was not ended"), task.cell));
        }
        let last = if self.is_together { self.tasks.len() - 1 } else { number };
        counting::open(self.tasks[number..=last].iter().map(|task| task.cell));
        self.end_one(number);
        wait("its cell is freed", &self.name, || {
            self.drive();
            counting::are_watched_freed()
        });
        shown(&counting::close())
    }

    fn end(&mut self) -> Value {
        let nr_ends = if self.is_together { 1 } else { self.tasks.len() };
        let ends: Vec<Value> = (0..nr_ends).map(|number| self.end_from(number)).collect();
        json!({"name": self.name, "ends": ends})
    }
}

/// All cases of a program.
#[derive(Default)]
pub struct Cases {
    rows: Vec<Case>,
}

impl Cases {
    /// A case of one task or more, which `start` starts.
    pub fn group(&mut self, name: impl Into<String>, start: impl FnOnce(&mut Case)) {
        let mut case = Case {
            name: name.into(),
            tasks: Vec::new(),
            says: Vec::new(),
            shared: Some(0),
            is_together: false,
            status: "suspended",
            driver: None,
            is_inside: false,
        };
        start(&mut case);
        case.says = std::mem::take(&mut *SAYS.lock().expect("nobody panics"));
        self.rows.push(case);
    }

    pub fn one<F>(&mut self, place: &Place, name: impl Into<String>, future: F)
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        self.group(name, |case| case.start(|| place.spawn(future)));
    }

    /// The truth of all, in one row each.
    pub fn truth(&self) -> Value {
        self.rows.iter().map(Case::truth).collect()
    }

    /// Ends all, one after the other; prints what each freed.
    pub fn end(&mut self) {
        for case in &mut self.rows {
            println!("{}", case.end());
        }
    }
}

/// Prints the truth, waits to be looked at, and ends all.
pub fn run(mut cases: Cases, places: &[&Place]) {
    for place in places {
        subject::settle(place.handle(), 0);
    }
    let (bytes, blocks, _) = counting::live();
    subject::announce(&json!({"tasks": cases.truth(), "live_bytes": bytes, "live_blocks": blocks}));
    subject::wait_for_line();
    cases.end();
    println!("{}", json!({"done": true}));
}
