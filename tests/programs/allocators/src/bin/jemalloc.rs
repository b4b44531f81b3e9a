// SPDX-License-Identifier: MIT OR Apache-2.0
//! jemalloc, linked in; see lib.rs.

use allocators::Counting;

#[global_allocator]
static ALLOCATOR: Counting<tikv_jemallocator::Jemalloc> = Counting(tikv_jemallocator::Jemalloc);

extern "C" {
    #[link_name = "_rjem_malloc_usable_size"]
    fn malloc_usable_size(block: *const u8) -> usize;
}

fn main() {
    allocators::run(malloc_usable_size);
}
