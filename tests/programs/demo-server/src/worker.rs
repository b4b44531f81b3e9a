// SPDX-License-Identifier: MIT OR Apache-2.0
//! The background worker: counts the words of every note that was kept.

use bytes::Bytes;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, Mutex};

pub struct Job {
    pub name: String,
    pub text: Bytes,
}

#[derive(Default)]
struct Index {
    words: HashMap<String, u64>,
    notes: u64,
    last: String,
}

#[derive(Default)]
pub struct Statistics {
    index: Mutex<Index>,
}

#[derive(Serialize)]
pub struct Counts {
    notes_in_cache: usize,
    notes_indexed: u64,
    different_words: usize,
    last_note: String,
    up_seconds: u64,
}

impl Statistics {
    pub async fn read(&self, notes_in_cache: usize, up: Duration) -> Counts {
        let index = self.index.lock().await;
        Counts {
            notes_in_cache,
            notes_indexed: index.notes,
            different_words: index.words.len(),
            last_note: index.last.clone(),
            up_seconds: up.as_secs(),
        }
    }
}

/// Takes jobs until the last sender is gone.
pub async fn index_notes(mut queue: mpsc::Receiver<Job>, statistics: Arc<Statistics>) {
    while let Some(job) = queue.recv().await {
        let text = String::from_utf8_lossy(&job.text).into_owned();
        let mut index = statistics.index.lock().await;
        for word in text.split_whitespace() {
            *index.words.entry(word.to_lowercase()).or_insert(0) += 1;
        }
        index.notes += 1;
        index.last = job.name;
    }
}
