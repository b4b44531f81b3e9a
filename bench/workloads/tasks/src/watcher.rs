// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread that reads the monotonic clock without a pause. Two readings lie far apart when the thread
//! was stopped between them, or when the machine gave its processor to somebody else. A stop is one gap;
//! what the machine does comes again and again: it is told by the largest gaps of short windows.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::Instant;

const WINDOW_NS: u64 = 1_000_000;

/// What was seen since it was last taken.
#[derive(Default)]
struct Seen {
    readings: u64,
    largest_gap_ns: u64,
    windows_ns: Vec<u64>, // the largest gap of each
}

impl Seen {
    fn json(mut self) -> String {
        self.windows_ns.sort_unstable();
        let at = |percent: usize| {
            self.windows_ns.get(self.windows_ns.len() * percent / 100).copied().unwrap_or(0)
        };
        format!(
            "{{\"largest_gap_ns\":{},\"p99_gap_ns\":{},\"median_gap_ns\":{},\"windows\":{},\"readings\":{}}}",
            self.largest_gap_ns,
            at(99),
            at(50),
            self.windows_ns.len(),
            self.readings
        )
    }
}

pub struct Watcher {
    asked: Arc<AtomicBool>,
    answers: Receiver<Seen>,
}

impl Watcher {
    pub fn start() -> Watcher {
        let asked = Arc::new(AtomicBool::new(false));
        let (to, answers) = channel();
        let is_asked = asked.clone();
        std::thread::Builder::new()
            .name("watcher".into())
            .spawn(move || watch(&is_asked, &to))
            .expect("a thread");
        Watcher { asked, answers }
    }

    /// One line of JSON; begins anew.
    pub fn take(&self) -> String {
        self.asked.store(true, Relaxed); // the channel orders what is answered
        self.answers.recv().expect("the watcher lives").json()
    }
}

fn watch(asked: &AtomicBool, to: &Sender<Seen>) {
    let origin = Instant::now();
    let mut seen = Seen::default();
    let (mut last, mut window_end, mut largest) = (0, WINDOW_NS, 0);
    loop {
        let now = origin.elapsed().as_nanos() as u64;
        largest = largest.max(now - last);
        last = now;
        seen.readings += 1;
        if now < window_end {
            continue;
        }
        seen.largest_gap_ns = seen.largest_gap_ns.max(largest);
        seen.windows_ns.push(largest);
        largest = 0;
        window_end = now + WINDOW_NS;
        if asked.swap(false, Relaxed) {
            if to.send(std::mem::take(&mut seen)).is_err() {
                return;
            }
            last = origin.elapsed().as_nanos() as u64; // giving it away may have taken a while
        }
    }
}
