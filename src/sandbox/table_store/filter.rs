//! Filters over the cells of one row, as reads and conditions send them.

use prost::Message;

use super::service_error::{Answer, ServiceError};
use super::stored::StoredValue;
use crate::model::{PrimaryKeyValue, Row, Value};
use crate::{plainbuffer, proto};

/// Comparisons that one filter may hold ("Limits" in the developer guide).
const MAX_COMPARISONS: usize = 10;

/// A decoded filter.
#[derive(Debug)]
pub enum Filter {
    /// Compares one column with a value.
    Compare {
        /// How.
        comparator: proto::ComparatorType,
        /// Attribute or primary key column.
        column: String,
        /// With what.
        operand: StoredValue,
        /// A row without the column fails.
        filter_if_missing: bool,
        /// Older versions do not count.
        latest_version_only: bool,
    },
    /// NOT, AND, OR.
    Combine(proto::LogicalOperator, Vec<Filter>),
    /// Keeps `limit` attribute columns after the first `offset`.
    Paginate {
        /// Columns to leave out.
        offset: usize,
        /// Columns to keep.
        limit: usize,
    },
}

impl Filter {
    /// Decodes and checks a filter.
    ///
    /// # Errors
    /// `OTSParameterInvalid`, in own wording: not a filter, more than 10 comparisons, a feature that the sandbox does
    /// not evaluate (value transfer rules).
    pub fn decode(bytes: &[u8]) -> Answer<Filter> {
        let filter = decode_nested(&decode_all(bytes)?, 0)?;
        if filter.comparison_count() > MAX_COMPARISONS {
            let text = format!("The number of conditions in filter exceeds the limit: {MAX_COMPARISONS}.");
            return Err(ServiceError::parameter(text));
        }
        Ok(filter)
    }

    /// As [`Filter::decode`] for the condition of a write, which cannot paginate.
    pub fn decode_condition(bytes: &[u8]) -> Answer<Filter> {
        match Filter::decode(bytes)? {
            Filter::Paginate { .. } => Err(invalid("a condition cannot paginate")),
            filter => Ok(filter),
        }
    }

    fn comparison_count(&self) -> usize {
        match self {
            Filter::Compare { .. } => 1,
            Filter::Combine(_, parts) => parts.iter().map(Filter::comparison_count).sum(),
            Filter::Paginate { .. } => 0,
        }
    }

    /// Whether the row passes; a pagination cuts its cells.
    pub fn apply(&self, row: &mut Row<'_>) -> bool {
        if let Filter::Paginate { offset, limit } = self {
            paginate(row, *offset, *limit);
            return true;
        }
        self.matches(row)
    }

    /// Whether the row passes.
    pub fn matches(&self, row: &Row<'_>) -> bool {
        match self {
            Filter::Compare { comparator, column, operand, filter_if_missing, latest_version_only } => {
                let key =
                    row.key.iter().filter(|(name, _)| name == column).map(|(_, value)| key_value(*value));
                let cells = row.cells.iter().filter(|cell| cell.name == column).map(|cell| cell.value);
                let mut values = key.chain(cells).flatten().peekable();
                match comparator {
                    proto::ComparatorType::CtExist => values.peek().is_some(),
                    proto::ComparatorType::CtNotExist => values.peek().is_none(),
                    _ if values.peek().is_none() => !filter_if_missing,
                    _ => {
                        let count = if *latest_version_only { 1 } else { usize::MAX };
                        values.take(count).any(|value| compare(*comparator, value, operand.as_value()))
                    }
                }
            }
            Filter::Combine(proto::LogicalOperator::LoNot, parts) => {
                !parts.iter().any(|part| part.matches(row))
            }
            Filter::Combine(proto::LogicalOperator::LoAnd, parts) => {
                parts.iter().all(|part| part.matches(row))
            }
            Filter::Combine(proto::LogicalOperator::LoOr, parts) => {
                parts.iter().any(|part| part.matches(row))
            }
            Filter::Paginate { .. } => true,
        }
    }
}

fn invalid(why: impl std::fmt::Display) -> ServiceError {
    ServiceError::parameter(format!("Invalid filter: {why}."))
}

/// Decodes a message that must be understood in full: what this schema does not know would change the meaning.
fn decode_all<M: Message + Default>(bytes: &[u8]) -> Answer<M> {
    let message = M::decode(bytes).map_err(invalid)?;
    match message.encoded_len() == bytes.len() {
        true => Ok(message),
        false => Err(ServiceError::unsupported("a filter with a value transfer rule")),
    }
}

fn decode_nested(filter: &proto::Filter, depth: usize) -> Answer<Filter> {
    if depth > MAX_COMPARISONS {
        return Err(invalid("nested too deeply"));
    }
    match proto::FilterType::try_from(filter.r#type).map_err(invalid)? {
        proto::FilterType::FtSingleColumnValue => {
            let compare: proto::SingleColumnValueFilter = decode_all(&filter.filter)?;
            super::schema::check_column_name(&compare.column_name)?;
            Ok(Filter::Compare {
                comparator: proto::ComparatorType::try_from(compare.comparator).map_err(invalid)?,
                operand: plainbuffer::decode_bare_value(&compare.column_value).map_err(invalid)?.into(),
                column: compare.column_name,
                filter_if_missing: compare.filter_if_missing,
                latest_version_only: compare.latest_version_only,
            })
        }
        proto::FilterType::FtCompositeColumnValue => {
            let combined: proto::CompositeColumnValueFilter = decode_all(&filter.filter)?;
            let operator = proto::LogicalOperator::try_from(combined.combinator).map_err(invalid)?;
            let mut parts = Vec::new();
            for part in &combined.sub_filters {
                match decode_nested(part, depth + 1)? {
                    Filter::Paginate { .. } => return Err(invalid("a pagination cannot be combined")),
                    part => parts.push(part),
                }
            }
            let is_not = operator == proto::LogicalOperator::LoNot;
            if parts.is_empty() || (is_not && parts.len() > 1) {
                return Err(invalid(format!("{} operands", parts.len())));
            }
            Ok(Filter::Combine(operator, parts))
        }
        proto::FilterType::FtColumnPagination => {
            let page: proto::ColumnPaginationFilter = decode_all(&filter.filter)?;
            match (usize::try_from(page.offset), usize::try_from(page.limit)) {
                (Ok(offset), Ok(limit)) if limit > 0 => Ok(Filter::Paginate { offset, limit }),
                _ => Err(invalid("offset must be at least 0 and limit greater than 0")),
            }
        }
    }
}

fn key_value(value: PrimaryKeyValue<'_>) -> Option<Value<'_>> {
    match value {
        PrimaryKeyValue::Integer(value) => Some(Value::Integer(value)),
        PrimaryKeyValue::String(value) => Some(Value::String(value)),
        PrimaryKeyValue::Binary(value) => Some(Value::Binary(value)),
        PrimaryKeyValue::AutoIncrement | PrimaryKeyValue::InfMin | PrimaryKeyValue::InfMax => None,
    }
}

/// Values of different types differ, and are in no order.
fn compare(comparator: proto::ComparatorType, value: Value<'_>, operand: Value<'_>) -> bool {
    use proto::ComparatorType as Is;
    let order = match (value, operand) {
        (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(&b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(&b),
        (Value::Boolean(a), Value::Boolean(b)) => Some(a.cmp(&b)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Binary(a), Value::Binary(b)) => Some(a.cmp(b)),
        _ => None,
    };
    match comparator {
        Is::CtEqual => order.is_some_and(|order| order.is_eq()),
        Is::CtNotEqual => order.is_none_or(|order| order.is_ne()),
        Is::CtGreaterThan => order.is_some_and(|order| order.is_gt()),
        Is::CtGreaterEqual => order.is_some_and(|order| order.is_ge()),
        Is::CtLessThan => order.is_some_and(|order| order.is_lt()),
        Is::CtLessEqual => order.is_some_and(|order| order.is_le()),
        Is::CtExist | Is::CtNotExist => false,
    }
}

/// Counts columns, not versions.
fn paginate(row: &mut Row<'_>, offset: usize, limit: usize) {
    let mut column = 0usize;
    let mut previous: Option<&str> = None;
    row.cells.retain(|cell| {
        column += usize::from(previous != Some(cell.name));
        previous = Some(cell.name);
        (offset + 1..=offset.saturating_add(limit)).contains(&column)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cell;

    fn compare(
        comparator: proto::ComparatorType,
        column: &str,
        operand: Value<'_>,
        latest: bool,
    ) -> proto::Filter {
        let mut column_value = Vec::new();
        plainbuffer::write_bare_value(&mut column_value, operand);
        let filter = proto::SingleColumnValueFilter {
            comparator: comparator as i32,
            column_name: column.to_owned(),
            column_value: column_value.into(),
            filter_if_missing: true,
            latest_version_only: latest,
        };
        let kind = proto::FilterType::FtSingleColumnValue as i32;
        proto::Filter { r#type: kind, filter: filter.encode_to_vec().into() }
    }

    fn combine(combinator: proto::LogicalOperator, sub_filters: Vec<proto::Filter>) -> proto::Filter {
        let filter = proto::CompositeColumnValueFilter { combinator: combinator as i32, sub_filters };
        let kind = proto::FilterType::FtCompositeColumnValue as i32;
        proto::Filter { r#type: kind, filter: filter.encode_to_vec().into() }
    }

    fn passes(filter: &proto::Filter) -> bool {
        let row = Row {
            key: vec![("k", PrimaryKeyValue::Integer(1))],
            cells: vec![
                Cell::put("a", Value::Integer(5), Some(2)),
                Cell::put("a", Value::Integer(9), Some(1)),
                Cell::put("b", Value::Double(f64::NAN), Some(1)),
            ],
            ..Row::default()
        };
        Filter::decode(&filter.encode_to_vec()).unwrap().matches(&row)
    }

    #[test]
    fn comparisons_look_at_one_or_all_versions_and_never_across_types() {
        use proto::ComparatorType::*;
        assert!(passes(&compare(CtEqual, "a", Value::Integer(5), true)));
        assert!(!passes(&compare(CtEqual, "a", Value::Integer(9), true)));
        assert!(passes(&compare(CtEqual, "a", Value::Integer(9), false)));
        assert!(passes(&compare(CtLessEqual, "k", Value::Integer(1), true)));
        assert!(!passes(&compare(CtGreaterThan, "a", Value::String("0"), true)));
        assert!(passes(&compare(CtNotEqual, "a", Value::String("5"), true)));
        assert!(!passes(&compare(CtEqual, "missing", Value::Integer(5), true)));
        assert!(!passes(&compare(CtEqual, "b", Value::Double(f64::NAN), true)));
        let both = vec![
            compare(CtEqual, "a", Value::Integer(5), true),
            compare(CtEqual, "a", Value::Integer(6), true),
        ];
        assert!(!passes(&combine(proto::LogicalOperator::LoAnd, both.clone())));
        assert!(passes(&combine(proto::LogicalOperator::LoOr, both.clone())));
        assert!(passes(&combine(proto::LogicalOperator::LoNot, both[1..].to_vec())));
    }

    #[test]
    fn more_than_ten_comparisons_and_what_is_not_understood_are_refused() {
        let one = compare(proto::ComparatorType::CtEqual, "a", Value::Integer(5), true);
        let many = combine(proto::LogicalOperator::LoOr, vec![one.clone(); 11]);
        assert!(Filter::decode(&many.encode_to_vec()).unwrap_err().message.contains("exceeds the limit"));
        let mut unknown = one.filter.to_vec();
        unknown.extend_from_slice(&[0x32, 0]);
        let unknown = proto::Filter { filter: unknown.into(), ..one };
        let refusal = Filter::decode(&unknown.encode_to_vec()).unwrap_err();
        assert!(refusal.message.starts_with("Unsupported operation"), "{refusal:?}");
        assert!(Filter::decode(b"\xff").is_err());
    }

    #[test]
    fn pagination_counts_columns() {
        let mut row = Row::default();
        for (name, timestamp) in [("a", 2), ("a", 1), ("b", 1), ("c", 1)] {
            row.cells.push(Cell::put(name, Value::Boolean(true), Some(timestamp)));
        }
        paginate(&mut row, 0, 2);
        assert_eq!(row.cells.iter().map(|cell| cell.name).collect::<Vec<_>>(), ["a", "a", "b"]);
        paginate(&mut row, 1, 5);
        assert_eq!(row.cells.iter().map(|cell| cell.name).collect::<Vec<_>>(), ["b"]);
    }
}
