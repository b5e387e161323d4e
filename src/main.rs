//! The `otsvault` program.

/// Page buffers are allocated on one thread and freed on another all day long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}
