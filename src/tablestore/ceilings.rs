//! Ceilings on what a client uses per second.

use std::num::NonZeroU32;

use crate::runtime::Ceiling;

/// Bytes that the ceiling on bytes counts as one.
const BANDWIDTH_UNIT: u64 = 1_024;

/// What may be used per second; `None` is no ceiling. A request is paid for when it has been answered, so a second's
/// worth and what is in flight may come on top once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Read capacity units.
    pub read_units: Option<NonZeroU32>,
    /// Write capacity units.
    pub write_units: Option<NonZeroU32>,
    /// KiB of request and response bodies.
    pub kibibytes: Option<NonZeroU32>,
}

#[derive(Debug)]
pub(super) struct SharedCeilings {
    read_units: Option<Ceiling>,
    write_units: Option<Ceiling>,
    kibibytes: Option<Ceiling>,
}

impl SharedCeilings {
    pub(super) fn new(ceilings: Ceilings) -> SharedCeilings {
        SharedCeilings {
            read_units: ceilings.read_units.map(Ceiling::new),
            write_units: ceilings.write_units.map(Ceiling::new),
            kibibytes: ceilings.kibibytes.map(Ceiling::new),
        }
    }

    /// Pays for capacity units.
    pub(super) async fn units(&self, read: u64, write: u64) {
        pay(&self.read_units, read).await;
        pay(&self.write_units, write).await;
    }

    /// Pays for bytes of bodies.
    pub(super) async fn bytes(&self, bytes: u64) {
        pay(&self.kibibytes, bytes.div_ceil(BANDWIDTH_UNIT)).await;
    }
}

async fn pay(ceiling: &Option<Ceiling>, amount: u64) {
    if let Some(ceiling) = ceiling {
        ceiling.pay(amount).await;
    }
}
