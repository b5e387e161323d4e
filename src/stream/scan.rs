//! A look through the records of a page: where each stands, and the commit clock.

use crate::model::SequenceInfo;
use crate::plainbuffer::RecordError;
use crate::tablestore::EncodedRecord;

/// Records that were looked through.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub records: Vec<EncodedRecord>,
    pub sequences: Vec<SequenceInfo>,
    pub clocks_us: Vec<i64>,
    /// The record at `pass_over` itself came by.
    pub seen_last: bool,
}

/// Reads the sequence of every record, leaves out those up to `pass_over`, and runs the commit clock over the others.
pub(super) fn scan(
    records: Vec<EncodedRecord>,
    pass_over: Option<SequenceInfo>,
    clock_us: i64,
) -> std::result::Result<Scanned, RecordError> {
    let mut scanned = Scanned::default();
    let (mut pass_over, mut clock_us) = (pass_over, clock_us);
    for record in records {
        let sequence = record.decode()?.sequence;
        if let Some(last) = pass_over
            && sequence <= last
        {
            scanned.seen_last |= sequence == last;
            continue;
        }
        pass_over = None;
        clock_us = clock_us.max(sequence.timestamp_us);
        scanned.records.push(record);
        scanned.sequences.push(sequence);
        scanned.clocks_us.push(clock_us);
    }
    Ok(scanned)
}
