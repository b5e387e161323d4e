//! Filters over the cells of one row, as reads and conditions send them.

use prost::Message;

use super::service_error::{Answer, ServiceError};
use super::stored::StoredValue;
use crate::model::{PrimaryKeyValue, Row, Value};
use crate::{plainbuffer, proto};

/// Filters that one filter may hold, itself included (asserted by the Java SDK's tests; the documents say 10
/// conditions). Also bounds how deep they can be nested.
const MAX_FILTERS: usize = 32;

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
        /// What of the value is compared.
        transfer: Option<Transfer>,
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

/// A value transfer rule: compares a part of a STRING, read as another type.
///
/// The part is the first capture group of the first match, or the match where there is no group. What is no STRING,
/// does not match or cannot be read so is treated as a missing column (own reading; the documents do not say).
#[derive(Debug)]
pub struct Transfer {
    regex: regex::Regex,
    cast: proto::VariantType,
}

impl Transfer {
    fn decode(rule: &proto::ValueTransferRule) -> Answer<Transfer> {
        // Bounds what a pattern from the network may cost to build, in bytes.
        let regex = regex::RegexBuilder::new(&rule.regex).size_limit(1 << 20).build();
        let regex = regex.map_err(|_| ServiceError::parameter("Deserialize relation filter failed."))?;
        match rule.cast_type {
            None => Ok(Transfer { regex, cast: proto::VariantType::VtString }),
            Some(cast) => match proto::VariantType::try_from(cast) {
                Ok(cast) if cast != proto::VariantType::VtNull => Ok(Transfer { regex, cast }),
                _ => Err(ServiceError::parameter("Deserialize relation filter failed.")),
            },
        }
    }

    fn apply<'v>(&self, value: Value<'v>) -> Option<Value<'v>> {
        let Value::String(text) = value else { return None };
        let found = self.regex.captures(text)?;
        let part = found.get(1).or_else(|| found.get(0))?.as_str();
        Some(match self.cast {
            proto::VariantType::VtInteger => Value::Integer(part.parse().ok()?),
            proto::VariantType::VtDouble => Value::Double(part.parse().ok()?),
            proto::VariantType::VtString => Value::String(part),
            proto::VariantType::VtBlob => Value::Binary(part.as_bytes()),
            proto::VariantType::VtNull => return None,
        })
    }
}

impl Filter {
    /// Decodes and checks a filter.
    ///
    /// # Errors
    /// `OTSParameterInvalid`: not a filter, more than 32 of them.
    pub fn decode(bytes: &[u8]) -> Answer<Filter> {
        let filter = proto::Filter::decode(bytes)
            .map_err(|_| ServiceError::parameter("Deserialize filter failed."))?;
        decode_nested(&filter, &mut 0)
    }

    /// As [`Filter::decode`] for the condition of a write, which cannot paginate.
    pub fn decode_condition(bytes: &[u8]) -> Answer<Filter> {
        match Filter::decode(bytes)? {
            Filter::Paginate { .. } => {
                Err(ServiceError::parameter("Invalid condition: a condition cannot paginate."))
            }
            filter => Ok(filter),
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
            Filter::Compare {
                comparator,
                column,
                operand,
                filter_if_missing,
                latest_version_only,
                transfer,
            } => {
                let key =
                    row.key.iter().filter(|(name, _)| name == column).map(|(_, value)| key_value(*value));
                let cells = row.cells.iter().filter(|cell| cell.name == column).map(|cell| cell.value);
                let count = if *latest_version_only { 1 } else { usize::MAX };
                let values = key.chain(cells).flatten().take(count);
                let transferred = |value| match transfer {
                    None => Some(value),
                    Some(transfer) => transfer.apply(value),
                };
                let mut values = values.filter_map(transferred).peekable();
                match comparator {
                    proto::ComparatorType::CtExist => values.peek().is_some(),
                    proto::ComparatorType::CtNotExist => values.peek().is_none(),
                    _ if values.peek().is_none() => !filter_if_missing,
                    _ => values.any(|value| compare(*comparator, value, operand.as_value())),
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

fn decode_part<M: Message + Default>(bytes: &[u8], what: &str) -> Answer<M> {
    M::decode(bytes).map_err(|_| ServiceError::parameter(format!("Deserialize {what} filter failed.")))
}

/// `seen` counts the filters decoded so far.
fn decode_nested(filter: &proto::Filter, seen: &mut usize) -> Answer<Filter> {
    let refuse = |text: String| Err(ServiceError::parameter(text));
    *seen += 1;
    if *seen > MAX_FILTERS {
        return refuse(format!("The count of filter exceeds the max: {MAX_FILTERS}."));
    }
    match proto::FilterType::try_from(filter.r#type) {
        Ok(proto::FilterType::FtSingleColumnValue) => {
            let compare: proto::SingleColumnValueFilter = decode_part(&filter.filter, "relation")?;
            super::schema::check_column_name(&compare.column_name)?;
            let Ok(comparator) = proto::ComparatorType::try_from(compare.comparator) else {
                return refuse(format!("Invalid relation operator: {}.", compare.comparator));
            };
            let Ok(operand) = plainbuffer::decode_bare_value(&compare.column_value) else {
                return refuse("Deserialize relation filter failed.".to_owned());
            };
            Ok(Filter::Compare {
                comparator,
                operand: operand.into(),
                transfer: compare.value_trans_rule.as_ref().map(Transfer::decode).transpose()?,
                column: compare.column_name,
                filter_if_missing: compare.filter_if_missing,
                latest_version_only: compare.latest_version_only,
            })
        }
        Ok(proto::FilterType::FtCompositeColumnValue) => {
            let combined: proto::CompositeColumnValueFilter = decode_part(&filter.filter, "composite")?;
            let Ok(operator) = proto::LogicalOperator::try_from(combined.combinator) else {
                return refuse(format!("Invalid relation operator: {}.", combined.combinator));
            };
            let mut parts = Vec::new();
            for part in &combined.sub_filters {
                match decode_nested(part, seen)? {
                    Filter::Paginate { .. } => {
                        return refuse("Invalid type of sub-filter: FT_COLUMN_PAGINATION.".to_owned());
                    }
                    part => parts.push(part),
                }
            }
            match operator {
                proto::LogicalOperator::LoNot if parts.len() != 1 => {
                    refuse("Invalid NOT operator: the number of sub-filters must be 1.".to_owned())
                }
                // More than two are let through: every SDK can send them.
                proto::LogicalOperator::LoAnd | proto::LogicalOperator::LoOr if parts.len() < 2 => {
                    refuse("Invalid AND/OR operator: the number of sub-filters must be 2.".to_owned())
                }
                _ => Ok(Filter::Combine(operator, parts)),
            }
        }
        Ok(proto::FilterType::FtColumnPagination) => {
            let page: proto::ColumnPaginationFilter = decode_part(&filter.filter, "column pagination")?;
            match (usize::try_from(page.offset), usize::try_from(page.limit)) {
                (Ok(offset), Ok(limit)) if limit > 0 => Ok(Filter::Paginate { offset, limit }),
                (Err(_), _) => {
                    refuse("Offset in ColumnPaginationFilter must be greater than or equal to 0.".to_owned())
                }
                _ => refuse("Limit in ColumnPaginationFilter must be greater than 0.".to_owned()),
            }
        }
        Err(_) => refuse(format!("Invalid type of filter: {}.", filter.r#type)),
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
            value_trans_rule: None,
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
    fn filters_that_mean_nothing_are_refused_with_the_services_texts() {
        use proto::LogicalOperator::{LoAnd, LoNot, LoOr};
        let one = compare(proto::ComparatorType::CtEqual, "a", Value::Integer(5), true);
        let typed = |kind, filter: Vec<u8>| proto::Filter { r#type: kind, filter: filter.into() };
        let page = |offset, limit| {
            let page = proto::ColumnPaginationFilter { offset, limit };
            typed(proto::FilterType::FtColumnPagination as i32, page.encode_to_vec())
        };
        let mut deep = one.clone();
        for _ in 0..32 {
            deep = combine(LoNot, vec![deep]);
        }
        for (filter, text) in [
            (combine(LoOr, vec![one.clone(); 32]), "The count of filter exceeds the max: 32."),
            (deep, "The count of filter exceeds the max: 32."),
            (
                combine(LoNot, vec![one.clone(); 2]),
                "Invalid NOT operator: the number of sub-filters must be 1.",
            ),
            (
                combine(LoAnd, vec![one.clone()]),
                "Invalid AND/OR operator: the number of sub-filters must be 2.",
            ),
            (
                combine(LoAnd, vec![one.clone(), page(0, 1)]),
                "Invalid type of sub-filter: FT_COLUMN_PAGINATION.",
            ),
            (page(-1, 1), "Offset in ColumnPaginationFilter must be greater than or equal to 0."),
            (page(0, 0), "Limit in ColumnPaginationFilter must be greater than 0."),
            (typed(9, Vec::new()), "Invalid type of filter: 9."),
            (typed(1, vec![0xff]), "Deserialize relation filter failed."),
            (typed(2, vec![0xff]), "Deserialize composite filter failed."),
            (typed(3, vec![0xff]), "Deserialize column pagination filter failed."),
        ] {
            assert_eq!(Filter::decode(&filter.encode_to_vec()).unwrap_err().message, text);
        }
        assert!(Filter::decode(&combine(LoOr, vec![one; 31]).encode_to_vec()).is_ok());
        assert_eq!(Filter::decode(b"\xff").unwrap_err().message, "Deserialize filter failed.");
    }

    #[test]
    fn a_value_transfer_rule_compares_a_part_of_a_string_as_another_type() {
        let rule = |regex: &str, cast: proto::VariantType| {
            let mut filter = compare(proto::ComparatorType::CtEqual, "s", Value::Integer(42), true);
            let mut single = proto::SingleColumnValueFilter::decode(filter.filter.clone()).unwrap();
            single.value_trans_rule =
                Some(proto::ValueTransferRule { regex: regex.to_owned(), cast_type: Some(cast as i32) });
            filter.filter = single.encode_to_vec().into();
            Filter::decode(&filter.encode_to_vec())
        };
        let text = Row { cells: vec![Cell::put("s", Value::String("t1:42,t2:7"), None)], ..Row::default() };
        let number = Row { cells: vec![Cell::put("s", Value::Integer(42), None)], ..Row::default() };
        let first = rule("t1:([0-9]+),", proto::VariantType::VtInteger).unwrap();
        assert!(first.matches(&text) && !first.matches(&number));
        assert!(!rule("t2:([0-9]+)", proto::VariantType::VtInteger).unwrap().matches(&text));
        assert!(!rule("t3:([0-9]+)", proto::VariantType::VtInteger).unwrap().matches(&text));
        assert!(!rule("t1:([0-9]+),", proto::VariantType::VtString).unwrap().matches(&text));
        for broken in [rule("(", proto::VariantType::VtInteger), rule("x", proto::VariantType::VtNull)] {
            assert_eq!(broken.unwrap_err().message, "Deserialize relation filter failed.");
        }
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
