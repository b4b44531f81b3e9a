// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tasks talk with: channels with messages in them, permits, guards, timers, sets of tasks.

use crate::counted::keep_for_ever;
use crate::values::text;
use crate::{cases, values, Places};
use ledger::{arrived, hold, rest, Cases};
use std::sync::{mpsc as thread_mpsc, Arc};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch, Mutex, Notify, RwLock, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::time::DelayQueue;

const LONG: Duration = Duration::from_secs(100_000);

fn full_mpsc(count: usize) -> (mpsc::Sender<String>, mpsc::Receiver<String>) {
    let (sender, receiver) = mpsc::channel(count.max(1));
    (0..count).for_each(|length| sender.try_send(text(length + 100)).expect("room"));
    (sender, receiver)
}

fn full_unbounded(
    count: usize,
) -> (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (0..count).for_each(|length| sender.send(text(length)).expect("a receiver"));
    (sender, receiver)
}

fn full_broadcast() -> (broadcast::Sender<String>, broadcast::Receiver<String>) {
    let (sender, receiver) = broadcast::channel(8);
    (0..5).for_each(|length| assert!(sender.send(text(length * 30)).is_ok()));
    (sender, receiver)
}

fn full_std() -> (thread_mpsc::Sender<String>, thread_mpsc::Receiver<String>) {
    let (sender, receiver) = thread_mpsc::channel();
    (0..70).for_each(|length| sender.send(text(length)).expect("a receiver"));
    (sender, receiver)
}

fn sent_oneshot() -> oneshot::Receiver<Vec<String>> {
    let (sender, receiver) = oneshot::channel();
    sender.send(vec![text(40), text(50)]).expect("a receiver");
    receiver
}

fn full_futures_mpsc() -> impl Send {
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    (0..9).for_each(|length| sender.unbounded_send(text(length + 20)).expect("a receiver"));
    (sender, receiver)
}

fn tokens() -> (CancellationToken, CancellationToken) {
    let top = CancellationToken::new();
    let child = top.child_token();
    (top, child)
}

async fn receives() {
    let (sender, mut receiver) = mpsc::channel::<String>(4);
    arrived();
    let received = receiver.recv().await;
    drop((sender, received));
}

/// Waits for room, with a message in its hands.
async fn sends() {
    let (sender, receiver) = full_mpsc(2);
    arrived();
    assert!(sender.send(text(4000)).await.is_ok());
    drop(receiver);
}

/// The sender is elsewhere: the messages end with the receiver, the channel does not.
async fn receiver_of_a_kept_sender() {
    let (sender, receiver) = full_mpsc(3);
    keep_for_ever(sender);
    rest().await;
    drop(receiver);
}

async fn sender_of_a_kept_receiver() {
    let (sender, receiver) = full_unbounded(3);
    keep_for_ever(receiver);
    rest().await;
    drop(sender);
}

async fn waits_for_a_value() {
    let (sender, receiver) = oneshot::channel::<String>();
    hold!(beside = text(64));
    arrived();
    let value = receiver.await;
    drop((sender, value, beside));
}

async fn owned_permit() {
    let semaphore = Arc::new(Semaphore::new(3));
    let permit = semaphore.clone().acquire_owned().await.expect("open");
    drop(semaphore);
    rest().await;
    drop(permit);
}

async fn owned_guards() {
    let mutex = Arc::new(Mutex::new(text(500))).lock_owned().await;
    let read = Arc::new(RwLock::new(text(600))).read_owned().await;
    rest().await;
    drop((mutex, read));
}

async fn waits_for_a_lock() {
    let mutex = Arc::new(Mutex::new(text(700)));
    let guard = mutex.lock().await;
    arrived();
    drop(mutex.lock().await);
    drop(guard);
}

async fn waits_for_a_bell() {
    let bell = Arc::new(Notify::new());
    hold!(beside = text(65));
    arrived();
    bell.notified().await;
    drop(beside);
}

async fn sleeps() {
    hold!(beside = text(66));
    arrived();
    sleep(LONG).await;
    drop(beside);
}

async fn sleeps_in_a_box() {
    let sleeping = Box::pin(sleep(LONG));
    arrived();
    sleeping.await;
}

async fn ticks() {
    let mut ticking = interval(LONG);
    ticking.tick().await;
    arrived();
    ticking.tick().await;
}

async fn times_out() {
    hold!(beside = text(67));
    let waiting = timeout(LONG, async {
        hold!("{async block", inside = vec![1u8; 168]);
        rest().await;
        drop(inside);
    });
    assert!(waiting.await.is_ok());
    drop(beside);
}

async fn delays() {
    let mut queue = DelayQueue::new();
    for length in 0..5 {
        queue.insert(text(length * 10 + 50), LONG);
    }
    rest().await;
    drop(queue);
}

async fn child(ballast: Vec<u8>) {
    let more = text(31);
    rest().await;
    drop((ballast, more));
}

async fn parent(tell: thread_mpsc::Sender<tokio::task::AbortHandle>) {
    let mut children = JoinSet::new();
    for length in [100, 200, 300] {
        tell.send(children.spawn(child(vec![1; length]))).expect("main listens");
    }
    drop(tell);
    let _ = children.join_next().await;
}

async fn waits_for_another(other: tokio::task::JoinHandle<()>) {
    arrived();
    let _ = other.await;
}

async fn waits_for_a_thread() {
    hold!(beside = text(68));
    arrived();
    let _ = tokio::task::spawn_blocking(|| std::thread::sleep(LONG)).await;
    drop(beside);
}

async fn has_sender(sender: mpsc::Sender<String>) {
    rest().await;
    drop(sender);
}

async fn has_receiver(receiver: mpsc::Receiver<String>) {
    rest().await;
    drop(receiver);
}

fn start_pairs(cases: &mut Cases, places: &Places) {
    cases.group("join_set", |case| {
        let (tell, told) = thread_mpsc::channel();
        case.start(|| places.one.spawn(parent(tell)));
        case.owns(told.iter().collect());
    });
    cases.group("channel_of_two_tasks", |case| {
        // The receiver ends first and takes the messages with it; the rest is the sender's.
        let (sender, receiver) = full_mpsc(3);
        case.start(|| places.many.spawn(has_receiver(receiver)));
        case.start(|| places.many.spawn(has_sender(sender)));
        case.shares_something();
    });
    cases.group("join_handle_of_another", |case| {
        let other = places.many.spawn(child(vec![1; 77]));
        let watched = other.abort_handle();
        case.start(|| places.many.spawn(waits_for_another(other)));
        keep_for_ever(watched);
    });
}

pub fn start(cases: &mut Cases, places: &Places) {
    values!(cases, places.many;
        mpsc_empty: full_mpsc(0), mpsc_3: full_mpsc(3), mpsc_100: full_mpsc(100), mpsc_unbounded: full_unbounded(100),
        mpsc_senders: { let (one, end) = full_mpsc(1); (one.clone(), one.downgrade(), one, end) },
        mpsc_no_sender: full_mpsc(5).1, mpsc_no_receiver: full_mpsc(5).0,
        oneshot_both: oneshot::channel::<String>(), oneshot_sent: sent_oneshot(), broadcast: full_broadcast(),
        watch: watch::channel(text(250)), notify: Arc::new(Notify::new()), semaphore: Semaphore::new(4),
        tokio_mutex: Arc::new(Mutex::new(vec![text(70)])), tokio_rw_lock: RwLock::new(text(80)),
        tokio_once_cell: tokio::sync::OnceCell::new_with(Some(text(90))), barrier: tokio::sync::Barrier::new(2),
        std_mpsc: full_std(), futures_mpsc: full_futures_mpsc(), tokens: tokens(),
        futures_oneshot: futures::channel::oneshot::channel::<String>(),
    );
    cases!(cases, places.many; receives, sends, receiver_of_a_kept_sender, sender_of_a_kept_receiver,
        waits_for_a_value, owned_permit, owned_guards, waits_for_a_lock, waits_for_a_bell);
    cases!(cases, places.one; sleeps, sleeps_in_a_box, ticks, times_out, delays, waits_for_a_thread);
    start_pairs(cases, places);
}
