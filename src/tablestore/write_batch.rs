//! BatchWriteRow bodies put together from encoded rows, and sent.
//!
//! ```text
//! body  = 0a length, table              BatchWriteRowRequest.tables
//! table = 0a length, name, row+         TableInBatchWriteRowRequest
//! row   = 12 length                     RowInBatchWriteRowRequest:
//!         08 type                           1 PUT, 2 UPDATE
//!         12 length, PlainBuffer            row_change
//!         1a 02 08 existence                condition
//!       [ 22 02 08 01 ]                     return_content: the primary key
//! ```
//!
//! These are the bytes that the message types would give, written once: a restore makes several GB of them.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::TableStore;
use super::batch_write::{OPERATION, RowsWritten};
use super::call::{Operation, ReadyBody};
use super::md5_lanes::md5_of_each;
use super::row_batch::RowBatch;
use super::row_change::{ChangeKind, Existence};
use super::signing::content_md5;
use crate::Result;

/// Rows of a batch, at most (service limit).
pub const MAX_BATCH_ROWS: usize = 200;

/// Bytes of a batch by the data-size rule, at most (service limit).
pub const MAX_BATCH_DATA: usize = 4_194_304;

/// Bytes of a body, at most. The data-size rule does not count what PlainBuffer adds, but the service limits bodies
/// to 5 MB as well ("Limits", Table Store developer guide).
pub const MAX_BATCH_BODY: usize = 5_000_000;

const FIRST_FIELD: u8 = 0x0a;
const ROW: u8 = 0x12;
const ROW_TYPE: u8 = 0x08;
const ROW_CHANGE: u8 = 0x12;
const CONDITION: [u8; 3] = [0x1a, 0x02, 0x08];
const RETURN_KEY: [u8; 4] = [0x22, 0x02, 0x08, 0x01];

/// What all rows of a batch have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchTarget {
    /// Table name.
    pub table: String,
    /// Changes cells of the rows instead of replacing the rows.
    pub update: bool,
    /// What must be true of each row.
    pub existence: Existence,
    /// Asks for the primary key of each row: how auto-increment values are learnt.
    pub return_key: bool,
    /// Writing the rows twice does no harm: they are also sent again after a time-out.
    pub idempotent: bool,
}

impl BatchTarget {
    /// Replaces rows of `table`, whatever is there; safe to repeat.
    pub fn put(table: impl Into<String>) -> BatchTarget {
        BatchTarget {
            table: table.into(),
            update: false,
            existence: Existence::Ignore,
            return_key: false,
            idempotent: true,
        }
    }

    /// Bytes of a message that are the same for every row, behind the row itself.
    fn tail(&self) -> Vec<u8> {
        let mut tail = CONDITION.to_vec();
        tail.push(self.existence.as_message() as u8);
        if self.return_key {
            tail.extend_from_slice(&RETURN_KEY);
        }
        tail
    }

    fn row_type(&self) -> u8 {
        let kind = if self.update { ChangeKind::Update } else { ChangeKind::Put };
        kind.as_message() as u8
    }

    /// Most bytes that can stand before the first row message.
    fn head_room(&self) -> usize {
        2 * (1 + encoded_len_varint(u64::MAX))
            + encoded_len_varint(self.table.len() as u64)
            + self.table.len()
    }

    /// Puts what stands before the row messages in front of them, into the room at the start of `body`. Also returns
    /// where the row messages start.
    fn close(&self, mut body: Vec<u8>) -> (Bytes, usize) {
        let room = self.head_room();
        let mut name = vec![FIRST_FIELD];
        encode_varint(self.table.len() as u64, &mut name);
        name.extend_from_slice(self.table.as_bytes());
        let mut head = vec![FIRST_FIELD];
        encode_varint((name.len() + body.len() - room) as u64, &mut head);
        head.append(&mut name);
        let start = room - head.len();
        body[start..room].copy_from_slice(&head);
        (Bytes::from(body).slice(start..), head.len())
    }
}

/// Up to 200 encoded rows of one table, ready to be sent: a body and its MD5.
#[derive(Debug, Clone)]
pub struct WriteBatch {
    target: Arc<BatchTarget>,
    body: ReadyBody,
    /// Where the row messages start in the body.
    rows_start: usize,
    rows: Vec<BatchRow>,
    data_size: usize,
}

/// One row of a batch: where it stands among the row messages.
#[derive(Debug, Clone)]
struct BatchRow {
    /// The whole message of the row, its tag included.
    message: Range<usize>,
    /// The PlainBuffer.
    row: Range<usize>,
    number: u64,
}

impl WriteBatch {
    /// The table it is for.
    pub fn table(&self) -> &str {
        &self.target.table
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never: a batch has at least one row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The PlainBuffer of the row at `index`.
    pub fn row(&self, index: usize) -> Option<&[u8]> {
        self.rows.get(index).map(|row| &self.row_messages()[row.row.clone()])
    }

    /// The caller's number of the row at `index`.
    pub fn number(&self, index: usize) -> Option<u64> {
        self.rows.get(index).map(|row| row.number)
    }

    /// The request body.
    pub fn body(&self) -> &[u8] {
        &self.body.bytes
    }

    /// Bytes of the rows by the service's data-size rule.
    pub fn data_size(&self) -> usize {
        self.data_size
    }

    fn row_messages(&self) -> &[u8] {
        &self.body.bytes[self.rows_start..]
    }

    /// A body of some of the rows.
    async fn body_of(&self, indexes: &[usize]) -> ReadyBody {
        if indexes.len() == self.rows.len() {
            return self.body.clone();
        }
        let mut body = vec![0; self.target.head_room()];
        for row in indexes.iter().filter_map(|index| self.rows.get(*index)) {
            body.extend_from_slice(&self.row_messages()[row.message.clone()]);
        }
        let (bytes, _) = self.target.close(body);
        let md5 = content_md5(&bytes).await;
        ReadyBody { bytes, md5 }
    }
}

/// Rows into batches, each filled until the next row would pass a limit.
#[derive(Debug)]
pub struct BatchFiller {
    target: Arc<BatchTarget>,
    row_type: u8,
    tail: Vec<u8>,
    open: OpenBatch,
    full: Vec<OpenBatch>,
}

#[derive(Debug, Default)]
struct OpenBatch {
    /// Free room, then the messages of the rows.
    body: Vec<u8>,
    rows: Vec<BatchRow>,
    data_size: usize,
}

impl BatchFiller {
    /// Batches for `target`.
    pub fn new(target: BatchTarget) -> BatchFiller {
        let (row_type, tail) = (target.row_type(), target.tail());
        BatchFiller { target: Arc::new(target), row_type, tail, open: OpenBatch::default(), full: Vec::new() }
    }

    /// Adds a row: a PlainBuffer of its own, `data_size` by the service's rule. `number` is the caller's; it comes back
    /// with the row. The keys of the rows must differ.
    ///
    /// A row beyond the limits gets a batch of its own, which the service refuses.
    pub fn push(&mut self, row: &[u8], data_size: usize, number: u64) {
        let fields = 2 + 1 + encoded_len_varint(row.len() as u64) + row.len() + self.tail.len();
        let message = 1 + encoded_len_varint(fields as u64) + fields;
        let open = &self.open;
        let is_full = open.rows.len() == MAX_BATCH_ROWS
            || open.data_size + data_size > MAX_BATCH_DATA
            || open.body.len() + message > MAX_BATCH_BODY;
        if is_full && !open.rows.is_empty() {
            self.next_batch();
        }
        let OpenBatch { body, rows, data_size: all } = &mut self.open;
        let room = self.target.head_room();
        if rows.is_empty() {
            body.resize(room, 0);
        }
        let start = body.len() - room;
        body.push(ROW);
        encode_varint(fields as u64, body);
        body.extend_from_slice(&[ROW_TYPE, self.row_type, ROW_CHANGE]);
        encode_varint(row.len() as u64, body);
        let row_start = body.len() - room;
        body.extend_from_slice(row);
        let row = row_start..body.len() - room;
        body.extend_from_slice(&self.tail);
        rows.push(BatchRow { message: start..body.len() - room, row, number });
        *all += data_size;
    }

    /// Full batches that wait for [`BatchFiller::take_full`]. Taking a dozen or more at a time is cheapest.
    pub fn full(&self) -> usize {
        self.full.len()
    }

    /// Bytes of memory that the rows take.
    pub fn bytes(&self) -> usize {
        self.full.iter().chain([&self.open]).map(|batch| batch.body.capacity()).sum()
    }

    /// The full batches, in order. CPU work: their MD5s are computed here, side by side.
    pub fn take_full(&mut self) -> Vec<WriteBatch> {
        let full = std::mem::take(&mut self.full).into_iter();
        let full: Vec<_> =
            full.map(|batch| (self.target.close(batch.body), batch.rows, batch.data_size)).collect();
        let bodies: Vec<&[u8]> = full.iter().map(|((body, _), ..)| body.as_ref()).collect();
        let digests = md5_of_each(&bodies);
        let batches = full.into_iter().zip(digests);
        let batch = |(((bytes, rows_start), rows, data_size), digest): (_, [u8; 16])| WriteBatch {
            target: Arc::clone(&self.target),
            body: ReadyBody { bytes, md5: BASE64.encode(digest) },
            rows_start,
            rows,
            data_size,
        };
        batches.map(batch).collect()
    }

    /// As [`BatchFiller::take_full`], with the batch that is not full.
    pub fn finish(mut self) -> Vec<WriteBatch> {
        let open = std::mem::take(&mut self.open);
        self.full.extend((!open.rows.is_empty()).then_some(open));
        self.take_full()
    }

    fn next_batch(&mut self) {
        // The next body will be about as large.
        let body = Vec::with_capacity(self.open.body.len() + self.open.body.len() / 16);
        let next = OpenBatch { body, rows: Vec::with_capacity(self.open.rows.len()), data_size: 0 };
        self.full.push(std::mem::replace(&mut self.open, next));
    }
}

impl TableStore {
    /// Writes the rows of `batch`, sending again only those that failed and may be repeated, as
    /// [`TableStore::write_rows`] does. The indexes of the failures are those of the batch.
    ///
    /// # Errors
    /// Only if a request as a whole is refused or given up; some rows may then have been written.
    pub async fn write_batch(&self, batch: &WriteBatch) -> Result<RowsWritten> {
        let BatchTarget { table, idempotent, .. } = &*batch.target;
        let operation = Operation { idempotent: *idempotent, ..OPERATION };
        let mut rows = RowBatch::new(self, &OPERATION, table, 0..batch.len());
        while let Some(waiting) = rows.waiting() {
            let body = batch.body_of(&waiting).await;
            let shape = [(table.as_str(), waiting.len())];
            let answers = self.send_batch_body(&operation, &body, &shape).await?;
            rows.answered(answers.into_iter().flatten().collect(), |_| *idempotent).await;
        }
        Ok(RowsWritten::from_outcomes(rows.finish()))
    }
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::proto;

    /// What the message types make of the same rows.
    fn message(target: &BatchTarget, rows: &[&[u8]]) -> Vec<u8> {
        let row = |row: &&[u8]| proto::RowInBatchWriteRowRequest {
            r#type: if target.update { proto::OperationType::Update } else { proto::OperationType::Put }
                .into(),
            row_change: Bytes::copy_from_slice(row),
            condition: proto::Condition {
                row_existence: target.existence.as_message().into(),
                column_condition: None,
            },
            return_content: target.return_key.then(|| proto::ReturnContent {
                return_type: Some(proto::ReturnType::RtPk.into()),
                return_column_names: vec![],
            }),
        };
        let rows = rows.iter().map(row).collect();
        let table = proto::TableInBatchWriteRowRequest { table_name: target.table.clone(), rows };
        proto::BatchWriteRowRequest { tables: vec![table], ..Default::default() }.encode_to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_batch_is_the_message_of_its_rows_and_so_is_each_part_of_it(
            name in "[a-z]{1,200}",
            update: bool,
            return_key: bool,
            existence in prop::sample::select(vec![Existence::Ignore, Existence::Exists, Existence::NotExists]),
            sizes in prop::collection::vec(prop_oneof![0..300_usize, 16_000..17_000_usize], 1..450),
            part in prop::collection::btree_set(0..200_usize, 1..9),
        ) {
            let target = BatchTarget { update, return_key, existence, ..BatchTarget::put(name) };
            let row = |size: &usize| (0..*size).map(|byte| (byte % 251) as u8).collect::<Vec<_>>();
            let rows: Vec<Vec<u8>> = sizes.iter().map(row).collect();
            let mut filler = BatchFiller::new(target.clone());
            for (number, row) in rows.iter().enumerate() {
                filler.push(row, row.len() / 2, number as u64);
            }
            let mut batches = filler.take_full();
            prop_assert_eq!(filler.full(), 0);
            batches.extend(filler.finish());
            let mut next = 0;
            for batch in &batches {
                let rows: Vec<&[u8]> = rows[next..next + batch.len()].iter().map(Vec::as_slice).collect();
                let found: Vec<_> = (0..batch.len()).map(|index| batch.row(index).unwrap()).collect();
                prop_assert_eq!(&found, &rows);
                prop_assert_eq!(batch.number(0), Some(next as u64));
                prop_assert_eq!(batch.data_size(), rows.iter().map(|row| row.len() / 2).sum::<usize>());
                prop_assert_eq!(batch.body.bytes.as_ref(), message(&target, &rows));
                prop_assert_eq!(&batch.body.md5, &BASE64.encode(Md5::digest(&batch.body.bytes)));
                prop_assert!(batch.len() <= MAX_BATCH_ROWS && batch.body().len() <= MAX_BATCH_BODY);
                let part: Vec<usize> = part.iter().copied().filter(|index| *index < batch.len()).collect();
                let some: Vec<&[u8]> = part.iter().map(|index| rows[*index]).collect();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let ready = runtime.block_on(batch.body_of(&part));
                prop_assert_eq!(ready.bytes.as_ref(), message(&target, &some));
                prop_assert_eq!(&ready.md5, &BASE64.encode(Md5::digest(&ready.bytes)));
                next += batch.len();
            }
            prop_assert_eq!(next, rows.len());
        }
    }

    /// Rows per batch when rows of `size` encoded and `data_size` counted bytes are filled in.
    fn filled(rows: usize, size: usize, data_size: usize) -> Vec<usize> {
        let mut filler = BatchFiller::new(BatchTarget::put("t"));
        (0..rows).for_each(|number| filler.push(&vec![0; size], data_size, number as u64));
        filler.finish().iter().map(WriteBatch::len).collect()
    }

    #[test]
    fn a_batch_ends_at_200_rows_at_4_mib_of_data_or_at_5_mb_of_body() {
        assert!(filled(0, 1, 1).is_empty());
        assert_eq!(filled(401, 10, 5), [200, 200, 1]);
        assert_eq!(filled(9, 10, 1 << 20), [4, 4, 1]);
        assert_eq!(filled(5, 10, (1 << 20) + 1), [3, 2]);
        assert_eq!(filled(11, 1_000_000, 1), [4, 4, 3]);
        assert_eq!(filled(3, 10, 5 << 20), [1, 1, 1], "too large: each alone");
    }
}
