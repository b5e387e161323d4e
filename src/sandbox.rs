//! The local Table Store and OSS servers: strict, countable, with faults on demand.

pub mod counters;
pub mod faults;
mod http;
pub mod oss;
