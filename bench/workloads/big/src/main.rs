// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program with as much debug information as a large server, from little source: each kind of
//! task below is compiled for 16 or 24 constants, and each constant makes types and code of its own,
//! as so many services would.
//!
//!     big [wait] [CONSTANT]...
//!
//! spawns one task of each kind for each constant given (3 and 5 if none is), waits for all and
//! prints how many bytes they passed on. With `wait` it then holds suspended tasks, says so in a
//! second line, and ends when stdin does.

mod http;
mod local;
mod network;

use std::io::Read;

use tokio::task::JoinHandle;

const NR_HELD: usize = 1000;

/// What a task tells when it ends.
pub type Outcome = Result<usize, Box<dyn std::error::Error + Send + Sync>>;

/// Spawns the task that `$kind` makes for the constant `$chosen`; all of the list are compiled.
macro_rules! spawn_chosen {
    (few $kind:path, $chosen:expr) => {
        spawn_chosen!(@each $kind, $chosen, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (many $kind:path, $chosen:expr) => {
        spawn_chosen!(@each $kind, $chosen,
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23)
    };
    (@each $kind:path, $chosen:expr, $($n:literal)*) => {{
        use $kind as kind;
        match $chosen {
            $($n => vec![tokio::spawn(kind::<$n>())],)*
            _ => Vec::new(),
        }
    }};
}

fn spawn_kinds(chosen: usize) -> Vec<JoinHandle<Outcome>> {
    [
        spawn_chosen!(many local::ticker, chosen),
        spawn_chosen!(many local::fan_out, chosen),
        spawn_chosen!(many local::pipeline, chosen),
        spawn_chosen!(many local::shared_state, chosen),
        spawn_chosen!(few local::json_store, chosen),
        spawn_chosen!(many network::line_exchange, chosen),
        spawn_chosen!(few network::framed_exchange, chosen),
        spawn_chosen!(few http::server_exchange, chosen),
        spawn_chosen!(few http::client_exchange, chosen),
        spawn_chosen!(few http::routed_exchange, chosen),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Holds tasks for others to look at.
fn wait_for_end() {
    let held: Vec<_> =
        (0..NR_HELD).map(|_| tokio::spawn(tokio::time::sleep(std::time::Duration::MAX))).collect();
    println!("{} tasks wait", held.len());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    held.iter().for_each(JoinHandle::abort);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let waits = std::env::args().nth(1).is_some_and(|argument| argument == "wait");
    let mut chosen = std::env::args()
        .skip(1 + waits as usize)
        .map(|argument| argument.parse())
        .collect::<Result<Vec<usize>, _>>()?;
    if chosen.is_empty() {
        chosen = vec![3, 5];
    }
    let tasks: Vec<_> = chosen.into_iter().flat_map(spawn_kinds).collect();
    let nr_tasks = tasks.len();
    let mut bytes = 0;
    for task in tasks {
        bytes += task.await??;
    }
    println!("{nr_tasks} tasks passed on {bytes} bytes");
    if waits {
        wait_for_end();
    }
    Ok(())
}
