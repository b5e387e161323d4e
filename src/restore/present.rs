//! What of a stretch of rows the target has already: how a restore that was killed does not write rows twice.

use std::collections::HashSet;

use super::selection::Selection;
use super::unit_rows::KeySpan;
use crate::model::{KeyPart, KeyRange, PrimaryKey, Row, RowHasher};
use crate::runtime::CpuPool;
use crate::tablestore::{RangeRequest, TableStore};
use crate::{Error, Kind, Result};
use std::sync::Arc;

/// Hashes of the rows that `table` has between the ends of `span`, both included. Costs one small request where there
/// is none, and reads them all otherwise.
///
/// # Errors
/// What the service refuses; [`Kind::Corrupt`] for rows that do not decode.
pub(super) async fn rows_present(
    client: &TableStore,
    table: &str,
    key_names: &[String],
    span: &KeySpan,
    selection: &Arc<Selection>,
    cpu: &CpuPool,
) -> Result<HashSet<u128>> {
    let range = KeyRange { start: span.first.clone(), end: after(&span.last) };
    let mut request = RangeRequest::everything(table, key_names.to_vec(), range);
    let mut present = HashSet::new();
    loop {
        let page = client.get_range(&request).await?;
        let next = page.next_start.clone();
        if !page.rows.is_empty() {
            let selection = selection.clone();
            let hashes = cpu.run(move || {
                let (mut row, mut hasher, mut hashes) = (Row::default(), RowHasher::default(), Vec::new());
                let mut rows = page.reader()?;
                while rows.next_row(&mut row)? {
                    hashes.push(selection.hash(&mut hasher, &row));
                }
                Ok(hashes)
            });
            let hashes: Result<Vec<u128>, crate::plainbuffer::DecodeError> = hashes.await?;
            present.extend(hashes.map_err(|error| {
                Error::new(Kind::Corrupt, "read rows of").on(format!("table `{table}`")).source(error)
            })?);
        }
        match next {
            Some(next) => request.start = next,
            None => return Ok(present),
        }
    }
}

/// The first bound behind a key.
fn after(key: &PrimaryKey) -> PrimaryKey {
    let mut parts = key.parts().to_vec();
    if let Some(last) = parts.last_mut() {
        match last {
            KeyPart::Integer(i64::MAX) | KeyPart::InfMin | KeyPart::InfMax => *last = KeyPart::InfMax,
            KeyPart::Integer(value) => *value += 1,
            KeyPart::String(text) => text.push('\0'),
            KeyPart::Binary(bytes) => bytes.push(0),
        }
        // A key value has 1,024 bytes at most, and so has a bound.
        let too_long = match last {
            KeyPart::String(text) => text.len() > 1_024,
            KeyPart::Binary(bytes) => bytes.len() > 1_024,
            _ => false,
        };
        if too_long {
            *last = KeyPart::InfMax;
        }
    }
    PrimaryKey(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_behind_a_key_is_above_it_and_below_every_other() {
        let key = |part: KeyPart| PrimaryKey(vec![KeyPart::Integer(1), part]);
        for (part, next) in [
            (KeyPart::Integer(7), KeyPart::Integer(8)),
            (KeyPart::Integer(i64::MAX), KeyPart::InfMax),
            (KeyPart::String("a".into()), KeyPart::String("a\0".into())),
            (KeyPart::Binary(vec![1]), KeyPart::Binary(vec![1, 0])),
            (KeyPart::Binary(vec![1; 1_024]), KeyPart::InfMax),
        ] {
            assert_eq!(after(&key(part.clone())), key(next));
            assert!(after(&key(part.clone())) > key(part));
        }
    }
}
