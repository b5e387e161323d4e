//! otsvault copies Alibaba Cloud Table Store (OTS) tables to object storage as zstd Parquet, and proves it.
//!
//! ```text
//! GetRange body ──▶ PlainBuffer walk ──▶ Arrow builders ──▶ Parquet encoder ──▶ parts ──▶ multipart upload
//!  tablestore        plainbuffer          columnar            parquet_file                 objectstore
//!      async   │              CPU pool (rayon): runtime                │            async
//!                                                                              ordered publish ──▶ manifest (catalog)
//! ```
//!
//! `backup` wires these parts, and `delta`, `restore`, `verify` and `retention` do so for what follows; `cli` is the only module that prints. See ARCHITECTURE.md for what may use what.

pub mod backup;
#[cfg(feature = "sandbox")]
pub mod bench;
pub mod catalog;
pub mod cli;
pub mod columnar;
pub mod compact;
pub mod credentials;
pub mod delta;
pub mod error;
pub mod fold;
pub mod model;
pub mod network;
pub mod objectstore;
pub mod parquet_file;
pub mod plainbuffer;
pub mod proto;
pub mod restore;
pub mod retention;
pub mod runtime;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod stored;
pub mod stream;
pub mod tablestore;
pub mod verify;
pub mod views;

pub use error::{Error, Kind, Result};
