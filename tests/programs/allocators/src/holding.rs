// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks that stay and say of each variable what it holds, who made that and where.
//!
//!     allocators-NAME hold
//!
//! truth, one line of JSON: `variables`, a row for each: the `task` (tokio's id), the variable's `name`, `blocks`,
//! bytes that were `requested`, bytes that are `usable` as the allocator says; and in `origins` for each line that
//! allocated: `line` of this file, `by` (tokio's id of the task), `blocks`, `requested`. A line on stdin ends it.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

/// As the allocator says of a block.
pub type Usable = unsafe extern "C" fn(*const u8) -> usize;

static ROWS: Mutex<String> = Mutex::new(String::new());
static USABLE: Mutex<Option<Usable>> = Mutex::new(None);
static RESTING: AtomicUsize = AtomicUsize::new(0);

const NR_TASKS: usize = 20;

/// One line that allocated.
struct Origin {
    line: u32,
    by: u64,
    blocks: usize,
    requested: usize,
}

fn own_id() -> u64 {
    tokio::task::id().to_string().parse().expect("a number")
}

fn usable(block: *const u8) -> usize {
    let usable = USABLE.lock().expect("nobody panics").expect("it is set");
    unsafe { usable(block) }
}

fn say(name: &str, usable: usize, origins: &[Origin]) {
    let shown: Vec<String> = origins
        .iter()
        .map(|one| {
            let Origin { line, by, blocks, requested } = one;
            format!("{{\"line\":{line},\"by\":{by},\"blocks\":{blocks},\"requested\":{requested}}}")
        })
        .collect();
    let blocks: usize = origins.iter().map(|one| one.blocks).sum();
    let requested: usize = origins.iter().map(|one| one.requested).sum();
    let mut rows = ROWS.lock().expect("nobody panics");
    let comma = if rows.is_empty() { "" } else { "," };
    rows.push_str(&format!(
        "{comma}{{\"task\":{},\"name\":\"{name}\",\"blocks\":{blocks},\"requested\":{requested},\
         \"usable\":{usable},\"origins\":[{}]}}",
        own_id(),
        shown.join(",")
    ));
}

/// A vector whose bytes were allocated in one piece, and where.
#[inline(never)]
fn piece(bytes: usize) -> (Vec<u8>, Origin) {
    let made = Vec::with_capacity(bytes); let line = line!();
    (made, Origin { line, by: own_id(), blocks: 1, requested: bytes })
}

fn of_vec<T>(vec: &Vec<T>) -> usize {
    usable(vec.as_ptr().cast())
}

type Gift = (Vec<u8>, Origin);

async fn serves(number: usize, mut gifts: mpsc::Receiver<Gift>) {
    let (request, origin) = piece(number * 100 + 1);
    say("request", of_vec(&request), &[origin]);

    let mut names: Vec<String> = Vec::with_capacity(number + 1); let outer = line!();
    let mut all = of_vec(&names);
    for at in 0..=number {
        names.push(String::with_capacity(at * 7 + 1)); // the next line less one
        all += usable(names[at].as_ptr());
    }
    let inner = outer + 3;
    let requested = (0..=number).map(|at| at * 7 + 1).sum();
    say("names", all, &[
        Origin { line: outer, by: own_id(), blocks: 1, requested: (number + 1) * size_of::<String>() },
        Origin { line: inner, by: own_id(), blocks: number + 1, requested },
    ]);

    let (given, origin) = gifts.recv().await.expect("a gift");
    say("given", of_vec(&given), &[origin]);

    let (left, origin) = tokio::spawn(async move { piece(number * 30 + 17) }).await.expect("it ends");
    say("left", of_vec(&left), &[origin]);

    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let page = Box::new(Page([1; 4096])); let line = line!();
    say("page", usable(page.0.as_ptr()), &[Origin { line, by: own_id(), blocks: 1, requested: 4096 }]);

    let big = vec![1u8; 300_000 + number]; let line = line!();
    let origin = Origin { line, by: own_id(), blocks: 1, requested: 300_000 + number };
    say("big", of_vec(&big), &[origin]);

    RESTING.fetch_add(1, SeqCst);
    std::future::pending::<()>().await;
    drop((request, names, given, left, page, big));
}

/// Gives each task something, and stays.
async fn gives(takers: Vec<mpsc::Sender<Gift>>) {
    for (number, taker) in takers.iter().enumerate() {
        let gift = piece(number * 50 + 9);
        taker.send(gift).await.expect("it takes");
    }
    RESTING.fetch_add(1, SeqCst);
    std::future::pending::<()>().await;
    drop(takers);
}

pub fn run(of_allocator: Usable) {
    *USABLE.lock().expect("nobody panics") = Some(of_allocator);
    let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime starts");
    let mut takers = Vec::new();
    for number in 0..NR_TASKS {
        let (sender, receiver) = mpsc::channel(1);
        takers.push(sender);
        runtime.spawn(serves(number, receiver));
    }
    runtime.spawn(gives(takers));
    while RESTING.load(SeqCst) < NR_TASKS + 1 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    println!("{{\"variables\":[{}]}}", ROWS.lock().expect("nobody panics"));
    std::io::stdout().flush().expect("stdout takes a line");
    std::io::stdin().read_line(&mut String::new()).expect("stdin gives a line");
    std::process::exit(0);
}
