// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks that come and go, and a count of those that are still there.
//!
//! truth: printed as one line of JSON when nothing moves any more. `suspended`, `finished_unread` (a
//! JoinHandle keeps the output), `finished_pinned` (a waker or an AbortHandle keeps the cell), `running`
//! (inside a poll), their sum `total`, and the same cells `by_future`. Every task was spawned here, so
//! there are no others, whatever the memory looks like: see `junk`.
//!
//!     churn [TASKS] [none|numbers|copies]      300 000 tasks, `copies` by default
//!
//! A line on stdin wakes and joins what is left; the program checks that and ends with 0.

mod junk;
mod work;

use junk::Junk;
use serde_json::json;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use subject::{announce, settle, wait_for_line, wait_until};
use tokio::runtime::{Builder, Handle};
use tokio::task::{AbortHandle, JoinHandle};
use work::{Ending, Random, Seat, SIZES};

const WORKERS: usize = 4;
const WAVE: usize = 3000;

/// What keeps an ended task's cell.
enum Pin {
    Waker(Waker),
    Abort(AbortHandle),
}

/// The tasks that are still there, with what keeps them there. Each has the number of its size class.
#[derive(Default)]
struct Kept {
    suspended: Vec<(usize, Arc<Seat>, Option<JoinHandle<usize>>)>,
    unread: Vec<(usize, JoinHandle<usize>)>,
    pinned: Vec<(usize, Pin)>,
}

static JOINED: AtomicUsize = AtomicUsize::new(0);
static RELEASED: AtomicBool = AtomicBool::new(false);
static SPINNING: AtomicUsize = AtomicUsize::new(0);

/// Stays inside its poll until released, without turning the processor hot.
async fn spinner() -> usize {
    SPINNING.fetch_add(1, SeqCst);
    while !RELEASED.load(SeqCst) {
        std::thread::sleep(Duration::from_micros(500));
    }
    black_box(1)
}

/// Waits for a task whose JoinHandle is gone: nobody but its seat tells.
fn wait_ended(seats: &[Arc<Seat>]) {
    wait_until("detached tasks end", || seats.iter().all(|seat| Arc::strong_count(seat) == 1));
}

async fn join(tasks: Vec<(usize, JoinHandle<usize>)>) {
    for (size, task) in tasks {
        match task.await {
            Ok(number) => assert_eq!(number, size, "a task gives its own number back"),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
        JOINED.fetch_add(1, SeqCst);
    }
}

/// One wave: spawns, lets the tasks reach their places, ends those that are to end.
fn wave(runtime: &Handle, random: &mut Random, junk: &mut Junk, kept: &mut Kept) {
    let (mut joined, mut aborted, mut gone, mut pinned) = (vec![], vec![], vec![], vec![]);
    let mut arriving = vec![];
    for _ in 0..WAVE {
        let size = random.below(SIZES.len());
        let fate = random.below(1000);
        let ending = match fate {
            0..900 => [Ending::AtOnce, Ending::AfterYield][fate % 2],
            900..990 => Ending::Never,
            _ => [Ending::Notified, Ending::Sent, Ending::Sleeps, Ending::Never][fate % 4],
        };
        let keeps_waker = (880..890).contains(&fate);
        let copied = random.below(200) == 0;
        let (seat, task) = work::spawn(runtime, size, ending, keeps_waker, copied);
        match fate {
            0..700 => joined.push((size, task)),
            700..860 => gone.push(seat),
            860..880 => kept.unread.push((size, task)),
            880..890 => pinned.push((size, seat)),
            890..900 => {
                kept.pinned.push((size, Pin::Abort(task.abort_handle())));
                gone.push(seat);
            }
            900..990 => {
                arriving.push(seat.clone());
                aborted.push((fate, size, task, seat));
            }
            990.. => {
                arriving.push(seat.clone());
                let task = (fate != 996).then_some(task);
                kept.suspended.push((size, seat, task));
            }
        }
    }
    runtime.block_on(join(joined));
    wait_ended(&gone);
    wait_until("tasks arrive", || arriving.iter().all(|seat| seat.has_arrived()));
    drop(arriving);
    for (size, seat) in pinned {
        wait_until("pinned tasks end", || Arc::strong_count(&seat) == 1);
        kept.pinned.push((size, Pin::Waker(seat.take_waker())));
    }
    let mut ended = vec![];
    aborted.iter().for_each(|(_, _, task, _)| task.abort());
    for (fate, size, task, seat) in aborted {
        match fate {
            900..910 => kept.unread.push((size, task)), // its output is JoinError::Cancelled
            910..950 => ended.push((size, task)),
            _ => drop(task),
        }
        gone.push(seat);
    }
    runtime.block_on(join(ended));
    wait_ended(&gone);
    junk.copy_freed(&gone.iter().map(|seat| seat.cell()).collect::<Vec<_>>());
    let waiting = kept.suspended.iter().map(|(_, seat, _)| seat.cell());
    junk.copy_some(random, &waiting.collect::<Vec<_>>());
}

/// Ends a tenth of what is kept, so that the memory of the rest has holes.
fn thin_out(runtime: &Handle, random: &mut Random, kept: &mut Kept) {
    for _ in 0..kept.suspended.len() / 10 {
        let (size, seat, task) = kept.suspended.swap_remove(random.below(kept.suspended.len()));
        end_suspended(runtime, size, seat, task);
    }
    for _ in 0..kept.unread.len() / 10 {
        let task = kept.unread.swap_remove(random.below(kept.unread.len()));
        runtime.block_on(join(vec![task]));
    }
    for _ in 0..kept.pinned.len() / 10 {
        drop_pin(kept.pinned.swap_remove(random.below(kept.pinned.len())).1);
    }
}

fn drop_pin(pin: Pin) {
    match pin {
        Pin::Waker(waker) => waker.wake(),
        Pin::Abort(handle) => handle.abort(),
    }
}

fn end_suspended(runtime: &Handle, size: usize, seat: Arc<Seat>, task: Option<JoinHandle<usize>>) {
    seat.release();
    match task {
        Some(task) => {
            if seat.sleeps() {
                task.abort();
            }
            runtime.block_on(join(vec![(size, task)]));
        }
        None => {
            assert!(!seat.sleeps(), "what sleeps has a JoinHandle");
            JOINED.fetch_add(1, SeqCst);
        }
    }
    wait_until("a suspended task ends", || Arc::strong_count(&seat) == 1);
}

fn truth(kept: &Kept, junk: &Junk, runtime: &Handle) -> serde_json::Value {
    let mut by_future = BTreeMap::<&str, usize>::new();
    let sizes = kept.suspended.iter().map(|(size, ..)| *size);
    let sizes = sizes.chain(kept.unread.iter().map(|(size, _)| *size));
    for size in sizes.chain(kept.pinned.iter().map(|(size, _)| *size)) {
        *by_future.entry(SIZES[size]).or_default() += 1;
    }
    let (suspended, running) = (kept.suspended.len(), SPINNING.load(SeqCst));
    let (unread, pinned) = (kept.unread.len(), kept.pinned.len());
    by_future.insert("churn::spinner", running);
    assert_eq!(runtime.metrics().num_alive_tasks(), suspended + running, "tokio counts the same");
    json!({"suspended": suspended, "finished": unread + pinned, "finished_unread": unread,
        "finished_pinned": pinned, "running": running, "total": suspended + unread + pinned + running,
        "by_future": by_future, "alive": suspended + running, "workers": WORKERS, "junk": junk.count()})
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tasks: usize = arguments.first().map_or(300_000, |text| text.parse().expect("a number"));
    let mut junk = Junk::new(arguments.get(1).map_or("copies", String::as_str));
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let handle = runtime.handle().clone();
    let (mut random, mut kept) = (Random::default(), Kept::default());
    for number in 0..tasks.div_ceil(WAVE) {
        wave(&handle, &mut random, &mut junk, &mut kept);
        if number % 4 == 3 {
            thin_out(&handle, &mut random, &mut kept);
        }
    }
    settle(&handle, 0);
    let finished: Vec<usize> = kept.unread.iter().map(|(_, task)| junk::cell_of(task)).collect();
    junk.copy_some(&mut random, &finished);

    // One after the other: a worker that spins gives nothing of its own queue away.
    let mut spinners = vec![];
    for number in 0..WORKERS - 1 {
        spinners.push((1, handle.spawn(spinner())));
        wait_until("a spinner is inside its poll", || SPINNING.load(SeqCst) == number + 1);
        settle(&handle, number + 1);
    }
    let on_the_stack =
        junk.on_the_stack(kept.suspended.first().map_or(0, |(_, seat, _)| seat.cell()));
    announce(&truth(&kept, &junk, &handle));
    wait_for_line();
    black_box(&on_the_stack);

    RELEASED.store(true, SeqCst);
    JOINED.store(0, SeqCst);
    let expected = kept.suspended.len() + kept.unread.len() + spinners.len();
    for (size, seat, task) in kept.suspended {
        end_suspended(&handle, size, seat, task);
    }
    runtime.block_on(join(kept.unread));
    runtime.block_on(join(spinners));
    kept.pinned.into_iter().for_each(|(_, pin)| drop_pin(pin));
    assert_eq!(JOINED.load(SeqCst), expected, "every task ended");
    wait_until("no task is left", || handle.metrics().num_alive_tasks() == 0);
    println!("churn: all ended");
}
