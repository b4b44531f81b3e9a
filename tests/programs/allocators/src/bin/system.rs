// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system's allocator; see lib.rs.

use allocators::Counting;

#[global_allocator]
static ALLOCATOR: Counting<std::alloc::System> = Counting(std::alloc::System);

fn main() {
    allocators::run();
}
