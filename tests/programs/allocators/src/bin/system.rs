// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system's allocator; see lib.rs.

use allocators::Counting;

#[global_allocator]
static ALLOCATOR: Counting<std::alloc::System> = Counting(std::alloc::System);

extern "C" {
    fn malloc_usable_size(block: *const u8) -> usize;
}

fn main() {
    allocators::run(malloc_usable_size);
}
