//! tablestore
