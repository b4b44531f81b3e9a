// SPDX-License-Identifier: MIT OR Apache-2.0
//! Panics through frames with drops that allocate, caught; collections, formatting, threads.
use std::collections::{BTreeMap, HashMap};
use std::panic;

struct Noisy(String);

impl Drop for Noisy {
    fn drop(&mut self) {
        let other = format!("{} dropped{}", self.0, if std::thread::panicking() { " in a panic" } else { "" });
        assert!(!other.is_empty());
    }
}

fn fall(depth: u32) -> usize {
    let here = Noisy("n".repeat(depth as usize + 20));
    if depth == 0 {
        panic!("at the bottom, {}", here.0);
    }
    let inner: Box<dyn Fn() -> usize> = if depth % 5 == 0 {
        Box::new(move || panic::catch_unwind(move || fall(depth - 1)).unwrap_or(1))
    } else {
        Box::new(move || fall(depth - 1))
    };
    inner() + here.0.len()
}

fn tree(seed: &mut u32, depth: u32) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for i in 0..6 {
        *seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
        let names: Vec<String> = (0..*seed >> 29).map(|j| format!("{i}.{j}.{seed}")).collect();
        rows.insert(format!("key {seed:08x}"), names);
        if depth > 0 && *seed & 0x80000 != 0 {
            rows.append(&mut tree(seed, depth - 1));
        }
    }
    rows
}

fn work(rounds: u32) -> usize {
    let (mut seed, mut sum) = (1, 0);
    let mut table: HashMap<u64, Box<[u8]>> = HashMap::new();
    for i in 0..rounds {
        table.insert(u64::from(i * 31 % 977), vec![1; (i % 60) as usize].into_boxed_slice());
        sum += tree(&mut seed, 4).len();
        if i % 4 == 0 {
            sum += panic::catch_unwind(|| fall(i % 30)).unwrap_or(3);
        }
    }
    sum + table.len()
}

fn main() {
    panic::set_hook(Box::new(|info| assert!(!info.to_string().is_empty())));
    let rounds = std::env::args().nth(1).map_or(10, |n| n.parse().unwrap());
    let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(move || work(rounds))).collect();
    let sums: Vec<usize> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(sums.iter().all(|&sum| sum == sums[0]));
    println!("{}", work(rounds) == sums[0]);
}
