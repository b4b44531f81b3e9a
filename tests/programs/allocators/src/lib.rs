// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks whose allocations are counted twice: by the tracer below the allocator, and here above it.
//!
//!     allocators-NAME [PLUGIN]
//!
//! truth, one line of JSON, written without an allocation as the last thing before `_exit`: `allocations`,
//! `allocated_bytes`, `frees`, `freed_bytes` of the whole program through its global allocator; `tasks`, a row
//! for each: tokio's `id`, `allocations` and `allocated_bytes` while it was polled or dropped, and the bytes
//! that it left behind, `live_bytes`. With PLUGIN, the path of libplugin.so, that is loaded and spawns
//! PLUGIN_TASKS tasks of its own runtime.

mod counting;
mod holding;
mod plugin;

pub use counting::Counting;
use counting::{of_task, Counted, NR_TASKS};
use parking_lot::{Condvar, Mutex};
use std::hint::black_box;
use std::io::Write;
use std::sync::Barrier;
use std::time::Duration;
use tokio::runtime::Builder;

const ROUNDS: usize = 40;

fn leave(bytes: usize) {
    if bytes > 0 {
        black_box(Vec::leak(vec![1u8; bytes]));
    }
}

/// What the allocator is asked for in every way: grown, zeroed, aligned, shrunk.
fn use_memory(number: usize, round: usize) {
    let mut grown = Vec::new();
    for value in 0..(number % 7 + 1) * 10 {
        grown.push(black_box(value));
    }
    grown.shrink_to(20);
    black_box(vec![0u8; number * 10 + round + 1]); // alloc_zeroed
    #[repr(align(256))]
    struct Aligned([u8; 256]);
    black_box(Box::new(Aligned([3; 256])).0[0]);
    black_box(vec![number as u64; 3000 * (round % 3)]);
    black_box(format!("{number} in {round}"));
}

/// Some are freed by the task that comes after, on whatever thread that runs.
async fn works(number: usize, gives: tokio::sync::mpsc::UnboundedSender<Vec<u8>>) {
    for round in 0..ROUNDS {
        use_memory(number, round);
        if round % 8 == 0 {
            let _ = gives.send(vec![1; number + 1]);
        }
        tokio::task::yield_now().await;
    }
    leave(number * 16 + 1);
}

async fn is_aborted(number: usize) {
    let kept = vec![1u8; number * 100 + 1];
    leave(number + 1);
    std::future::pending::<()>().await;
    black_box(kept);
}

async fn all() {
    let (gives, mut takes) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for number in 0..NR_TASKS - 10 {
        tasks.push(tokio::spawn(Counted::new(number, works(number, gives.clone()))));
    }
    drop(gives);
    while takes.recv().await.is_some() {}
    for task in tasks {
        task.await.expect("it ends");
    }
    for number in NR_TASKS - 10..NR_TASKS {
        let task = tokio::spawn(Counted::new(number, is_aborted(number)));
        while of_task(number).nr_polls() == 0 {
            tokio::task::yield_now().await;
        }
        task.abort();
        assert!(task.await.expect_err("it was aborted").is_cancelled());
    }
}

/// A text that needs no memory of its own but this.
struct Text {
    bytes: [u8; 64 * 1024],
    used: usize,
}

impl Write for Text {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        self.bytes[self.used..self.used + from.len()].copy_from_slice(from);
        self.used += from.len();
        Ok(from.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn say_truth() -> std::io::Result<()> {
    let mut text = Text { bytes: [0; 64 * 1024], used: 0 };
    write!(text, "{{{},\"tasks\":[", counting::all())?;
    for number in 0..NR_TASKS {
        let comma = if number > 0 { "," } else { "" };
        let left = if number < NR_TASKS - 10 { number * 16 + 1 } else { number + 1 };
        let task = of_task(number);
        write!(text, "{comma}{{\"id\":{},\"live_bytes\":{left},{}}}", task.id(), task.counts())?;
    }
    writeln!(text, "]}}")?;
    let mut rest = &text.bytes[..text.used];
    while !rest.is_empty() {
        let written = unsafe { libc::write(1, rest.as_ptr().cast(), rest.len()) };
        assert!(written > 0, "stdout takes it");
        rest = &rest[written as usize..];
    }
    Ok(())
}

/// parking_lot's table of parked threads stays for ever and is made, and made larger, by whoever parks next. tokio
/// parks in it: without this a task would leave behind 1056 bytes more, now and then.
fn park_in_more_threads_than_tokio() {
    const THREADS: usize = 8;
    let all_have_parked = Barrier::new(THREADS);
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                let nobody_wakes = Condvar::new();
                nobody_wakes.wait_for(&mut Mutex::new(()).lock(), Duration::from_millis(1));
                all_have_parked.wait();
            });
        }
    });
}

/// `usable`: the allocator's own word for how big a block is.
pub fn run(usable: holding::Usable) {
    match std::env::args().nth(1).as_deref() {
        Some("hold") => holding::run(usable),
        Some(path) => plugin::load(path),
        None => (),
    }
    park_in_more_threads_than_tokio();
    let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime starts");
    runtime.block_on(all());
    drop(runtime);
    say_truth().expect("the text has room");
    unsafe { libc::_exit(0) };
}
