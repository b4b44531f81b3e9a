// SPDX-License-Identifier: MIT OR Apache-2.0
//! The subject of the matrix's snapshot rows: tasks of every kind and status on every kind of runtime. It
//! builds with tokio from 1.24 on and with rustc from 1.63 on.
//!
//! truth: one line of JSON when nothing moves any more. `tasks`: [kind, status, finished_because, future,
//! how many]; the numbers differ, so that two names cannot be taken for each other. `owned`: how many tasks
//! each runtime and LocalSet has, sorted, those that have none left out. `held_bytes`: what the tasks `holds` own. The trees are written beside the
//! functions, as in tests/programs/trees.
//!
//! A line on stdin ends it; it checks then that its tasks still work, and ends with 0.

use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet};

const LONG: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_millis(100);

const NESTED: usize = 1;
const BOXED: usize = 2;
const JOINED: usize = 3;
const SELECTED: usize = 4;
const TIMED: usize = 5;
const BIG: usize = 6;
const KEPT: usize = 7;
const PINNED: usize = 8;
const NEVER_POLLED: usize = 9;
const ON_CURRENT_THREAD: usize = 10;
const ON_LOCAL_SET: usize = 11;
const LEFT: usize = 12;
const RIGHT: usize = 13;
const HOLDS: usize = 14;
const HELD: usize = 3;
const BLOCKING: usize = 2;
const BLOCKING_QUEUED: usize = 4;
const WORKERS: usize = 2;

/// Usable bytes of the blocks that the tasks `holds` own.
static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static RELEASED: Mutex<bool> = Mutex::new(false);
static RELEASE: Condvar = Condvar::new();

/// Holds a thread until the end.
fn hold() {
    INSIDE.fetch_add(1, SeqCst);
    let released = RELEASED.lock().expect("nobody panics");
    drop(RELEASE.wait_while(released, |released| !*released).expect("nobody panics"));
}

fn release() {
    *RELEASED.lock().expect("nobody panics") = true;
    RELEASE.notify_all();
}

async fn leaf() -> u64 {
    let bell = Notify::new();
    bell.notified().await; // @leaf
    1
}

async fn other_leaf() -> u64 {
    let gate = tokio::sync::Semaphore::new(0);
    gate.acquire().await.map_or(2, |_| 3) // @other_leaf
}

async fn middle(number: u64) -> u64 {
    leaf().await + number // @middle
}

// tree:
//   tasks::nested @nested
//     tasks::middle @middle
//       tasks::leaf @leaf: notification
async fn nested(number: u64) -> u64 {
    let ballast = [number as u8; 100];
    let sum = middle(number).await; // @nested
    sum + u64::from(ballast[number as usize % 100])
}

fn boxed_middle(number: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(middle(number))
}

// tree:
//   tasks::boxed @boxed
//     tasks::middle @middle
//       tasks::leaf @leaf: notification
async fn boxed(number: u64) -> u64 {
    boxed_middle(number).await * number // @boxed
}

// tree:
//   tasks::joined @joined
//     tasks::leaf @leaf: notification
//     tasks::other_leaf @other_leaf: semaphore permit
async fn joined() -> u64 {
    let (one, two) = tokio::join!(leaf(), other_leaf()); // @joined
    one + two
}

// tree:
//   tasks::selected @selected
//     tasks::middle @middle
//       tasks::leaf @leaf: notification
//     tasks::other_leaf @other_leaf: semaphore permit
async fn selected(number: u64) -> u64 {
    tokio::select! { // @selected
        one = middle(number) => one,
        two = other_leaf() => two,
    }
}

// tree:
//   tasks::timed @timed
//     tasks::leaf @leaf: notification
async fn timed() -> u64 {
    tokio::time::timeout(LONG, leaf()).await.unwrap_or(4) // @timed
}

// truth: newer tokios keep it in a box of its own.
// tree:
//   tasks::big @big
//     tasks::leaf @leaf: notification
async fn big(number: u64) -> u64 {
    let ballast = [number; 2560];
    let sum = leaf().await; // @big
    sum + ballast.iter().sum::<u64>()
}

extern "C" {
    fn malloc_usable_size(block: *const u8) -> usize;
}

/// Counts a block that will be held.
fn counted<T>(block: *const T) {
    HELD_BYTES.fetch_add(unsafe { malloc_usable_size(block.cast()) }, SeqCst);
}

// truth: what was moved out or dropped is nobody's, and the rest is held.
// tree:
//   tasks::holds @holds
//     tasks::leaf @leaf: notification
async fn holds(number: u64) -> u64 {
    let buffer = vec![number as u8; 1000 + number as usize];
    let gone = vec![number; 700];
    let names: Vec<String> = (0..number).map(|name| format!("{name} is a name")).collect();
    let boxed: Box<dyn Fn(u64) -> u64 + Send> = Box::new(move |other| other * number);
    let maybe = if number % 2 == 0 { Some(Box::new([number; 50])) } else { None };
    counted(buffer.as_ptr());
    if number > 0 {
        counted(names.as_ptr());
    }
    names.iter().for_each(|name| counted(name.as_ptr()));
    counted(&*boxed as *const _ as *const u8);
    maybe.iter().for_each(|block| counted(block.as_ptr()));
    let sum = gone.into_iter().sum::<u64>();
    leaf().await + boxed(sum) + buffer.len() as u64 + names.len() as u64 + maybe.map_or(0, |block| block[0]) // @holds
}

async fn kept(number: u64) -> u64 {
    tokio::task::yield_now().await;
    number
}

/// Leaves a waker behind that nobody drops.
struct LeaveWaker;

impl Future for LeaveWaker {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        std::mem::forget(context.waker().clone());
        Poll::Ready(())
    }
}

async fn pinned() {
    LeaveWaker.await;
}

async fn never_polled(number: u64) -> u64 {
    leaf().await * number
}

async fn held(number: u64) -> u64 {
    hold();
    leaf().await + number
}

// tree:
//   tasks::on_current_thread @on_current_thread
//     tasks::other_leaf @other_leaf: semaphore permit
async fn on_current_thread() -> u64 {
    other_leaf().await // @on_current_thread
}

// tree:
//   tasks::on_local_set @on_local_set
//     tasks::leaf @leaf: notification
async fn on_local_set() -> u64 {
    let not_send = std::rc::Rc::new(5);
    let sum = leaf().await; // @on_local_set
    sum + *not_send
}

struct Left;
struct Right;

// truth: two futures of one code, which the compiler may merge.
// tree:
//   tasks::twin<Left> @twin
//     tasks::leaf @leaf: notification
// tree:
//   tasks::twin<Right> @twin
//     tasks::leaf @leaf: notification
async fn twin<T>(side: T) -> u64 {
    let sum = leaf().await; // @twin
    drop(side);
    sum
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How often each other thread gave up its processor; None when one is not asleep.
fn sleepers() -> Option<Vec<String>> {
    let own = format!("{}", std::process::id());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task").expect("threads") {
        let entry = entry.expect("a thread");
        if entry.file_name().to_str() == Some(&own) {
            continue;
        }
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        if !status.contains("State:\tS") {
            return None;
        }
        found.extend(status.lines().filter(|line| line.contains("ctxt")).map(String::from));
    }
    Some(found)
}

/// Waits until all other threads sleep, and sleep on.
fn settle() {
    let mut before = None;
    let mut since = Instant::now();
    wait_until("nothing moves", || {
        let now = sleepers();
        if now.is_none() || now != before {
            since = Instant::now();
            before = now;
        }
        before.is_some() && since.elapsed() >= QUIET
    });
}

fn multi_thread(workers: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).enable_time().build().expect("a runtime starts")
}

fn current_thread() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().max_blocking_threads(BLOCKING).build().expect("a runtime starts")
}

/// Spawns as many as asked for.
fn spawn<F>(runtime: &Handle, count: usize, make: impl Fn(u64) -> F) -> Vec<JoinHandle<F::Output>>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    (0..count as u64).map(|number| runtime.spawn(make(number))).collect()
}

/// Tasks that stay in the list of a runtime until it ends; how many.
fn spawn_suspended(runtime: &Handle) -> usize {
    spawn(runtime, NESTED, nested);
    spawn(runtime, BOXED, boxed);
    spawn(runtime, JOINED, |_| joined());
    spawn(runtime, SELECTED, selected);
    spawn(runtime, TIMED, |_| timed());
    spawn(runtime, BIG, big);
    spawn(runtime, LEFT, |_| twin(Left));
    spawn(runtime, RIGHT, |_| twin(Right));
    spawn(runtime, HOLDS, holds);
    HOLDS + NESTED + BOXED + JOINED + SELECTED + TIMED + BIG + LEFT + RIGHT
}

/// A runtime on a thread of its own that runs until the stop is rung.
fn drive(body: fn(&Runtime, Arc<Notify>)) -> (Handle, Arc<Notify>, std::thread::JoinHandle<()>) {
    let stop = Arc::new(Notify::new());
    let told = stop.clone();
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = current_thread();
        sender.send(runtime.handle().clone()).expect("main listens");
        body(&runtime, told);
    });
    (receiver.recv().expect("a handle"), stop, thread)
}

fn drive_current_thread(runtime: &Runtime, stop: Arc<Notify>) {
    spawn(runtime.handle(), ON_CURRENT_THREAD, |_| on_current_thread());
    runtime.block_on(async move { stop.notified().await });
}

fn drive_local_set(runtime: &Runtime, stop: Arc<Notify>) {
    let local = LocalSet::new();
    for _ in 0..ON_LOCAL_SET {
        local.spawn_local(on_local_set());
    }
    runtime.block_on(local.run_until(async move { stop.notified().await }));
}

#[cfg(feature = "metrics")]
fn check_owned(runtime: &Handle, count: usize) {
    assert_eq!(runtime.metrics().num_alive_tasks(), count);
}

#[cfg(not(feature = "metrics"))]
fn check_owned(_: &Handle, _: usize) {}

fn announce(mut owned: Vec<usize>) {
    let tasks: &[(&str, &str, &str, &str, usize)] = &[
        ("async", "suspended", "null", "nested", NESTED),
        ("async", "suspended", "null", "boxed", BOXED),
        ("async", "suspended", "null", "joined", JOINED),
        ("async", "suspended", "null", "selected", SELECTED),
        ("async", "suspended", "null", "timed", TIMED),
        ("async", "suspended", "null", "big", BIG),
        ("async", "suspended", "null", "twin<Left>", LEFT),
        ("async", "suspended", "null", "twin<Right>", RIGHT),
        ("async", "suspended", "null", "holds", HOLDS),
        ("async", "finished", "\"unread\"", "kept", KEPT),
        ("async", "finished", "\"pinned\"", "pinned", PINNED),
        ("async", "never_polled", "null", "never_polled", NEVER_POLLED),
        ("async", "running", "null", "held", HELD),
        ("async", "suspended", "null", "on_current_thread", ON_CURRENT_THREAD),
        ("async", "suspended", "null", "on_local_set", ON_LOCAL_SET),
        ("blocking", "running", "null", "hold", BLOCKING),
        ("blocking", "queued", "null", "hold", BLOCKING_QUEUED),
        ("worker", "running", "null", "", WORKERS + HELD),
    ];
    let rows: Vec<String> = tasks
        .iter()
        .map(|(kind, status, because, future, count)| {
            format!("[\"{kind}\",\"{status}\",{because},\"tasks::{future}\",{count}]")
        })
        .collect();
    owned.sort_unstable();
    let held = HELD_BYTES.load(SeqCst);
    println!("{{\"tasks\":[{}],\"owned\":{:?},\"held_bytes\":{held}}}", rows.join(","), owned);
    std::io::stdout().flush().expect("stdout takes a line");
}

fn main() {
    let main_runtime = multi_thread(WORKERS);
    let suspended = spawn_suspended(main_runtime.handle());
    let unread = spawn(main_runtime.handle(), KEPT, kept);
    let ended = spawn(main_runtime.handle(), PINNED, |_| pinned());
    wait_until("they have ended", || ended.iter().all(|task| task.is_finished()));
    drop(ended);
    let (current, current_stop, current_thread_end) = drive(drive_current_thread);
    let (local, local_stop, local_thread_end) = drive(drive_local_set);
    let never_driven = current_thread();
    spawn(never_driven.handle(), NEVER_POLLED, never_polled);
    for _ in 0..BLOCKING + BLOCKING_QUEUED {
        never_driven.spawn_blocking(hold);
    }
    let busy = multi_thread(HELD);
    for number in 0..HELD {
        spawn(busy.handle(), 1, held);
        wait_until("a worker is held", || INSIDE.load(SeqCst) >= number + 1);
    }
    wait_until("all are held", || INSIDE.load(SeqCst) == HELD + BLOCKING);
    settle();
    check_owned(main_runtime.handle(), suspended);
    check_owned(busy.handle(), HELD);
    check_owned(&current, ON_CURRENT_THREAD);
    check_owned(&local, 0);
    check_owned(never_driven.handle(), NEVER_POLLED);
    announce(vec![suspended, HELD, ON_CURRENT_THREAD, NEVER_POLLED, ON_LOCAL_SET]);
    std::io::stdin().read_line(&mut String::new()).expect("stdin gives a line");

    let outputs =
        unread.into_iter().map(|handle| main_runtime.block_on(handle).expect("an output"));
    assert_eq!(outputs.sum::<u64>(), (0..KEPT as u64).sum());
    for (stop, thread) in [(current_stop, current_thread_end), (local_stop, local_thread_end)] {
        stop.notify_one();
        thread.join().expect("a driven thread ends well");
    }
    release();
    drop((main_runtime, busy, never_driven));
}
