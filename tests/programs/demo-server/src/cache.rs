// SPDX-License-Identifier: MIT OR Apache-2.0
//! The notes, by name, shared by all connections.

use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::RwLock;

struct Note {
    text: Bytes,
    kept_at: Instant,
}

#[derive(Clone, Default)]
pub struct Cache {
    notes: Arc<RwLock<HashMap<String, Note>>>,
}

impl Cache {
    pub async fn put(&self, name: &str, text: Bytes) {
        let note = Note { text, kept_at: Instant::now() };
        self.notes.write().await.insert(name.to_owned(), note);
    }

    pub async fn get(&self, name: &str) -> Option<Bytes> {
        self.notes.read().await.get(name).map(|note| note.text.clone())
    }

    pub async fn len(&self) -> usize {
        self.notes.read().await.len()
    }
}

/// Throws out notes older than `lifetime`, for ever.
pub async fn sweep(cache: Cache, lifetime: Duration) {
    let mut rounds = tokio::time::interval(Duration::from_secs(5));
    loop {
        rounds.tick().await;
        cache.notes.write().await.retain(|_, note| note.kept_at.elapsed() < lifetime);
    }
}
