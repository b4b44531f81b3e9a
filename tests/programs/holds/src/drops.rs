// SPDX-License-Identifier: MIT OR Apache-2.0
//! Types whose own Drop does more than to free: allocates, locks, gives memory away, talks.

use crate::values::text;
use crate::{special_values, values, Places};
use ledger::Cases;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, LazyLock, Mutex, RwLock};
use std::time::Instant;
use tokio::runtime::Handle;

static POOL: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static NAMES: LazyLock<RwLock<HashMap<usize, String>>> = LazyLock::new(RwLock::default);
static NEXT: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_FIRST: Cell<bool> = const { Cell::new(false) };
    static COUNT: RefCell<usize> = const { RefCell::new(0) };
    static LOG: RefCell<Vec<usize>> = RefCell::new(Vec::with_capacity(8));
}

struct Counts(Vec<u8>);

impl Drop for Counts {
    fn drop(&mut self) {
        DROPPED.fetch_add(self.0.len(), SeqCst);
    }
}

struct Allocates(Vec<u8>);

impl Drop for Allocates {
    fn drop(&mut self) {
        let words: Vec<String> = self.0.iter().map(|byte| format!("{byte:>50}")).collect();
        black_box(words.concat());
    }
}

/// Gives its buffer to a pool: its end does not free it.
#[allow(dead_code)]
struct Returns(Vec<u8>, String);

impl Drop for Returns {
    fn drop(&mut self) {
        POOL.lock().expect("nobody panics").push(std::mem::take(&mut self.0));
    }
}

struct Unregisters(usize, String);

impl Unregisters {
    fn new() -> Self {
        let number = NEXT.fetch_add(1, SeqCst);
        NAMES.write().expect("nobody panics").insert(number, text(80));
        Self(number, text(81))
    }
}

impl Drop for Unregisters {
    fn drop(&mut self) {
        drop(NAMES.write().expect("nobody panics").remove(&self.0));
        black_box(&self.1);
    }
}

struct TouchesThread(String);

impl Drop for TouchesThread {
    fn drop(&mut self) {
        COUNT.with_borrow_mut(|count| *count += self.0.len());
    }
}

struct LogsInThread(String);

impl Drop for LogsInThread {
    fn drop(&mut self) {
        LOG.with_borrow_mut(|log| {
            if log.len() < 8 {
                log.push(self.0.len());
            }
        });
    }
}

struct TakesTime(Instant, Vec<u8>);

impl Drop for TakesTime {
    fn drop(&mut self) {
        black_box(self.0.elapsed());
        self.1.clear();
    }
}

struct Tells(mpsc::Sender<usize>, String);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send(self.1.len());
    }
}

struct Panicky(Option<String>);

impl Drop for Panicky {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.0.is_some(), "it has its text");
    }
}

/// A span, as tracing has them: a count behind an Arc and a name.
struct Span(Arc<Mutex<HashMap<u64, String>>>, u64);

impl Drop for Span {
    fn drop(&mut self) {
        drop(self.0.lock().expect("nobody panics").remove(&self.1));
    }
}

fn spans() -> Vec<Span> {
    let names = Arc::new(Mutex::new(HashMap::new()));
    let new = |number| {
        names.lock().expect("nobody panics").insert(number, text(20));
        Span(names.clone(), number)
    };
    (0..6).map(new).collect()
}

/// Cleans up in a task of its own, where a runtime is entered.
struct StartsTask(Option<Vec<u8>>);

impl Drop for StartsTask {
    fn drop(&mut self) {
        let buffer = self.0.take();
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(async move {
                std::future::pending::<()>().await;
                drop(buffer);
            }));
        }
    }
}

/// The first thread keeps it.
struct AsksThread(Vec<u8>);

impl Drop for AsksThread {
    fn drop(&mut self) {
        if IS_FIRST.get() {
            std::mem::forget(std::mem::take(&mut self.0));
        }
    }
}

/// Keeps it where there is nothing to remove: what asyncmem cannot know.
struct Removes(Vec<u8>, [String; 2]);

impl Drop for Removes {
    fn drop(&mut self) {
        if std::fs::remove_file("/nonexistent/file").is_err() {
            std::mem::forget(std::mem::take(&mut self.0));
        }
        black_box(&self.1);
    }
}

/// Locked by nobody, but not for the first time.
fn warmed_up<T>(made: fn() -> T) -> T {
    drop(made());
    made()
}

pub fn start(cases: &mut Cases, places: &Places) {
    // What is given away is not to move what is there: that would be freed too.
    POOL.lock().expect("nobody panics").reserve(64);
    IS_FIRST.set(true);
    values!(cases, places.many;
        drop_counts: Counts(vec![1; 210]), drop_allocates: Allocates(vec![1; 22]),
        drop_touches_thread: TouchesThread(text(240)), drop_takes_time: TakesTime(Instant::now(), vec![1; 260]),
        drop_tells: { let (sender, receiver) = mpsc::channel(); (Tells(sender, text(270)), receiver) },
        drop_tells_nobody: Tells(mpsc::channel().0, text(280)), drop_panicky: Panicky(Some(text(290))), drop_spans: spans(),
        drop_in_map: (0..20).map(|number| (number, Counts(vec![1; number]))).collect::<HashMap<_, _>>(),
    );
    special_values!(cases, places.many;
        drop_returns: Returns(vec![1; 2300], text(40)), drop_unregisters: Unregisters::new(),
        drop_logs_in_thread: warmed_up(|| LogsInThread(text(250))), drop_starts_task: StartsTask(Some(vec![1; 2400])),
        drop_asks_thread: AsksThread(vec![1; 2500]),
        drop_removes: Removes(vec![1; 2700], [text(27), text(28)]),
    );
    special_values!(cases, places.one; drop_starts_task_of_one: StartsTask(Some(vec![1; 2400])));
}
