//! The sandbox's Table Store keeps the service's promises and refuses with its texts.

mod bulk;
mod client;
mod compression;
mod data_dir;
mod generated;
mod indexes;
mod limits;
mod oracle;
mod partitions;
mod reads;
mod refusals;
mod shards;
mod stream_records;
mod streams;
mod tables;
mod transactions;
mod writes;
