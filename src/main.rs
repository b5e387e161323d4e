//! The `otsvault` program; see [`otsvault::cli`].

/// Page buffers are allocated on one thread and freed on another all day long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    otsvault::cli::main()
}
