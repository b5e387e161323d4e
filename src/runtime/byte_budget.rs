//! A semaphore that counts bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Granularity of the budget. A semaphore counts to 2^32 at most; in KiB that is 4 TiB.
const UNIT: u64 = 1024;

/// Bounds the bytes that are alive at once. Whoever makes bytes takes a permit first; the permit travels with the
/// bytes and is dropped with them.
///
/// First come, first served: a large request is not overtaken for ever by small ones.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    semaphore: Arc<Semaphore>,
    total_units: u32,
}

impl ByteBudget {
    /// A budget of `bytes`, rounded up to a KiB.
    pub fn new(bytes: u64) -> ByteBudget {
        let total_units = units(bytes).max(1);
        ByteBudget { semaphore: Arc::new(Semaphore::new(total_units as usize)), total_units }
    }

    /// Waits until `bytes` are free. More than the whole budget counts as the whole budget, so that one oversized
    /// unit passes alone instead of waiting for ever.
    pub async fn acquire(&self, bytes: u64) -> BytePermit {
        let wanted = units(bytes).clamp(1, self.total_units);
        // The semaphore is never closed.
        let permit = self.semaphore.clone().acquire_many_owned(wanted).await.ok();
        BytePermit { permit }
    }

    /// Bytes that nobody holds.
    pub fn available(&self) -> u64 {
        self.semaphore.available_permits() as u64 * UNIT
    }

    /// The whole budget in bytes.
    pub fn total(&self) -> u64 {
        u64::from(self.total_units) * UNIT
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// Bytes taken from a [`ByteBudget`]; given back on drop.
#[derive(Debug)]
pub struct BytePermit {
    permit: Option<OwnedSemaphorePermit>,
}

impl BytePermit {
    /// Gives back all but `bytes`. A permit never grows.
    pub fn shrink_to(&mut self, bytes: u64) {
        if let Some(permit) = &mut self.permit {
            let keep = units(bytes) as usize;
            let surplus = permit.num_permits().saturating_sub(keep);
            drop(permit.split(surplus));
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.permit.as_ref().map_or(0, |permit| permit.num_permits() as u64 * UNIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_permit_gives_its_surplus_back_at_once_and_the_rest_on_drop() {
        let budget = ByteBudget::new(10 * UNIT);
        let mut permit = budget.acquire(8 * UNIT).await;
        assert_eq!(budget.available(), 2 * UNIT);
        permit.shrink_to(3 * UNIT);
        assert_eq!((budget.available(), permit.bytes()), (7 * UNIT, 3 * UNIT));
        drop(permit);
        assert_eq!(budget.available(), budget.total());
    }

    #[tokio::test]
    async fn a_unit_larger_than_the_budget_passes_alone() {
        let budget = ByteBudget::new(UNIT);
        let permit = budget.acquire(1 << 40).await;
        assert_eq!(budget.available(), 0);
        drop(permit);
        assert_eq!(budget.available(), UNIT);
    }
}
