//! The languages that the judges are written in.

use std::fmt;
use std::sync::OnceLock;

use crate::provision::Interpreter;
use crate::{go, java, node, python};

/// A language with its own directory of scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Java,
    Go,
    Python,
    Node,
}

/// Every language.
pub const ALL: [Language; 4] = [Language::Java, Language::Go, Language::Python, Language::Node];

/// What became of each language that a case asked for, in the order of [`ALL`].
static PROVISIONED: [OnceLock<Result<Interpreter, String>>; ALL.len()] =
    [const { OnceLock::new() }; ALL.len()];

impl Language {
    /// What runs its scripts, installed on first use; or why this machine cannot.
    pub fn interpreter(self) -> Result<&'static Interpreter, &'static str> {
        let provision = match self {
            Language::Python => python::provision,
            Language::Node => node::provision,
            Language::Go => go::provision,
            Language::Java => java::provision,
        };
        PROVISIONED[self as usize].get_or_init(provision).as_ref().map_err(String::as_str)
    }

    /// Whether its Table Store SDK has something that not all of them have: `splits` of a new table, the row `after` an update,
    /// `atomic` batches, filters that `page` through columns, tables with `transactions`, the bits of a NaN (JavaScript promises one NaN only).
    pub fn has(self, what: &str) -> bool {
        let has: &[&str] = match self {
            Language::Python => &["splits", "nan"],
            Language::Node => &["after", "page"],
            Language::Go | Language::Java => &["after", "page", "atomic", "transactions", "nan"],
        };
        has.contains(&what)
    }

    /// The script behind [`crate::sdk::Sdk`].
    pub fn table_store_script(self) -> &'static str {
        match self {
            Language::Python => "table_store.py",
            Language::Node => "table_store.js",
            Language::Go => "table_store",
            Language::Java => "TableStore",
        }
    }
}

/// The languages that were asked for and could not be had, with the reason.
pub fn missing() -> impl Iterator<Item = (Language, &'static str)> {
    ALL.into_iter().filter_map(|language| {
        let reason = PROVISIONED[language as usize].get()?.as_ref().err()?;
        Some((language, reason.as_str()))
    })
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Language::Python => "Python",
            Language::Node => "Node.js",
            Language::Go => "Go",
            Language::Java => "Java",
        })
    }
}
