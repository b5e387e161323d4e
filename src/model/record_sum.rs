//! Record-sums: a checksum of a set of Stream records that does not depend on the order in which they are added up.
//!
//! ```text
//! delete hash  = XXH3_128(column name, seed = 1 for all versions, or 2 + timestamp * 0x9E3779B97F4A7C15 mod 2^64 for one)
//! record hash  = XXH3_128(row hash of key and put cells as 16 bytes, (sum of the delete hashes mod 2^128) as 16 bytes,
//!                type as one byte: put 1, update 2, delete 3; rank, ordinal as u64, commit clock as i64: 8 bytes each)
//! record-sum   = sum of the record hashes mod 2^128
//! ```
//! All integers little-endian; the row hash is the one of row-sums. A record's place is in its hash: two that were swapped show.

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::{CellOp, RecordPlace, RecordType, RowHasher, RowSum, StreamRecord};

const TIMESTAMP_SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Hashes Stream records.
#[derive(Debug, Default)]
pub struct RecordHasher {
    rows: RowHasher,
}

impl RecordHasher {
    /// The hash of one record at its place.
    pub fn record(&mut self, record: &StreamRecord<'_>, place: RecordPlace) -> RowSum {
        let row = self.rows.row(&record.row);
        let mut deletes = 0u128;
        for cell in &record.row.cells {
            let seed = match cell.op {
                Some(CellOp::DeleteAllVersions) => 1,
                Some(CellOp::DeleteOneVersion) => {
                    let timestamp = cell.timestamp.unwrap_or(0) as u64;
                    timestamp.wrapping_mul(TIMESTAMP_SPREAD).wrapping_add(2)
                }
                Some(CellOp::Increment) | None => continue,
            };
            deletes = deletes.wrapping_add(xxh3_128_with_seed(cell.name.as_bytes(), seed));
        }
        let record_type = match record.record_type {
            RecordType::Put => 1u8,
            RecordType::Update => 2,
            RecordType::Delete => 3,
        };
        let mut bytes = Vec::with_capacity(57);
        bytes.extend_from_slice(&row.0.to_le_bytes());
        bytes.extend_from_slice(&deletes.to_le_bytes());
        bytes.push(record_type);
        bytes.extend_from_slice(&place.rank.to_le_bytes());
        bytes.extend_from_slice(&place.ordinal.to_le_bytes());
        bytes.extend_from_slice(&place.clock_us.to_le_bytes());
        RowSum(xxh3_128(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cell, PrimaryKeyValue, Row, SequenceInfo, Value};

    fn record(cells: Vec<Cell<'static>>) -> StreamRecord<'static> {
        let row = Row { key: vec![("id", PrimaryKeyValue::Integer(1))], cells, ..Row::default() };
        let sequence = SequenceInfo { epoch: 0, timestamp_us: 5, row_index: 0 };
        StreamRecord { record_type: RecordType::Update, sequence, row }
    }

    #[test]
    fn what_a_record_did_where_and_when_is_in_its_hash() {
        let place = RecordPlace { rank: 1, ordinal: 2, clock_us: 3 };
        let delete = |op, timestamp| Cell { name: "a", value: None, op: Some(op), timestamp };
        let put = || record(vec![Cell::put("a", Value::Integer(1), Some(7))]);
        let mut hasher = RecordHasher::default();
        let hashes = [
            hasher.record(&put(), place),
            hasher.record(&StreamRecord { record_type: RecordType::Put, ..put() }, place),
            hasher.record(&put(), RecordPlace { rank: 2, ordinal: 1, ..place }),
            hasher.record(&put(), RecordPlace { clock_us: 4, ..place }),
            hasher.record(&record(vec![]), place),
            hasher.record(&record(vec![delete(CellOp::DeleteAllVersions, None)]), place),
            hasher.record(&record(vec![delete(CellOp::DeleteOneVersion, Some(7))]), place),
            hasher.record(&record(vec![delete(CellOp::DeleteOneVersion, Some(8))]), place),
        ];
        let different: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(different.len(), hashes.len());
        // Frozen: files hold these sums.
        assert_eq!(hashes[0].to_string(), "78fe2f750fec14cdfd9bae0c2a97d6d1");
        assert_eq!(hashes[7].to_string(), "44df318f7730db708a610b24a22a3e22");
    }
}
