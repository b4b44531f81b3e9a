// SPDX-License-Identifier: MIT OR Apache-2.0
//! mimalloc, linked in; see lib.rs.

use allocators::Counting;

#[global_allocator]
static ALLOCATOR: Counting<mimalloc::MiMalloc> = Counting(mimalloc::MiMalloc);

fn main() {
    allocators::run();
}
