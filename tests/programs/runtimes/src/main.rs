// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every kind of runtime, of task and of status in one process.
//!
//! truth: printed as one line of JSON when nothing moves any more. `runtimes`: for each its name here, its
//! kind, and the tasks it owns as tokio counts them (a LocalSet, which tokio does not count, as
//! `spawn_local` was called). `tasks`: [kind, status, future, how many]; a null status is one that no
//! rule fixes. The plugin's runtime is of another copy of tokio: see ../plugin.
//!
//! A line on stdin ends it; the plugin's tasks and the parked runtimes end with the process.

use serde_json::{json, Value};
use std::cell::Cell;
use std::ffi::{c_ulong, CString};
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::time::Duration;
use subject::{announce, settle, wait_for_line, wait_until};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{oneshot, Notify};
use tokio::task::{JoinSet, LocalSet};

const MULTI_THREAD_TASKS: usize = 5;
const CURRENT_THREAD_TASKS: usize = 3;
const LOCAL_TASKS: usize = 4;
const CHILDREN: usize = 6;
const BLOCKING_RUNNING: usize = 2;
const BLOCKING_QUEUED: usize = 3;
const NEVER_POLLED: usize = 7;
const QUEUED: usize = 2;
const BUSY_WORKERS: usize = 2;
const PLUGIN_TASKS: usize = 9;

static RELEASED: AtomicBool = AtomicBool::new(false);
static BLOCKING: AtomicUsize = AtomicUsize::new(0);
static BUSY: AtomicUsize = AtomicUsize::new(0);
static DROPPING: AtomicBool = AtomicBool::new(false);

/// Holds a thread until the end.
fn hold() {
    while !RELEASED.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn on_multi_thread() {
    Notify::new().notified().await;
}

async fn on_current_thread() {
    Notify::new().notified().await;
}

async fn on_local_set() {
    let not_send = std::rc::Rc::new(Cell::new(1));
    Notify::new().notified().await;
    not_send.set(2);
}

async fn parent(ready: oneshot::Sender<()>) {
    let mut children = JoinSet::new();
    for _ in 0..CHILDREN {
        children.spawn(child());
    }
    ready.send(()).expect("main listens");
    black_box(children.join_next().await.is_some());
}

async fn child() {
    Notify::new().notified().await;
}

fn blocking_work() {
    BLOCKING.fetch_add(1, SeqCst);
    hold();
}

async fn never_polled() {
    Notify::new().notified().await;
}

async fn busy() {
    BUSY.fetch_add(1, SeqCst);
    hold();
}

/// Suspended once, then woken while no worker has time for it.
async fn woken(bell: Arc<Notify>) {
    bell.notified().await;
}

struct SlowToDrop;

impl Drop for SlowToDrop {
    fn drop(&mut self) {
        DROPPING.store(true, SeqCst);
        hold();
    }
}

/// Aborted: its drop takes until the end.
async fn cancelled() {
    let _slow = SlowToDrop;
    Notify::new().notified().await;
}

async fn root_of_block_on(stop: Arc<Notify>) {
    stop.notified().await;
}

async fn root_of_local_set(stop: Arc<Notify>) {
    stop.notified().await;
}

fn multi_thread(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// A runtime on a thread of its own, inside `drive`, which is told when to stop.
struct Driven {
    handle: Handle,
    stop: Arc<Notify>,
    thread: std::thread::JoinHandle<()>,
}

fn drive(body: fn(Runtime, Arc<Notify>)) -> Driven {
    let stop = Arc::new(Notify::new());
    let (sender, receiver) = mpsc::channel();
    let told = stop.clone();
    let thread = std::thread::spawn(move || {
        let runtime = current_thread();
        sender.send(runtime.handle().clone()).expect("main listens");
        body(runtime, told);
    });
    Driven { handle: receiver.recv().expect("a handle"), stop, thread }
}

fn drive_current_thread(runtime: Runtime, stop: Arc<Notify>) {
    for _ in 0..CURRENT_THREAD_TASKS {
        runtime.spawn(on_current_thread());
    }
    runtime.block_on(root_of_block_on(stop));
}

fn drive_local_set(runtime: Runtime, stop: Arc<Notify>) {
    let local = LocalSet::new();
    for _ in 0..LOCAL_TASKS {
        local.spawn_local(on_local_set());
    }
    runtime.block_on(local.run_until(root_of_local_set(stop)));
}

/// spawn_blocking, running and queued, on a runtime whose pool has as many threads as the running ones.
fn blocking_runtime() -> Runtime {
    let runtime = Builder::new_current_thread().max_blocking_threads(BLOCKING_RUNNING).build();
    let runtime = runtime.expect("a runtime starts");
    for _ in 0..BLOCKING_RUNNING + BLOCKING_QUEUED {
        runtime.spawn_blocking(blocking_work);
    }
    wait_until("blocking work runs", || BLOCKING.load(SeqCst) == BLOCKING_RUNNING);
    runtime
}

/// All workers busy, and tasks in the queue: `woken` was suspended before, `busy` is inside its poll.
fn busy_runtime() -> Runtime {
    let runtime = multi_thread(BUSY_WORKERS);
    let bell = Arc::new(Notify::new());
    for _ in 0..QUEUED {
        runtime.spawn(woken(bell.clone()));
    }
    settle(runtime.handle(), 0);
    for number in 0..BUSY_WORKERS {
        runtime.spawn(busy());
        wait_until("a worker is busy", || BUSY.load(SeqCst) == number + 1);
    }
    bell.notify_waiters();
    runtime
}

/// A task that is being dropped, by the worker that was told of the abort.
fn cancelling_runtime() -> Runtime {
    let runtime = multi_thread(1);
    let task = runtime.spawn(cancelled());
    settle(runtime.handle(), 0);
    task.abort();
    wait_until("the task is being dropped", || DROPPING.load(SeqCst));
    runtime
}

fn never_driven_runtime() -> Runtime {
    let runtime = current_thread();
    for _ in 0..NEVER_POLLED {
        runtime.spawn(never_polled());
    }
    runtime
}

/// The number of tasks in the plugin, which lies beside this program.
fn load_plugin() -> usize {
    let own = std::env::current_exe().expect("a path");
    let path =
        CString::new(own.with_file_name("libplugin.so").as_os_str().as_bytes()).expect("a path");
    type Spawn = extern "C" fn(c_ulong) -> c_ulong;
    type IsQuiet = extern "C" fn() -> c_ulong;
    let (spawn, is_quiet) = unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        assert!(!library.is_null(), "{path:?} can be loaded");
        let spawn = libc::dlsym(library, c"plugin_spawn".as_ptr());
        let is_quiet = libc::dlsym(library, c"plugin_is_quiet".as_ptr());
        assert!(!spawn.is_null() && !is_quiet.is_null());
        (
            std::mem::transmute::<*mut libc::c_void, Spawn>(spawn),
            std::mem::transmute::<*mut libc::c_void, IsQuiet>(is_quiet),
        )
    };
    let count = spawn(PLUGIN_TASKS as c_ulong) as usize;
    let mut quiet_times = 0;
    wait_until("the plugin is quiet", || {
        quiet_times = if is_quiet() == 1 { quiet_times + 1 } else { 0 };
        quiet_times == 100
    });
    count
}

fn runtime_row(name: &str, kind: &str, handle: &Handle) -> Value {
    json!({"name": name, "kind": kind, "owned": handle.metrics().num_alive_tasks()})
}

fn main() {
    let main_runtime = multi_thread(2);
    for _ in 0..MULTI_THREAD_TASKS {
        main_runtime.spawn(on_multi_thread());
    }
    let (ready, is_ready) = oneshot::channel();
    main_runtime.spawn(parent(ready));
    is_ready.blocking_recv().expect("the children are there");
    let driven = drive(drive_current_thread);
    let local = drive(drive_local_set);
    let blocking = blocking_runtime();
    let never_driven = never_driven_runtime();
    let plugin_tasks = load_plugin();
    settle(main_runtime.handle(), 0);
    settle(&driven.handle, 0);
    settle(&local.handle, 0);
    let cancelling = cancelling_runtime();
    let busy = busy_runtime();

    let runtimes = [
        runtime_row("main", "multi_thread", main_runtime.handle()),
        runtime_row("busy", "multi_thread", busy.handle()),
        runtime_row("cancelling", "multi_thread", cancelling.handle()),
        runtime_row("driven", "current_thread", &driven.handle),
        runtime_row("never_driven", "current_thread", never_driven.handle()),
        json!({"name": "local_set", "kind": "LocalSet", "owned": LOCAL_TASKS}),
        json!({"name": "plugin", "kind": "multi_thread", "owned": plugin_tasks}),
    ];
    let tasks = json!([
        ["async", "suspended", "runtimes::on_multi_thread", MULTI_THREAD_TASKS],
        ["async", "suspended", "runtimes::parent", 1],
        ["async", "suspended", "runtimes::child", CHILDREN],
        ["async", "suspended", "runtimes::on_current_thread", CURRENT_THREAD_TASKS],
        ["async", "suspended", "runtimes::on_local_set", LOCAL_TASKS],
        ["async", "never_polled", "runtimes::never_polled", NEVER_POLLED],
        ["async", "queued", "runtimes::woken", QUEUED],
        ["async", "running", "runtimes::busy", BUSY_WORKERS],
        ["async", "cancelled", "runtimes::cancelled", 1],
        ["async", "suspended", "plugin::in_plugin", PLUGIN_TASKS],
        ["root", null, "runtimes::root_of_block_on", 1],
        ["root", null, "runtimes::root_of_local_set", 1],
    ]);
    let workers = 2 + BUSY_WORKERS + 1 + 1; // main, busy, cancelling, plugin
    announce(&json!({"runtimes": runtimes, "tasks": tasks, "workers": workers,
        "blocking": {"running": BLOCKING_RUNNING, "queued": BLOCKING_QUEUED}}));
    wait_for_line();

    RELEASED.store(true, SeqCst);
    for one in [driven, local] {
        one.stop.notify_one();
        one.thread.join().expect("a driven thread ends well");
    }
    drop((main_runtime, busy, cancelling, never_driven, blocking));
    println!("runtimes: all ended");
}
