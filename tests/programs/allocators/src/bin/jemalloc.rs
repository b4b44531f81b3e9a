// SPDX-License-Identifier: MIT OR Apache-2.0
//! jemalloc, linked in; see lib.rs.

use allocators::Counting;

#[global_allocator]
static ALLOCATOR: Counting<tikv_jemallocator::Jemalloc> = Counting(tikv_jemallocator::Jemalloc);

fn main() {
    allocators::run();
}
