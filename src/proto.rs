//! Table Store's messages, generated from `schemas/table_store.proto`. `bytes` fields are slices of the body they
//! were decoded from.

#![allow(missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/table_store.rs"));
