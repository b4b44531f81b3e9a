// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which source is compiled: see src/main.rs.

fn main() {
    println!("cargo:rerun-if-env-changed=ASYNCMEM_RANDOM_SOURCE");
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let source = std::env::var("ASYNCMEM_RANDOM_SOURCE").unwrap_or(format!("{here}/src/sample.rs"));
    println!("cargo:rerun-if-changed={source}");
    println!("cargo:rustc-env=RANDOM_SOURCE={source}");
}
