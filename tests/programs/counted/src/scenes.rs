// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenes, one after the other. Each says of its tasks how they must end.

use crate::counting::{number, running, End, APART, RECORDS};
use crate::watched::{expect, expect_blocking, leave_a_block, watched};
use std::future::{pending, Future};
use std::hint::black_box;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{spawn_local, yield_now, JoinHandle, JoinSet, LocalSet};

const WORKERS: usize = 4;
pub const CROWD: usize = 50;

fn spawn<F>(runtime: &Handle, future: F, end: End, cancels: u64) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (future, name) = watched(future);
    let handle = runtime.spawn(future);
    let record = expect(handle.id(), &name, end, cancels);
    record.parent.store(running() as u64, SeqCst);
    handle
}

fn spawn_here<F>(future: F, end: End, cancels: u64) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let (future, name) = watched(future);
    let handle = spawn_local(future);
    expect(handle.id(), &name, end, cancels);
    handle
}

fn spawn_blocking<R: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> R + Send + 'static,
) -> JoinHandle<R> {
    let handle = runtime.spawn_blocking(move || {
        leave_a_block();
        work()
    });
    expect_blocking(handle.id(), End::Finished, 0);
    RECORDS[number(handle.id())].polls.store(1, SeqCst);
    handle
}

fn threads(number: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(number).enable_all().build().unwrap()
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Allocates when it is dropped.
struct Noisy(usize);

impl Drop for Noisy {
    fn drop(&mut self) {
        black_box(vec![1u8; self.0]);
    }
}

async fn steps(number: usize, bytes: usize) -> Vec<Vec<u8>> {
    let mut kept = Vec::new();
    for _ in 0..number {
        kept.push(black_box(vec![7u8; bytes]));
        yield_now().await;
    }
    kept
}

async fn waits() {
    let _noisy = Noisy(333);
    let _block = black_box(vec![1u8; 555]);
    pending::<()>().await;
}

/// Until the tasks have been polled: they tell.
async fn told<F: Future>(tell: oneshot::Sender<()>, then: F) -> F::Output {
    let _ = tell.send(());
    then.await
}

/// What the runtime's only thread was in the middle of is done: a task told from inside its poll.
async fn fence(runtime: &Handle) {
    spawn(runtime, async {}, End::Finished, 0).await.unwrap();
}

/// A task that waits, and has begun to; on a runtime of one thread.
async fn spawn_waiting(runtime: &Handle, end: End, cancels: u64) -> JoinHandle<()> {
    let (tell, told_us) = oneshot::channel();
    let handle = spawn(runtime, told(tell, waits()), end, cancels);
    told_us.await.unwrap();
    fence(runtime).await;
    handle
}

/// Finished ones, which change threads; boxed and large futures; some that nobody joins.
fn finish(runtime: &Runtime) {
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        let mut handles = Vec::new();
        for i in 0..100 {
            handles.push(spawn(&handle, steps(i % 17, 100 + i), End::Finished, 0));
        }
        for i in 0..10 {
            let boxed: std::pin::Pin<Box<dyn Future<Output = Vec<Vec<u8>>> + Send>> =
                Box::pin(steps(i, 64));
            handles.push(spawn(&handle, boxed, End::Finished, 0));
        }
        handles.push(spawn(
            &handle,
            async {
                let large = black_box([1u8; 40_000]);
                yield_now().await;
                black_box(large.len());
                Vec::new()
            },
            End::Finished,
            0,
        ));
        for handle in handles {
            handle.await.unwrap();
        }
        let (send, mut receive) = tokio::sync::mpsc::channel(10);
        for i in 0..10 {
            let send = send.clone();
            // Nobody joins it: its output is dropped by its own last poll.
            drop(spawn(
                &handle,
                async move {
                    yield_now().await;
                    send.send(()).await.unwrap();
                    Noisy(1000 + i)
                },
                End::Finished,
                0,
            ));
        }
        for _ in 0..10 {
            receive.recv().await.unwrap();
        }
    });
}

/// Two on one thread, step by step; blocks that another frees; an output that its handle drops.
fn interleave() {
    let runtime = one_thread();
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        let small = spawn(&handle, steps(20, 1000), End::Finished, 0);
        let large = spawn(&handle, steps(20, 2000), End::Finished, 0);
        small.await.unwrap();
        large.await.unwrap();
        let (send, receive) = oneshot::channel();
        let maker = spawn(
            &handle,
            async move { send.send(vec![1u8; 4321]).map_err(drop).unwrap() },
            End::Finished,
            0,
        );
        let taker = spawn(
            &handle,
            async move { black_box(receive.await.unwrap()).len() },
            End::Finished,
            0,
        );
        maker.await.unwrap();
        assert_eq!(taker.await.unwrap(), 4321);
        let block = spawn(&handle, async { vec![1u8; 1234] }, End::Finished, 0).await.unwrap();
        std::thread::spawn(move || drop(block)).join().unwrap();
        let kept = spawn(&handle, async { Noisy(99) }, End::Finished, 0);
        yield_now().await;
        yield_now().await;
        assert!(kept.is_finished());
        APART.set(true);
        drop(kept);
        APART.set(false);
    });
}

fn abort(runtime: &Runtime, on_one_thread: bool) {
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        for _ in 0..20 {
            let waiting = spawn_waiting(&handle, End::Aborted, 1).await;
            waiting.abort();
            assert!(waiting.await.unwrap_err().is_cancelled());
        }
        if on_one_thread {
            for _ in 0..5 {
                let unpolled = spawn(&handle, waits(), End::NeverPolled, 1);
                unpolled.abort();
                assert!(unpolled.await.unwrap_err().is_cancelled());
            }
        }
        for ends in [false, true] {
            let (send, receive) = oneshot::channel::<tokio::task::AbortHandle>();
            let end = if ends { End::Finished } else { End::Aborted };
            let mut set = JoinSet::new();
            let (future, name) = watched(async move {
                receive.await.unwrap().abort();
                if !ends {
                    pending::<()>().await;
                }
                black_box(vec![1u8; 77]).len()
            });
            let itself = set.spawn(future);
            expect(itself.id(), &name, end, 0);
            send.send(itself).map_err(drop).unwrap();
            assert_eq!(set.join_next().await.unwrap().is_ok(), ends);
        }
        let mut set = JoinSet::new();
        let mut waiting = Vec::new();
        for _ in 0..6 {
            let (tell, told_us) = oneshot::channel();
            let (future, name) = watched(told(tell, waits()));
            let abort = set.spawn(future);
            expect(abort.id(), &name, End::Aborted, 1);
            waiting.push(told_us);
        }
        for told_us in waiting {
            told_us.await.unwrap();
        }
        fence(&handle).await;
        drop(set);
        fence(&handle).await;
    });
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in drop");
        }
    }
}

fn catches() -> bool {
    catch_unwind(|| black_box(vec![1u8; 50]).get(50).copied().unwrap()).is_err()
}

struct CatchesInDrop;

impl Drop for CatchesInDrop {
    fn drop(&mut self) {
        assert!(catches());
    }
}

fn panics(runtime: &Runtime) {
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        let mut handles = Vec::new();
        for i in 0..6 {
            handles.push(spawn(
                &handle,
                async move {
                    let _noisy = Noisy(200 + i);
                    let _catches = (i % 3 == 0).then_some(CatchesInDrop);
                    yield_now().await;
                    if i % 2 == 0 {
                        assert!(catches());
                    }
                    panic!("{i}")
                },
                End::Panicked,
                0,
            ));
        }
        handles.push(spawn(
            &handle,
            async {
                let caught = catch_unwind(|| panic!("first")).unwrap_err();
                yield_now().await;
                resume_unwind(caught)
            },
            End::Panicked,
            0,
        ));
        for handle in handles {
            assert!(handle.await.unwrap_err().is_panic());
        }
        for _ in 0..5 {
            let caught = spawn(
                &handle,
                async {
                    yield_now().await;
                    let inner = catch_unwind(AssertUnwindSafe(|| assert!(!catches())));
                    inner.is_err()
                },
                End::Finished,
                0,
            );
            assert!(caught.await.unwrap());
        }
        let deep = spawn(
            &handle,
            async {
                // One inside the other, both the program's.
                catch_unwind(|| {
                    let _ = catch_unwind(|| panic!("inner"));
                    panic!("outer")
                })
                .is_err()
            },
            End::Finished,
            0,
        );
        assert!(deep.await.unwrap());
        let (tell, told_us) = oneshot::channel();
        let dropped = spawn(
            &handle,
            told(tell, async {
                let _panics = PanicsInDrop;
                pending::<()>().await
            }),
            End::Panicked,
            1,
        );
        told_us.await.unwrap();
        fence(&handle).await;
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_panic());
        // Its output's drop panics, after it finished: tokio swallows that.
        drop(spawn(&handle, async { PanicsInDrop }, End::Finished, 0));
        fence(&handle).await;
    });
}

async fn crowd_member() -> usize {
    black_box(vec![1u8; 12]).len()
}

/// All of them are there before the first is polled, and each ends in its first poll.
fn crowd() {
    let runtime = one_thread();
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        let spawned: Vec<_> =
            (0..CROWD).map(|_| spawn(&handle, crowd_member(), End::Finished, 0)).collect();
        for member in spawned {
            member.await.unwrap();
        }
    });
}

fn local_set() {
    let runtime = one_thread();
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let mut handles = Vec::new();
        for i in 0..10 {
            handles.push(spawn_here(steps(i, 10), End::Finished, 0));
        }
        for handle in handles {
            handle.await.unwrap();
        }
        for _ in 0..3 {
            spawn_here(waits(), End::Dropped, 0);
        }
        yield_now().await;
        yield_now().await;
    });
    let _entered = local.enter();
    spawn_here(waits(), End::NeverPolled, 0);
    drop(local);
}

fn blocking(runtime: &Runtime) {
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        let mut handles = Vec::new();
        for i in 0..20 {
            handles.push(spawn_blocking(&handle, move || black_box(vec![1u8; 300 + i]).len()));
        }
        for handle in handles {
            handle.await.unwrap();
        }
        if cfg!(not(panic = "unwind")) {
            return;
        }
        let panicking = spawn_blocking(&handle, || {
            black_box(vec![1u8; 10]);
            panic!("blocking")
        });
        expect_blocking(panicking.id(), End::Panicked, 0);
        assert!(panicking.await.unwrap_err().is_panic());
    });
}

/// Of one place only: the second one waits, the third is aborted while it waits.
fn blocking_waits() {
    let runtime =
        Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap();
    // No channel: std's has a thread-local, for whose destructor libc allocates.
    let go = Arc::new(AtomicBool::new(false));
    let wait = go.clone();
    let first = spawn_blocking(runtime.handle(), move || {
        while !wait.load(SeqCst) {
            std::thread::yield_now();
        }
    });
    let second = spawn_blocking(runtime.handle(), || drop(black_box(vec![1u8; 44])));
    let aborted = runtime.spawn_blocking(|| ());
    expect_blocking(aborted.id(), End::NeverPolled, 1);
    aborted.abort();
    go.store(true, SeqCst);
    // Its thread goes on until nothing waits.
    drop(runtime);
    assert!(first.is_finished() && second.is_finished() && aborted.is_finished());
}

/// A blocking call that runs a runtime of its own, on a thread that did so before: libc allocates for a
/// thread's destructors once, which no allocator of Rust's sees.
fn nested() {
    let runtime =
        Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let work = move |handle: Handle| {
        let before = black_box(vec![1u8; 700]);
        let inner = one_thread();
        let length = inner.block_on(async {
            spawn(inner.handle(), steps(3, 800), End::Finished, 0).await.unwrap().len()
        });
        drop(inner);
        handle.block_on(async {
            spawn(&handle, steps(2, 900), End::Finished, 0).await.unwrap();
        });
        black_box(vec![1u8; 1700]).len() + before.len() + length
    };
    runtime.block_on(async {
        let inside = handle.clone();
        let first = spawn_blocking(&handle, move || work(inside));
        RECORDS[number(first.id())].warms_up.store(true, SeqCst);
        first.await.unwrap();
        let inside = handle.clone();
        let nested = spawn_blocking(&handle, move || work(inside));
        assert_eq!(nested.await.unwrap(), 2403);
    });
}

fn shutdown() {
    let runtime = threads(1);
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        for _ in 0..10 {
            spawn_waiting(&handle, End::Dropped, 0).await;
        }
    });
    drop(runtime);
    let never_driven = one_thread();
    for _ in 0..7 {
        spawn(never_driven.handle(), waits(), End::NeverPolled, 0);
    }
    drop(never_driven);
}

/// All of them; how many workers there were.
pub fn all() -> usize {
    let runtime = threads(WORKERS);
    finish(&runtime);
    interleave();
    let one_worker = threads(1);
    abort(&one_worker, false);
    let single = one_thread();
    abort(&single, true);
    finish(&single);
    if cfg!(panic = "unwind") {
        panics(&one_worker);
        panics(&single);
    }
    crowd();
    local_set();
    blocking(&runtime);
    blocking_waits();
    nested();
    shutdown();
    drop(runtime);
    drop(one_worker);
    WORKERS + 2
}
