//! What a footer claims, before the Parquet crate parses it.
//!
//! That parser reserves room for as many row groups and schema children as are claimed, and goes down into the schema
//! by recursion; either can take the process down, which no `catch_unwind` would stop.
//!
//! Layout: `FileMetaData`, `SchemaElement` in apache/parquet-format `parquet.thrift`.

use super::read_limits::ReadLimits;
use super::thrift::{Compact, Kind};

/// Groups in groups of the schema; ours has 6 levels.
const MAX_SCHEMA_DEPTH: usize = 16;

/// Schema elements per leaf column, groups included, that a sane file stays below.
const ELEMENTS_PER_COLUMN: u64 = 4;

/// Fields of `FileMetaData`. The Parquet crate takes a field for what its id says, so another type under a known id
/// would let the two of us read different footers.
const FILE_FIELDS: [(i64, Kind); 9] = [
    (1, Kind::I32),
    (2, Kind::List),
    (3, Kind::I64),
    (4, Kind::List),
    (5, Kind::List),
    (6, Kind::Binary),
    (7, Kind::List),
    (8, Kind::Struct),
    (9, Kind::Binary),
];

/// Fields of `SchemaElement`.
const SCHEMA_FIELDS: [(i64, Kind); 10] = [
    (1, Kind::I32),
    (2, Kind::I32),
    (3, Kind::I32),
    (4, Kind::Binary),
    (5, Kind::I32),
    (6, Kind::I32),
    (7, Kind::I32),
    (8, Kind::I32),
    (9, Kind::I32),
    (10, Kind::Struct),
];

/// Checks the footer in `bytes`, without its length and magic.
pub fn check(bytes: &[u8], limits: &ReadLimits) -> Result<(), String> {
    let mut reader = Compact::new(bytes);
    let mut field = 0;
    let mut columns = None;
    let damaged = || "its footer is damaged".to_owned();
    while let Some(kind) = reader.field(&mut field).ok_or_else(damaged)? {
        if !FILE_FIELDS.contains(&(field, kind)) {
            return Err(damaged());
        }
        match (field, kind) {
            (2, Kind::List) => {
                let (_, count) = reader.list().ok_or_else(damaged)?;
                if count > limits.columns as u64 * ELEMENTS_PER_COLUMN {
                    return Err(format!(
                        "its schema has {count} elements, too many for {} columns",
                        limits.columns
                    ));
                }
                columns = Some(schema(&mut reader, count).ok_or("its schema is damaged or too deep")?);
            }
            (4, Kind::List) => {
                // Writers put the schema first; without it nobody knows how much a row group is.
                let columns = columns.ok_or_else(damaged)?;
                let (kind, count) = reader.list().ok_or_else(damaged)?;
                if count > limits.row_groups as u64 {
                    return Err(format!("it has {count} row groups, more than {}", limits.row_groups));
                }
                if count.saturating_mul(columns) > limits.column_chunks as u64 {
                    return Err(format!(
                        "it has {count} row groups of {columns} columns, more than {} column chunks",
                        limits.column_chunks
                    ));
                }
                for _ in 0..count {
                    row_group(&mut reader, kind, columns).ok_or_else(damaged)?;
                }
            }
            _ => reader.skip(kind, 0).ok_or_else(damaged)?,
        }
    }
    Ok(())
}

/// Passes over a row group, which must have as many column chunks as the schema has columns.
fn row_group(reader: &mut Compact<'_>, kind: Kind, columns: u64) -> Option<()> {
    if kind != Kind::Struct {
        return None;
    }
    let mut field = 0;
    while let Some(kind) = reader.field(&mut field)? {
        match (field, kind) {
            (1, Kind::List) => {
                let (kind, count) = reader.list()?;
                if count != columns {
                    return None;
                }
                for _ in 0..count {
                    reader.skip(kind, 2)?;
                }
            }
            (1, _) => return None,
            _ => reader.skip(kind, 1)?,
        }
    }
    Some(())
}

/// Passes over the schema, a tree in depth-first order where each element says how many children follow. Gives the
/// number of leaves.
fn schema(reader: &mut Compact<'_>, count: u64) -> Option<u64> {
    // Children still to come, of each group that is open.
    let mut open: Vec<u64> = Vec::new();
    let mut leaves = 0;
    for index in 0..count {
        let mut children = 0;
        let mut field = 0;
        while let Some(kind) = reader.field(&mut field)? {
            if !SCHEMA_FIELDS.contains(&(field, kind)) {
                return None;
            }
            match (field, kind) {
                (5, Kind::I32) => children = reader.size()? as u64,
                _ => reader.skip(kind, 2)?,
            }
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        match open.last_mut() {
            Some(left) => *left -= 1,
            // Only the root stands outside of a group.
            None if index > 0 => return None,
            None => {}
        }
        if children > count || open.len() > MAX_SCHEMA_DEPTH {
            return None;
        }
        open.push(children);
        leaves += u64::from(children == 0);
    }
    open.iter().all(|left| *left == 0).then_some(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer with a schema of these child counts and so many row groups of which none follow.
    fn footer(children: &[u8], row_groups: u8) -> Vec<u8> {
        let mut bytes = vec![0x15, 0x04, 0x19, 0xfc, children.len() as u8];
        for count in children {
            bytes.extend([0x55, count << 1, 0x00]);
        }
        bytes.extend([0x16, 0x00, 0x19, 0xfc, row_groups, 0x00]);
        bytes
    }

    fn verdict(bytes: &[u8]) -> String {
        check(bytes, &ReadLimits { row_groups: 100, column_chunks: 150, ..ReadLimits::default() })
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn claims_that_would_take_the_parser_down_are_refused() {
        assert_eq!(verdict(&footer(&[2, 0, 1, 0], 0)), "");
        assert!(verdict(&footer(&[2, 0], 0)).contains("schema"), "a child is missing");
        assert!(verdict(&footer(&[60, 0], 0)).contains("schema"), "more children than elements");
        assert!(verdict(&footer(&[0, 0], 0)).contains("schema"), "two roots");
        let mut deep = [1; 40];
        deep[39] = 0;
        assert!(verdict(&footer(&deep, 0)).contains("too deep"));
        assert!(verdict(&footer(&[0], 101)).contains("row groups"));
        assert!(verdict(&footer(&[0], 50)).contains("damaged"), "row groups that are not there");
        assert!(verdict(&footer(&[3, 0, 0, 0], 60)).contains("column chunks"), "180 of them");
        let unknown_schema = [0x49, 0xfc, 0x01, 0x00, 0x00];
        assert!(verdict(&unknown_schema).contains("damaged"), "row groups before the schema");
        assert!(verdict(&[0x15, 0x04]).contains("damaged"), "cut");
        assert!(verdict(&[0x4c, 0x00, 0x00]).contains("damaged"), "row groups that are not a list");
    }
}
