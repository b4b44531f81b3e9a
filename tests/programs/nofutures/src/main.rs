// SPDX-License-Identifier: MIT OR Apache-2.0
//! A plain program: threads, channels and collections, but not one future. `asyncmem types` must say
//! so politely and list nothing.

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;

fn count_words(text: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word.to_owned()).or_insert(0) += 1;
    }
    counts
}

fn main() {
    let (sender, receiver) = mpsc::channel();
    let worker = thread::spawn(move || {
        let text = "the quick brown fox jumps over the lazy dog";
        sender.send(count_words(text)).expect("main still listens");
    });
    let counts = receiver.recv().expect("the worker sends once");
    worker.join().expect("the worker does not panic");
    let mut words: Vec<_> = counts.into_iter().collect();
    words.sort();
    for (word, count) in words {
        println!("{count} {word}");
    }
}
