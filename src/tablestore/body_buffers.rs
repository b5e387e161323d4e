//! Memory that answers are read into, used again.
//!
//! A page is some MiB. Fresh memory of that size comes from the system as a page fault per 4 KiB; memory that was read
//! into before is there already.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Smaller bodies are not worth keeping, larger ones are too rare.
const KEPT: std::ops::RangeInclusive<usize> = 128 << 10..=16 << 20;

/// Sizes are multiples of this, so that a buffer takes the next page too, which is a little larger or smaller.
const STEP: usize = 128 << 10;

/// Bytes of idle buffers kept, at most: nobody's budget counts them.
const MOST_IDLE_BYTES: usize = 64 << 20;

/// Buffers that no answer uses now, [`MOST_IDLE_BYTES`] of them at most.
#[derive(Debug, Clone, Default)]
pub(super) struct BodyBuffers {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl BodyBuffers {
    /// An empty buffer with room for `bytes`; used before if possible.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        if !KEPT.contains(&bytes) {
            return Vec::with_capacity(bytes);
        }
        let used_before = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // `reserve` would double a buffer that is a byte too small, and copy what nobody wants.
        match used_before {
            Some(buffer) if buffer.capacity() >= bytes => buffer,
            _ => Vec::with_capacity(bytes.next_multiple_of(STEP)),
        }
    }

    /// What was read, without a copy. The buffer comes back when nobody looks at it any more.
    pub(super) fn freeze(&self, buffer: Vec<u8>) -> Bytes {
        match KEPT.contains(&buffer.capacity()) {
            true => Bytes::from_owner(Body { buffer, home: self.clone() }),
            false => buffer.into(),
        }
    }
}

struct Body {
    buffer: Vec<u8>,
    home: BodyBuffers,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // A few dozen at most: none is smaller than `KEPT` says, and each was in use at one time.
        let idle_bytes: usize = idle.iter().map(Vec::capacity).sum();
        if idle_bytes + buffer.capacity() <= MOST_IDLE_BYTES {
            idle.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_slice_of_it_is_gone() {
        let buffers = BodyBuffers::default();
        let mut buffer = buffers.take(1 << 20);
        buffer.extend_from_slice(b"0123456789");
        let memory = buffer.as_ptr();
        let whole = buffers.freeze(buffer);
        let slice = whole.slice(3..5);
        drop(whole);
        assert_eq!(slice, b"34".as_slice());
        let other = buffers.take(1 << 20);
        assert_ne!(other.as_ptr(), memory, "still in use");
        drop(slice);
        let again = buffers.take(1 << 20);
        assert_eq!((again.as_ptr(), again.len()), (memory, 0));
    }

    #[test]
    fn a_buffer_that_is_a_little_too_small_is_replaced_and_not_doubled() {
        let buffers = BodyBuffers::default();
        for bytes in (1_500_000..1_700_000).step_by(9_999) {
            let buffer = buffers.take(bytes);
            assert!((bytes..1_700_000 + STEP).contains(&buffer.capacity()), "{bytes}: {}", buffer.capacity());
            drop(buffers.freeze(buffer));
        }
    }

    #[test]
    fn idle_buffers_are_bounded_in_bytes() {
        let buffers = BodyBuffers::default();
        let in_use: Vec<Bytes> = (0..10).map(|_| buffers.freeze(buffers.take(16 << 20))).collect();
        drop(in_use);
        let idle_bytes: usize = buffers.idle.lock().unwrap().iter().map(Vec::capacity).sum();
        assert!((48 << 20..=MOST_IDLE_BYTES).contains(&idle_bytes), "{idle_bytes}");
    }

    #[test]
    fn small_and_huge_bodies_are_not_kept() {
        let buffers = BodyBuffers::default();
        for size in [0, 1 << 10, 64 << 20] {
            drop(buffers.freeze(buffers.take(size)));
            assert!(buffers.idle.lock().unwrap().is_empty(), "{size}");
        }
    }
}
