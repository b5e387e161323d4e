//! SQL that shows a table as it was at a moment: the rows of a base, with the Stream records since then folded into them by the query engine.
//!
//! The view has the key columns and, for every attribute and type with a column of its own, the newest version under that column's name;
//! `_more` maps the other attributes to their newest version. Its rows are those of the fold, but for rows that the fold calls ambiguous.
//!
//! Rows that no record names and that have nothing in `_overflow` go through as they are. Of the others the cells are put in a line, those that a
//! later record undid are dropped, and what is newest is put back into columns.

mod dialect;
mod statement;

pub use dialect::Dialect;

use object_store::path::Path;

use crate::catalog::Cut;

/// What a view is called, and how the engine that runs it finds the vault.
#[derive(Debug, Clone)]
pub struct ViewOptions {
    /// Name of the view.
    pub name: String,
    /// Whose SQL.
    pub dialect: Dialect,
    /// The vault's URL or directory, as the engine writes it.
    pub location: String,
    /// The vault's prefix in its store: what the location stands for.
    pub prefix: Path,
}

/// The statements that make the view of a cut.
pub fn sql(cut: &Cut, options: &ViewOptions) -> String {
    statement::Statement::new(cut, options).text()
}
