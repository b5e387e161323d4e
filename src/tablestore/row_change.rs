//! One change to one row, encoded once however often it is sent.

use bytes::Bytes;

use crate::model::Row;
use crate::plainbuffer::encode_row;
use crate::proto;

/// What must be true of the row for a change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existence {
    /// Anything. Costs no read capacity.
    #[default]
    Ignore,
    /// The row exists.
    Exists,
    /// The row does not exist.
    NotExists,
}

impl Existence {
    pub(super) fn as_message(self) -> proto::RowExistenceExpectation {
        match self {
            Existence::Ignore => proto::RowExistenceExpectation::Ignore,
            Existence::Exists => proto::RowExistenceExpectation::ExpectExist,
            Existence::NotExists => proto::RowExistenceExpectation::ExpectNotExist,
        }
    }
}

/// A put, update or delete of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    pub(super) kind: ChangeKind,
    pub(super) row: Bytes,
    pub(super) existence: Existence,
    pub(super) return_key: bool,
    pub(super) idempotent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Put,
    Update,
    Delete,
}

impl ChangeKind {
    pub(super) fn as_message(self) -> proto::OperationType {
        match self {
            ChangeKind::Put => proto::OperationType::Put,
            ChangeKind::Update => proto::OperationType::Update,
            ChangeKind::Delete => proto::OperationType::Delete,
        }
    }
}

impl RowChange {
    /// Replaces the row, old columns and versions included. At most 1,024 cells (service limit).
    pub fn put(row: &Row<'_>) -> RowChange {
        RowChange::new(ChangeKind::Put, encode_row(row))
    }

    /// Changes cells of the row: puts, deletes, increments. At most 1,024 cells (service limit).
    pub fn update(row: &Row<'_>) -> RowChange {
        RowChange::new(ChangeKind::Update, encode_row(row))
    }

    /// Deletes the row; of `row` only the key counts.
    pub fn delete(row: &Row<'_>) -> RowChange {
        let key_alone = Row { key: row.key.clone(), delete_marker: true, ..Row::default() };
        RowChange::new(ChangeKind::Delete, encode_row(&key_alone))
    }

    fn new(kind: ChangeKind, row: Vec<u8>) -> RowChange {
        RowChange {
            kind,
            row: row.into(),
            existence: Existence::Ignore,
            return_key: false,
            idempotent: false,
        }
    }

    /// Adds a condition.
    pub fn if_row(mut self, existence: Existence) -> RowChange {
        self.existence = existence;
        self
    }

    /// Asks for the primary key in the answer: how an auto-increment value is learnt.
    pub fn return_key(mut self) -> RowChange {
        self.return_key = true;
        self
    }

    /// Says that making the change twice does no harm, so that it is also repeated after a time-out: every cell has
    /// its timestamp, nothing is incremented, and nobody else writes the row.
    pub fn idempotent(mut self) -> RowChange {
        self.idempotent = true;
        self
    }

    /// Bytes of the encoded row.
    pub fn encoded_size(&self) -> usize {
        self.row.len()
    }

    pub(super) fn condition(&self) -> proto::Condition {
        proto::Condition { row_existence: self.existence.as_message().into(), column_condition: None }
    }

    pub(super) fn return_content(&self) -> Option<proto::ReturnContent> {
        self.return_key.then(|| proto::ReturnContent {
            return_type: Some(proto::ReturnType::RtPk.into()),
            return_column_names: Vec::new(),
        })
    }
}
