// SPDX-License-Identifier: MIT OR Apache-2.0
//! What looks like tasks and is none: numbers like those in a cell's header, and copies of cells, on the
//! heap as large and as aligned as the cell itself, on the heap cut short, and on the stack.
//!
//! Two things tell a copy from its cell. The runtime's list of the tasks it owns links to the cell, not
//! to the copy; and an ended task, which is in no list, is the one whose id is there already. So a copy
//! of an ended task is made only of those that stay to the end: of others the bytes alone could not tell.

use crate::work::Random;
use std::alloc::{alloc, Layout};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::Mutex;
use tokio::task::JoinHandle;

const CELL_ALIGNMENT: usize = 128;
const SMALLEST_CELL_BYTES: usize = 128; // more would take the next block along
const COMPLETE: u64 = 2;
const REFERENCES_SHIFT: u32 = 6;

const NUMBERS: u8 = 1;
const COPIES: u8 = 2;
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// Addresses of the copies that are never freed.
static LEAKED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// The address of a task's cell: all that a JoinHandle holds.
pub fn cell_of<T>(task: &JoinHandle<T>) -> usize {
    const { assert!(size_of::<JoinHandle<T>>() == size_of::<usize>()) };
    unsafe { std::ptr::from_ref(task).cast::<usize>().read() }
}

/// Reads memory that may be freed, or gone.
fn read(address: usize, bytes: usize) -> Option<Vec<u8>> {
    let mut copy = vec![0u8; bytes];
    let here = libc::iovec { iov_base: copy.as_mut_ptr().cast(), iov_len: bytes };
    let there = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes };
    let count = unsafe { libc::process_vm_readv(libc::getpid(), &here, 1, &there, 1, 0) };
    (count == bytes as isize).then_some(copy)
}

fn word(bytes: &[u8], number: usize) -> u64 {
    u64::from_ne_bytes(bytes[number * 8..number * 8 + 8].try_into().expect("8 bytes"))
}

/// True for the state of a task that has ended and whose cell is kept.
fn has_ended(state: u64) -> bool {
    state & COMPLETE != 0 && (1..1 << 24).contains(&(state >> REFERENCES_SHIFT))
}

/// Keeps a copy for ever, aligned as cells are.
fn leak(bytes: &[u8]) {
    let layout = Layout::from_size_align(bytes.len(), CELL_ALIGNMENT).expect("a layout");
    let block = unsafe { alloc(layout) };
    assert!(!block.is_null(), "memory for a copy");
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), block, bytes.len()) };
    LEAKED.lock().unwrap().push(block as usize);
}

/// Copies a live cell three times: whole, cut short, and cut short in a block that is aligned less.
pub fn copy_cell(cell: usize) {
    if LEVEL.load(SeqCst) < COPIES || cell == 0 {
        return;
    }
    let whole = unsafe { libc::malloc_usable_size(cell as *mut libc::c_void) };
    let Some(bytes) = read(cell, whole) else { return };
    leak(&bytes);
    leak(&bytes[..whole.min(256)]);
    let short = bytes[..whole.min(1000)].to_vec();
    LEAKED.lock().unwrap().push(short.leak().as_ptr() as usize);
}

#[repr(align(128))]
pub struct OnTheStack([u8; 4096]);

pub struct Junk {
    numbers: Vec<Vec<u64>>,
}

impl Junk {
    pub fn new(level: &str) -> Junk {
        let level = match level {
            "none" => 0,
            "numbers" => NUMBERS,
            "copies" => COPIES,
            other => panic!("no junk is called {other}"),
        };
        LEVEL.store(level, SeqCst);
        Junk { numbers: Vec::new() }
    }

    /// How many pieces there are.
    pub fn count(&self) -> usize {
        self.numbers.len() + LEAKED.lock().unwrap().len()
    }

    /// Copies what is left of cells that are freed, or are somebody else's by now.
    pub fn copy_freed(&mut self, cells: &[usize]) {
        if LEVEL.load(SeqCst) < COPIES {
            return;
        }
        for cell in cells.iter().step_by(16) {
            // The state first: even a buffer that is freed again would be a copy.
            let state = read(*cell, 8).map(|bytes| word(&bytes, 0));
            if state.is_some_and(|state| !has_ended(state)) {
                read(*cell, SMALLEST_CELL_BYTES).iter().for_each(|bytes| leak(bytes));
            }
        }
    }

    /// Copies a few live cells, and makes numbers like theirs.
    pub fn copy_some(&mut self, random: &mut Random, cells: &[usize]) {
        if LEVEL.load(SeqCst) < NUMBERS || cells.is_empty() {
            return;
        }
        for _ in 0..8 {
            copy_cell(cells[random.below(cells.len())]);
        }
        let header = read(cells[random.below(cells.len())], 48).expect("a live cell");
        let (vtable, owner) = (word(&header, 2), word(&header, 3));
        let mut numbers = Vec::new();
        for number in 0..64u64 {
            let state =
                (1 + number % 3) << REFERENCES_SHIFT | [0xc, 0x8, 0x4, 0][number as usize % 4];
            let id = number * 1000 + 1;
            numbers.extend([state, 0, vtable, owner, number, id, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        }
        self.numbers.push(numbers);
    }

    /// A copy of a live cell for the caller's own stack.
    pub fn on_the_stack(&self, cell: usize) -> OnTheStack {
        let mut copy = OnTheStack([0; 4096]);
        if LEVEL.load(SeqCst) >= COPIES && cell != 0 {
            let bytes = read(cell, 512).expect("a live cell");
            for start in (0..4096).step_by(512) {
                copy.0[start..start + 512].copy_from_slice(&bytes);
            }
        }
        copy
    }
}
