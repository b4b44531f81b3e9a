// SPDX-License-Identifier: MIT OR Apache-2.0
//! mimalloc, linked in; see lib.rs.

use allocators::Counting;

#[global_allocator]
static ALLOCATOR: Counting<mimalloc::MiMalloc> = Counting(mimalloc::MiMalloc);

extern "C" {
    fn mi_usable_size(block: *const u8) -> usize;
}

fn main() {
    allocators::run(mi_usable_size);
}
