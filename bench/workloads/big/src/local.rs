// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks that talk to other tasks only: channels, timers, locks, streams, JSON.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot, watch, Mutex, RwLock, Semaphore};
use tokio::task::JoinSet;

use crate::Outcome;

/// A message that is another type for each constant.
#[derive(Clone, Debug)]
pub struct Message<const N: usize> {
    pub text: String,
    pub bytes: [u8; N],
}

pub fn message<const N: usize>(number: usize) -> Message<N> {
    Message { text: format!("message {number} of {N}"), bytes: [number as u8; N] }
}

async fn produce<const N: usize>(to: mpsc::Sender<Message<N>>, done: oneshot::Sender<[u8; N]>) {
    for number in 0..4 {
        tokio::time::sleep(Duration::from_micros(N as u64)).await;
        if to.send(message(number)).await.is_err() {
            return;
        }
    }
    let _ = done.send([1; N]);
}

/// select! over a timer, a channel and a reply.
pub async fn ticker<const N: usize>() -> Outcome {
    let (to, mut from) = mpsc::channel::<Message<N>>(2);
    let (done, mut is_done) = oneshot::channel();
    let producer = tokio::spawn(produce(to, done));
    let mut timer = tokio::time::interval(Duration::from_millis(1));
    let mut bytes = 0;
    loop {
        tokio::select! {
            _ = timer.tick() => bytes += 1,
            Some(got) = from.recv() => bytes += got.text.len() + got.bytes.len(),
            last = &mut is_done => {
                bytes += last?.len();
                break;
            }
        }
    }
    producer.await?;
    Ok(bytes)
}

async fn fetch<const N: usize>(key: usize) -> Result<Message<N>, std::io::Error> {
    tokio::task::yield_now().await;
    let found = message::<N>(key);
    tokio::time::timeout(Duration::from_secs(1), async move {
        tokio::task::yield_now().await;
        found
    })
    .await
    .map_err(Into::into)
}

/// join!, try_join! and a JoinSet.
pub async fn fan_out<const N: usize>() -> Outcome {
    let (a, b) = tokio::try_join!(fetch::<N>(1), fetch::<N>(2))?;
    let (c, d, e) = tokio::join!(fetch::<N>(3), fetch::<N>(4), async { b.bytes.len() });
    let mut set = JoinSet::new();
    for key in 0..3 {
        set.spawn(fetch::<N>(key));
        set.spawn_blocking(move || Ok(message::<N>(key)));
    }
    let mut bytes = a.text.len() + c?.text.len() + d?.text.len() + e;
    while let Some(joined) = set.join_next().await {
        bytes += joined??.text.len();
    }
    Ok(bytes)
}

/// Streams: buffered, unordered, chunked, folded.
pub async fn pipeline<const N: usize>() -> Outcome {
    let fetched: Vec<Message<N>> = stream::iter(0..8)
        .map(fetch::<N>)
        .buffer_unordered(4)
        .try_filter(|got| futures::future::ready(!got.text.is_empty()))
        .try_collect()
        .await?;
    let lengths: FuturesUnordered<_> = fetched
        .into_iter()
        .map(|got| async move {
            tokio::task::yield_now().await;
            got.text.len() + got.bytes.len()
        })
        .collect();
    let sum = lengths
        .chunks(3)
        .then(|chunk| async move {
            tokio::task::yield_now().await;
            chunk.into_iter().sum::<usize>()
        })
        .fold(0, |sum, bytes| async move { sum + bytes })
        .await;
    Ok(sum)
}

struct State<const N: usize> {
    rows: RwLock<HashMap<String, Message<N>>>,
    log: Mutex<BTreeMap<usize, [u8; N]>>,
    permits: Semaphore,
}

fn insert<const N: usize>(state: Arc<State<N>>, left: usize) -> BoxFuture<'static, usize> {
    async move {
        let _permit = state.permits.acquire().await;
        let got = message::<N>(left);
        let bytes = got.text.len();
        state.log.lock().await.insert(left, got.bytes);
        state.rows.write().await.insert(got.text.clone(), got);
        if left == 0 {
            return bytes;
        }
        bytes + insert(state.clone(), left - 1).await
    }
    .boxed()
}

/// Locks, a semaphore, watch and broadcast channels, futures behind dyn.
pub async fn shared_state<const N: usize>() -> Outcome {
    let state = Arc::new(State::<N> {
        rows: RwLock::default(),
        log: Mutex::default(),
        permits: Semaphore::new(8),
    });
    let (news, mut heard) = broadcast::channel::<Message<N>>(4);
    let (level, mut seen) = watch::channel([0u8; N]);
    let writer = {
        let state = state.clone();
        tokio::spawn(async move {
            let bytes = insert(state, 3).await;
            let _ = news.send(message(1));
            let _ = level.send([1; N]);
            bytes
        })
    };
    let waits: Vec<Pin<Box<dyn std::future::Future<Output = usize> + Send>>> = vec![
        Box::pin(async move { heard.recv().await.map_or(0, |got| got.bytes.len()) }),
        Box::pin(async move {
            let _ = seen.changed().await;
            let bytes = seen.borrow().len();
            bytes
        }),
    ];
    let waited: usize = futures::future::join_all(waits).await.into_iter().sum();
    let written = writer.await?;
    let rows = state.rows.read().await.len() + state.log.lock().await.len();
    Ok(waited + written + rows)
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
struct Record<const N: usize> {
    name: String,
    tags: Vec<String>,
    counts: BTreeMap<String, u64>,
    inner: Option<Box<Record<N>>>,
}

async fn load<const N: usize>(text: String) -> Result<Record<N>, serde_json::Error> {
    tokio::task::yield_now().await;
    serde_json::from_str(&text)
}

/// JSON to and fro, and a pattern searched on a blocking thread.
pub async fn json_store<const N: usize>() -> Outcome {
    let record = Record::<N> {
        name: format!("record {N}"),
        tags: vec!["a".into(), "b".into()],
        counts: [("n".to_string(), N as u64)].into(),
        inner: Some(Box::default()),
    };
    let text = serde_json::to_string_pretty(&record)?;
    let back = load::<N>(text.clone()).await?;
    let found = tokio::task::spawn_blocking(move || {
        let pattern = regex::Regex::new(r"record (\d+)").map_err(|_| N)?;
        Ok::<_, usize>(pattern.captures_iter(&text).count())
    })
    .await?;
    Ok(back.name.len() + back.tags.len() + found.unwrap_or(0))
}
