// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads in system calls that must not notice a pause: raw calls, whose results are looked at.
//!
//! truth: a read of a pipe, a nanosleep and a futex wait last until they are answered, however often the
//! process is stopped meanwhile. Prints one line of JSON, `threads`; a line on stdin answers them. Then it
//! prints what each call returned, as it came, with EINTR counted, and ends with 0 if none was.
//! `epoll_eintr` counts those of epoll_wait, which the kernel ends when a debugger stops it.

use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use subject::{announce, wait_for_line, wait_until};

const NAP: Duration = Duration::from_millis(50);

static ARRIVED: AtomicUsize = AtomicUsize::new(0);
static RELEASED: AtomicBool = AtomicBool::new(false);
static WORD: AtomicU32 = AtomicU32::new(0);

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// One byte comes through the pipe, in one call.
fn read_pipe(descriptor: i32) -> Result<(), String> {
    let mut byte = 0u8;
    ARRIVED.fetch_add(1, SeqCst);
    let count = unsafe { libc::read(descriptor, (&raw mut byte).cast(), 1) };
    match (count, byte) {
        (1, 7) => Ok(()),
        _ => Err(format!("read returned {count}, byte {byte}, errno {}", errno())),
    }
}

/// Each nanosleep lasts as long as it was told to, and not much longer than the pauses in it.
fn naps() -> Result<(), String> {
    ARRIVED.fetch_add(1, SeqCst);
    while !RELEASED.load(SeqCst) {
        let time = libc::timespec { tv_sec: 0, tv_nsec: NAP.as_nanos() as libc::c_long };
        let began = Instant::now();
        if unsafe { libc::nanosleep(&time, std::ptr::null_mut()) } != 0 {
            return Err(format!("nanosleep ended with errno {}", errno()));
        }
        if began.elapsed() < NAP {
            return Err(format!("nanosleep took {:?}", began.elapsed()));
        }
    }
    Ok(())
}

/// A futex wait ends when it is woken, in one call.
fn wait_futex() -> Result<(), String> {
    ARRIVED.fetch_add(1, SeqCst);
    let none = std::ptr::null::<libc::timespec>();
    let flags = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    let result = unsafe { libc::syscall(libc::SYS_futex, WORD.as_ptr(), flags, 0, none) };
    match (result, WORD.load(SeqCst)) {
        (0, 1) => Ok(()),
        (result, word) => Err(format!("futex returned {result}, word {word}, errno {}", errno())),
    }
}

/// How often epoll_wait was interrupted.
fn epoll() -> Result<usize, String> {
    let descriptor = unsafe { libc::epoll_create1(0) };
    let mut interrupted = 0;
    ARRIVED.fetch_add(1, SeqCst);
    while !RELEASED.load(SeqCst) {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        match unsafe { libc::epoll_wait(descriptor, &mut event, 1, NAP.as_millis() as i32) } {
            0 => {}
            -1 if errno() == libc::EINTR => interrupted += 1,
            other => return Err(format!("epoll_wait returned {other}, errno {}", errno())),
        }
    }
    Ok(interrupted)
}

fn main() {
    // A task, so that there is something to look for.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    runtime.spawn(async { tokio::time::sleep(Duration::from_secs(3600)).await });

    let mut pipe = [0i32; 2];
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    let reader = std::thread::spawn(move || read_pipe(pipe[0]));
    let napper = std::thread::spawn(naps);
    let waiter = std::thread::spawn(wait_futex);
    let poller = std::thread::spawn(epoll);
    wait_until("the threads are there", || ARRIVED.load(SeqCst) == 4);
    announce(&json!({"threads": 4}));
    wait_for_line();

    RELEASED.store(true, SeqCst);
    assert_eq!(unsafe { libc::write(pipe[1], [7u8].as_ptr().cast(), 1) }, 1);
    WORD.store(1, SeqCst);
    wait_until("the futex is woken, or its thread has ended", || {
        let flags = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        let woken = unsafe { libc::syscall(libc::SYS_futex, WORD.as_ptr(), flags, 1) };
        woken == 1 || waiter.is_finished()
    });
    let results = [
        ("read", reader.join().expect("no panic")),
        ("nanosleep", napper.join().expect("no panic")),
        ("futex", waiter.join().expect("no panic")),
    ];
    let epoll = poller.join().expect("no panic");
    let epoll_error = epoll.clone().err().map(|text| format!("epoll_wait: {text}"));
    let failed =
        results.into_iter().filter_map(|(call, result)| Some(format!("{call}: {}", result.err()?)));
    let failed: Vec<String> = failed.chain(epoll_error).collect();
    announce(&json!({"failed": failed, "epoll_eintr": epoll.unwrap_or(0)}));
    std::process::exit(i32::from(!failed.is_empty()));
}
