// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loops over what allocates in Rust: `allocs MODE ROUNDS`. Prints a sum that depends on all of it.
//!
//!     btree   a BTreeMap<String, Vec<String>> is built and dropped: about 2 200 allocations a round
//!     json    a tree of values is made, written as text, cloned and dropped: about 7 000; each round another tree
//!     document   the same tree each round: about 2 900
//!     hash    a HashMap<u64, Box<[u8; 32]>> is built and dropped: about 500
//!     polls   one task is polled so often, on a runtime of one thread, and allocates nothing; before, it says its
//!             process id and waits for a line; a signal that is ignored marks the first poll and the end of the last
//!     spawns  so many tasks are spawned and joined, each with a buffer of its own

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use tokio::runtime::Builder;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn text(&mut self) -> String {
        let length = 4 + (self.next() % 20) as usize;
        (0..length).map(|_| (b'a' + (self.next() % 26) as u8) as char).collect()
    }
}

fn btree(random: &mut Random) -> u64 {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..300 {
        let values = (0..1 + random.next() % 5).map(|_| random.text()).collect();
        map.insert(random.text(), values);
    }
    black_box(&map).values().map(|values| values.len() as u64).sum()
}

#[derive(Clone)]
enum Value {
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

impl Value {
    fn random(random: &mut Random, depth: u32) -> Value {
        match random.next() % 4 {
            0 if depth > 2 => Value::Number(random.next() as f64),
            1 if depth > 2 => Value::Text(random.text()),
            2 => {
                let length = 2 + random.next() % 4;
                Value::List((0..length).map(|_| Value::child(random, depth)).collect())
            }
            _ => {
                let length = 2 + random.next() % 4;
                let one = |_| (random.text(), Value::child(random, depth));
                Value::Object((0..length).map(one).collect())
            }
        }
    }

    fn child(random: &mut Random, depth: u32) -> Value {
        if depth > 5 {
            return Value::Text(random.text());
        }
        Value::random(random, depth + 1)
    }

    fn write(&self, out: &mut String) {
        match self {
            Value::Number(number) => out.push_str(&number.to_string()),
            Value::Text(text) => out.push_str(&format!("\"{text}\"")),
            Value::List(values) => {
                out.push('[');
                for value in values {
                    value.write(out);
                    out.push(',');
                }
                out.push(']');
            }
            Value::Object(values) => {
                out.push('{');
                for (name, value) in values {
                    out.push_str(&format!("\"{name}\":"));
                    value.write(out);
                    out.push(',');
                }
                out.push('}');
            }
        }
    }
}

fn json(random: &mut Random) -> u64 {
    let tree = Value::random(random, 0);
    let copy = tree.clone();
    let (mut text, mut other) = (String::new(), String::new());
    tree.write(&mut text);
    drop(tree);
    copy.write(&mut other);
    assert_eq!(text, other);
    text.len() as u64
}

fn hash(random: &mut Random) -> u64 {
    let mut map = HashMap::new();
    for number in 0..500 {
        map.insert(random.next(), Box::new([number as u8; 32]));
    }
    black_box(&map).len() as u64
}

/// For who steps through this process: from the first of these to the second is what counts.
fn mark() {
    extern "C" {
        fn raise(signal: i32) -> i32;
    }
    const SIGURG: i32 = 23; // ignored unless somebody handles it
    unsafe { raise(SIGURG) };
}

const WARM_POLLS: u64 = 100;

async fn polled(times: u64) -> u64 {
    let mut left = times + WARM_POLLS;
    std::future::poll_fn(|context| {
        if left == times || left == 0 {
            mark();
        }
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
    times
}

async fn spawned(number: u64) -> u64 {
    let buffer = black_box(vec![1u8; 100 + (number % 100) as usize]);
    tokio::task::yield_now().await;
    buffer.len() as u64
}

fn polls(times: u64) -> u64 {
    println!("{}", std::process::id());
    std::io::stdin().read_line(&mut String::new()).expect("a line");
    let runtime = Builder::new_current_thread().build().expect("a runtime starts");
    runtime.block_on(async { tokio::spawn(polled(times)).await.expect("it ends") })
}

fn spawns(times: u64) -> u64 {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime starts");
    runtime.block_on(async {
        let mut sum = 0;
        for first in (0..times).step_by(100) {
            let tasks: Vec<_> = (first..first + 100).map(|n| tokio::spawn(spawned(n))).collect();
            for task in tasks {
                sum += task.await.expect("it ends");
            }
        }
        sum
    })
}

fn repeat(rounds: u64, one: fn(&mut Random) -> u64) -> u64 {
    let mut random = Random(88172645463325252);
    (0..rounds).fold(0, |sum, _| sum.wrapping_mul(31).wrapping_add(one(&mut random)))
}

fn main() {
    let mut words = std::env::args().skip(1);
    let (mode, rounds) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let rounds: u64 = rounds.parse().expect("allocs MODE ROUNDS");
    let sum = match mode.as_str() {
        "btree" => repeat(rounds, btree),
        "json" => repeat(rounds, json),
        "document" => repeat(rounds, |_| json(&mut Random(7))),
        "hash" => {
            // Random keys of HashMap differ in each process, but not how many there are.
            repeat(rounds, hash)
        }
        "polls" => polls(rounds),
        "spawns" => spawns(rounds),
        _ => panic!("no mode {mode}"),
    };
    println!("{mode} {sum}");
}
