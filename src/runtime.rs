//! What the flows run on: the CPU pool and the crossings between async and CPU work, byte budgets, the
//! adaptive limit on requests in flight, ceilings per second, progress counters, and a shutdown request that is a value.
//!
//! Async tasks wait and never decode, encode or compress; pool jobs compute and never wait for the runtime. Big
//! units cross: one response body in, finished part bytes out.

mod adaptive_limit;
mod byte_budget;
mod ceiling;
mod concurrency;
mod cpu_pool;
mod memory;
mod progress;
mod shutdown;

pub use adaptive_limit::{AdaptiveLimit, Outcome, Sample};
pub use byte_budget::{ByteBudget, BytePermit};
pub use ceiling::Ceiling;
pub use concurrency::{Concurrency, ConcurrencyLimit, ConcurrencyPermit};
pub use cpu_pool::CpuPool;
pub use memory::peak_resident_bytes;
pub use progress::{Phase, Progress, ProgressSnapshot, RangeProgress};
pub use shutdown::{Shutdown, Signal};
