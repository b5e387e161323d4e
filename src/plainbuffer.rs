//! plainbuffer
