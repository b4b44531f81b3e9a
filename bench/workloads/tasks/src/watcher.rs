// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread that reads the monotonic clock without a pause. Two readings lie far apart when the thread
//! was stopped between them, or when the machine gave its processor to somebody else. A stop is one gap;
//! what the machine does comes again and again: it is told by the largest gaps of short windows. The kernel
//! counts how long a thread could run but had no processor: a gap without that is the largest stop.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Instant;

const WINDOW_NS: u64 = 1_000_000;
const LONG_NS: u64 = 100_000; // shorter gaps are not looked into

/// What was seen since it was last taken.
#[derive(Default)]
struct Seen {
    readings: u64,
    largest_gap_ns: u64,
    largest_stop_ns: u64, // the same without the wait for a processor
    windows_ns: Vec<u64>, // the largest gap of each
}

impl Seen {
    fn json(mut self) -> String {
        self.windows_ns.sort_unstable();
        let at = |percent: usize| {
            self.windows_ns.get(self.windows_ns.len() * percent / 100).copied().unwrap_or(0)
        };
        format!(
            "{{\"largest_gap_ns\":{},\"largest_stop_ns\":{},\
             \"p99_gap_ns\":{},\"median_gap_ns\":{},\"windows\":{},\"readings\":{}}}",
            self.largest_gap_ns,
            self.largest_stop_ns,
            at(99),
            at(50),
            self.windows_ns.len(),
            self.readings
        )
    }
}

/// How long this thread has waited for a processor: the second number of its schedstat (proc(5)). Where the
/// kernel does not count that, nothing.
struct Waits {
    schedstat: Option<File>,
    until_now_ns: u64,
}

impl Waits {
    fn of_this_thread() -> Waits {
        let mut waits = Waits { schedstat: File::open("/proc/thread-self/schedstat").ok(), until_now_ns: 0 };
        waits.take_ns();
        waits
    }

    fn read_ns(&self) -> Option<u64> {
        let mut text = [0; 80];
        let nr_bytes = self.schedstat.as_ref()?.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(&text[..nr_bytes]).ok()?.split(' ').nth(1)?.parse().ok()
    }

    /// Since it was taken last.
    fn take_ns(&mut self) -> u64 {
        let before_ns = self.until_now_ns;
        self.until_now_ns = self.read_ns().unwrap_or(before_ns);
        self.until_now_ns - before_ns
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
    let (mut seen, mut waits) = (Seen::default(), Waits::of_this_thread());
    let (mut last, mut window_end, mut largest) = (now_ns(), WINDOW_NS, 0);
    loop {
        let now = now_ns();
        let gap = now - last;
        largest = largest.max(gap);
        last = now;
        seen.readings += 1;
        if gap > LONG_NS {
            seen.largest_stop_ns = seen.largest_stop_ns.max(gap.saturating_sub(waits.take_ns()));
        }
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
        waits.take_ns(); // what short gaps had of it belongs to no long one
        window_end = last + WINDOW_NS;
    }
}
