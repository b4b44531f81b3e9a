// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread that reads the monotonic clock without a pause. Two readings lie far apart when the thread
//! was stopped between them, or when the machine gave its processor to somebody else. A stop is one gap;
//! what the machine does comes again and again: it is told by the largest gaps of short windows.

use std::sync::mpsc::{channel, Receiver, Sender};
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

enum Command {
    Take,
    Rest,
}

pub struct Watcher {
    commands: Sender<Command>,
    answers: Receiver<Seen>,
}

impl Watcher {
    pub fn start() -> Watcher {
        let (commands, from_main) = channel();
        let (to_main, answers) = channel();
        std::thread::Builder::new()
            .name("watcher".into())
            .spawn(move || watch(&from_main, &to_main))
            .expect("a thread");
        Watcher { commands, answers }
    }

    /// One line of JSON; begins anew.
    pub fn take(&self) -> String {
        self.ask(Command::Take)
    }

    /// The same; the thread then leaves its processor to others until it is asked again.
    pub fn rest(&self) -> String {
        self.ask(Command::Rest)
    }

    fn ask(&self, command: Command) -> String {
        self.commands.send(command).expect("the watcher lives");
        self.answers.recv().expect("the watcher lives").json()
    }
}

fn watch(commands: &Receiver<Command>, to: &Sender<Seen>) {
    let origin = Instant::now();
    let now_ns = || origin.elapsed().as_nanos() as u64;
    let mut seen = Seen::default();
    let (mut last, mut window_end, mut largest) = (0, WINDOW_NS, 0);
    loop {
        let now = now_ns();
        largest = largest.max(now - last);
        last = now;
        seen.readings += 1;
        if now < window_end {
            continue;
        }
        seen.largest_gap_ns = seen.largest_gap_ns.max(largest);
        seen.windows_ns.push(largest);
        largest = 0;
        if let Ok(mut command) = commands.try_recv() {
            while let Command::Rest = command {
                let _ = to.send(std::mem::take(&mut seen));
                command = commands.recv().unwrap_or(Command::Take);
            }
            if to.send(std::mem::take(&mut seen)).is_err() {
                return;
            }
            last = now_ns(); // giving it away may have taken a while
        }
        window_end = last + WINDOW_NS;
    }
}
