//! The `otsvault` program; see [`otsvault::cli`].

/// Page buffers are allocated on one thread and freed on another all day long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long freed memory is kept before it goes back to the system, in ms. mimalloc's 10 ms gave buffers back that the
/// next page wanted again: backing up 3,000,000 `iot` rows took 1.12 s of system time, with 100 ms 0.54 s, for 5 % more
/// resident memory.
const PURGE_DELAY_MS: std::ffi::c_long = 100;

/// `mi_option_purge_delay` of mimalloc.h, versions 2 and 3, which the crate does not name: the one between
/// `mi_option_eager_commit_delay` (14) and `mi_option_use_numa_nodes` (16).
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> std::process::ExitCode {
    // SAFETY: sets one integer in a table of mimalloc's own; no other thread exists yet.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS);
    }
    otsvault::cli::main()
}
