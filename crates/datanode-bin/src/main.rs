//! The entry point; everything else is in the library.

use std::process::ExitCode;

/// Of RocksDB too. A start and the way down are made of allocations, and the C
/// library's allocator took a third of their time (docs/decisions/0015-allocator.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    datanode_bin::run()
}
