//! The sandbox's Table Store keeps the service's promises and refuses with its texts.

mod bulk;
mod client;
mod compression;
mod generated;
mod reads;
mod streams;
mod tables;
mod writes;
