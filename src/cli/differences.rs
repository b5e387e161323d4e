//! How rows that differ are printed.

use crate::verify::{Comparison, RowChange};

/// One line per row, `+`, `-` or `~` and its key; then what they add up to.
pub(super) fn text(comparison: &Comparison) -> String {
    let mut lines = Vec::new();
    for row in &comparison.rows {
        lines.push(match &row.change {
            RowChange::Added => format!("  + {}", row.key),
            RowChange::Removed => format!("  - {}", row.key),
            RowChange::Changed { columns } => format!("  ~ {} in {}", row.key, columns.join(", ")),
        });
    }
    lines.push(format!(
        "  {} added, {} removed, {} changed{}",
        comparison.added,
        comparison.removed,
        comparison.changed,
        if comparison.has_more { ", and more that are not named" } else { "" }
    ));
    if comparison.unexplained_ranges > 0 {
        lines.push(format!(
            "  {} with other row-sums, though every row is the same: a row-sum in the file list is wrong, or the table \
             was another one for a moment",
            super::size::counted(comparison.unexplained_ranges, "key range"),
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyPart, PrimaryKey};
    use crate::verify::RowDifference;

    #[test]
    fn every_row_has_its_line() {
        let row = |n, change| RowDifference { key: PrimaryKey(vec![KeyPart::Integer(n)]), change };
        let columns = vec!["a".to_owned(), "b".to_owned()];
        let rows = vec![
            row(1, RowChange::Added),
            row(2, RowChange::Removed),
            row(3, RowChange::Changed { columns }),
        ];
        let comparison =
            Comparison { rows, added: 1, removed: 1, changed: 1, has_more: true, ..Comparison::default() };
        assert_eq!(
            text(&comparison),
            "  + (1)\n  - (2)\n  ~ (3) in a, b\n  1 added, 1 removed, 1 changed, and more that are not named"
        );
    }
}
