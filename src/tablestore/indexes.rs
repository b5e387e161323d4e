//! CreateIndex.

use super::TableStore;
use super::call::{Operation, Target};
use super::definition::index_meta;
use crate::model::Index;
use crate::{Result, proto};

/// Not idempotent: a repeat after a lost answer finds the index that the first attempt made.
const CREATE: Operation = Operation {
    name: "CreateIndex",
    doing: "create an index of",
    idempotent: false,
    data: false,
    required: &[],
};

impl TableStore {
    /// Adds a secondary index to `table`, with the rows that are there already; the service fills it in its own time.
    ///
    /// # Errors
    /// `AlreadyExists`. `Refused` for a table whose options an index cannot have: it needs max versions 1, and time to
    /// live -1 or no updates. After `Unavailable` the index may exist: describe the table.
    pub async fn create_index(&self, table: &str, index: &Index) -> Result<()> {
        let request = proto::CreateIndexRequest {
            main_table_name: table.to_owned(),
            index_meta: index_meta(index),
            include_base_data: Some(true),
        };
        self.call(&CREATE, Target::Table(table), &request, |_: proto::CreateIndexResponse, _| Ok(())).await
    }
}
