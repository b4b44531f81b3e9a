// SPDX-License-Identifier: MIT OR Apache-2.0
//! Suspended tasks that hold heap blocks, a cache that hangs from a global, and a thread beside them that
//! sees how long it stands still.
//!
//!     heap TASKS BLOCKS
//!
//! About two thirds of BLOCKS live blocks belong to the tasks, cells and channels included; the cache is then
//! filled until there are BLOCKS. A third of the tasks waits for a timer below three async fns, a third below a
//! Pin<Box<dyn Future>>, a third for a message of a channel whose sender is in a global. A hundred tasks share
//! an Arc. The workers make what the tasks hold, the main thread the cells and the cache, so that there are
//! several arenas; tasks that are aborted and entries that are removed leave free chunks between the others.
//!
//! When all are suspended it prints one line of JSON: tasks; blocks and bytes asked for, by its own allocator;
//! those of them made before the cache; what malloc says. Lines on stdin are answered as by workloads/tasks.
//! The end of stdin ends the program at once.

mod contents;
mod counting;
#[path = "../../tasks/src/watcher.rs"]
mod watcher;

use std::future::Future;
use std::hint::black_box;
use std::io::BufRead;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{channel, Receiver, Sender};
use tokio::task::JoinHandle;

use contents::{headers, index, items, parts, Cache, Entry, Settings, Sizes};
use counting::{live, malloc_bytes, Counting, MAX_BLOCKS};
use watcher::Watcher;

const WORKERS: usize = 2;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const GROUP_TASKS: usize = 100;
const ABORT_EVERY: usize = 17;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static BEGUN: AtomicUsize = AtomicUsize::new(0);
static CACHE: OnceLock<Mutex<Cache>> = OnceLock::new();
static SENDERS: Mutex<Vec<Sender<String>>> = Mutex::new(Vec::new());

/// How many values of each container; a value is one block, an item two.
#[derive(Clone, Copy)]
struct Amounts {
    parts: usize,
    headers: usize,
    index: usize,
    items: usize,
}

impl Amounts {
    /// Of a task with so many blocks in all.
    fn of(blocks: usize) -> Amounts {
        let values = blocks.saturating_sub(10); // the cell, the containers' own
        Amounts {
            parts: values * 34 / 100,
            headers: values * 26 / 100,
            index: values * 23 / 100, // and its nodes
            items: values * 24 / 100 / 2,
        }
    }
}

struct Job {
    number: usize,
    amounts: Amounts,
    settings: Arc<Settings>,
}

async fn query(job: &Job) -> usize {
    let mut sizes = Sizes::new(job.number * 4 + 3);
    let items = black_box(items(&mut sizes, job.amounts.items));
    BEGUN.fetch_add(1, SeqCst);
    tokio::time::sleep(DAY).await;
    items.iter().map(|item| item.weight()).sum()
}

async fn handle_request(job: &Job) -> usize {
    let mut sizes = Sizes::new(job.number * 4 + 2);
    let parts = black_box(parts(&mut sizes, job.amounts.parts));
    let index = black_box(index(&mut sizes, job.amounts.index));
    query(job).await + parts.len() + index.len()
}

async fn handle_connection(job: Job) -> usize {
    let mut sizes = Sizes::new(job.number * 4 + 1);
    let request_buf = black_box(vec![0u8; 1024]);
    let headers = black_box(headers(&mut sizes, job.amounts.headers));
    let used = handle_request(&job).await + job.settings.name.len() + job.settings.values.len();
    used + request_buf.len() + headers.len()
}

fn handler<'job>(job: &'job Job) -> Pin<Box<dyn Future<Output = usize> + Send + 'job>> {
    Box::pin(handle_request(job))
}

async fn dispatch(job: Job) -> usize {
    let mut sizes = Sizes::new(job.number * 4);
    let headers = black_box(headers(&mut sizes, job.amounts.headers));
    handler(&job).await + headers.len() + job.settings.name.len()
}

async fn subscriber(job: Job, mut messages: Receiver<String>) -> usize {
    let mut sizes = Sizes::new(job.number * 4);
    let mut seen = black_box(items(&mut sizes, job.amounts.items));
    let index = black_box(index(&mut sizes, job.amounts.index + job.amounts.headers));
    let parts = black_box(parts(&mut sizes, job.amounts.parts));
    BEGUN.fetch_add(1, SeqCst);
    while let Some(message) = messages.recv().await {
        seen.pop_front();
        black_box(message);
    }
    seen.len() + index.len() + parts.len() + job.settings.name.len()
}

fn spawn(runtime: &Runtime, job: Job) -> JoinHandle<usize> {
    match job.number % 3 {
        0 => runtime.spawn(handle_connection(job)),
        1 => runtime.spawn(dispatch(job)),
        _ => {
            let (sender, messages) = channel(4);
            SENDERS.lock().unwrap().push(sender);
            runtime.spawn(subscriber(job, messages))
        }
    }
}

/// More than those that are left in the end.
fn spawn_all(runtime: &Runtime, nr_tasks: usize, nr_blocks: usize) -> Vec<JoinHandle<usize>> {
    let amounts = Amounts::of(nr_blocks * 2 / 3 / nr_tasks.max(1));
    let mut settings = Arc::new(Settings::new(0));
    (0..nr_tasks + nr_tasks / (ABORT_EVERY - 1))
        .map(|number| {
            if number % GROUP_TASKS == 0 {
                settings = Arc::new(Settings::new(number));
            }
            spawn(runtime, Job { number, amounts, settings: settings.clone() })
        })
        .collect()
}

fn wait_for_all(tasks: &[JoinHandle<usize>]) {
    while BEGUN.load(SeqCst) < tasks.len() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50)); // the last one gets to its await
}

fn abort_some(runtime: &Runtime, tasks: Vec<JoinHandle<usize>>) -> Vec<JoinHandle<usize>> {
    let mut left = Vec::new();
    for (number, task) in tasks.into_iter().enumerate() {
        if number % ABORT_EVERY == ABORT_EVERY - 1 {
            task.abort();
            assert!(runtime.block_on(task).is_err());
        } else {
            left.push(task);
        }
    }
    left
}

/// Until there are so many blocks in all: first some more, of which every eighth entry is removed again.
fn fill_cache(nr_blocks: usize) {
    let mut cache = CACHE.get_or_init(Default::default).lock().unwrap();
    let mut sizes = Sizes::new(usize::MAX);
    let missing = nr_blocks.saturating_sub(live().blocks);
    let mut key = 0;
    while live().blocks < nr_blocks + missing / 8 {
        cache.entries.insert(key, Entry::new(&mut sizes));
        key += 1;
    }
    cache.entries.retain(|key, _| key % 8 != 7 || live().blocks <= nr_blocks);
    for last in (0..key).rev() {
        if live().blocks <= nr_blocks {
            break;
        }
        cache.entries.remove(&last);
    }
    while live().blocks < nr_blocks {
        cache.recent.push(sizes.boxed());
    }
    let weight = |entry: &Entry| entry.name.len() + entry.body.len() + entry.tags.len();
    black_box(cache.entries.values().map(weight).sum::<usize>());
}

fn argument(at: usize, name: &str) -> usize {
    std::env::args().nth(at).expect(name).parse().expect("a number")
}

fn main() {
    let (nr_tasks, nr_blocks) = (argument(1, "TASKS"), argument(2, "BLOCKS"));
    assert!(nr_blocks <= MAX_BLOCKS, "at most {MAX_BLOCKS} blocks");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_time()
        .build()
        .expect("a runtime");
    let tasks = spawn_all(&runtime, nr_tasks, nr_blocks);
    wait_for_all(&tasks);
    let tasks = abort_some(&runtime, tasks);
    std::thread::sleep(Duration::from_millis(50)); // the workers get to sleep
    let of_tasks = live();
    let watcher = Watcher::start();
    watcher.rest();
    fill_cache(nr_blocks);
    let all = live();
    println!(
        "{{\"tasks\":{},\"blocks\":{},\"bytes\":{},\"task_blocks\":{},\"task_bytes\":{},\"malloc_bytes\":{}}}",
        tasks.len(),
        all.blocks,
        all.bytes,
        of_tasks.blocks,
        of_tasks.bytes,
        malloc_bytes()
    );
    for line in std::io::stdin().lock().lines() {
        let rests = line.is_ok_and(|line| line == "rest");
        println!("{}", if rests { watcher.rest() } else { watcher.take() });
    }
    std::process::exit(0);
}
