//! Local transactions: reads and writes within one partition key that become visible together or not at all.
//!
//! Starting one locks the partition key: writes from outside are refused until it ends, reads see what was committed.
//! The transaction works on a copy of the partition's rows, made when it starts, so its reads see its own writes;
//! Commit applies the same changes to the table. Costs memory for the copy. Ends by itself after 60 seconds.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::change::{Change, Written, apply_all};
use super::instance::Instance;
use super::request_row::{ChangeKind, KeyPlace, MAX_WRITE_SIZE, decode_row};
use super::rows::shown;
use super::schema::check_table_name;
use super::service_error::{Answer, ServiceError};
use super::table::Table;
use crate::model::{KeyPart, PrimaryKeyValue, Row};
use crate::proto;

/// How long a transaction lives, in milliseconds ("Local transaction" in the developer guide).
const LIFETIME_MS: i64 = 60_000;

/// The transactions of an instance.
#[derive(Default)]
pub struct Transactions {
    open: Mutex<HashMap<String, Arc<Mutex<Transaction>>>>,
    started: AtomicU64,
}

struct Transaction {
    table_name: String,
    partition_key: KeyPart,
    /// The rows of the partition key, as the transaction sees them.
    copy: Table,
    /// What was written, to be written again by Commit.
    changes: Vec<Logged>,
    size: usize,
    expires_at: i64,
}

/// A row change that the transaction's copy took.
struct Logged {
    kind: ChangeKind,
    row: Bytes,
    condition: proto::Condition,
    now: i64,
}

/// The partition keys of a table that transactions hold, each with the transaction and when it expires (ms).
#[derive(Default)]
pub struct Locks(BTreeMap<KeyPart, (String, i64)>);

impl Locks {
    /// Whether a write without a transaction may touch `partition_key` at `now` (ms).
    ///
    /// # Errors
    /// `OTSRowOperationConflict`.
    pub fn check_free(&self, partition_key: Option<PrimaryKeyValue<'_>>, now: i64) -> Answer<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        match partition_key.and_then(KeyPart::from_value).and_then(|key| self.0.get(&key)) {
            Some((_, expires_at)) if now < *expires_at => Err(ServiceError::conflict()),
            _ => Ok(()),
        }
    }

    /// Whether `transaction` held the lock, which it then does no longer.
    fn release(&mut self, partition_key: &KeyPart, transaction: &str) -> bool {
        let holds = self.0.get(partition_key).is_some_and(|(holder, _)| holder == transaction);
        if holds {
            self.0.remove(partition_key);
        }
        holds
    }
}

fn gone() -> ServiceError {
    ServiceError::new(404, "OTSSessionNotExist", "Session not exist or may be timeout.")
}

/// StartLocalTransaction at `now` (ms).
///
/// # Errors
/// As the service; `OTSRowOperationConflict` while another transaction holds the partition key.
pub fn start(
    instance: &Instance,
    request: &proto::StartLocalTransactionRequest,
    now: i64,
) -> Answer<proto::StartLocalTransactionResponse> {
    check_table_name(&request.table_name)?;
    let mut key = Row::default();
    decode_row(&request.key, &mut key, KeyPlace::Read)?;
    let [(name, value)] = key.key[..] else {
        return Err(ServiceError::parameter("StartLocalTransaction support only one primary key."));
    };
    // Infinities and placeholders were refused with the row.
    let partition_key = KeyPart::from_value(value).ok_or_else(ServiceError::condition)?;
    let transactions = &instance.transactions;
    let transaction_id = transactions.new_id(&request.table_name);
    let copy = instance.write(&request.table_name, now, |table| {
        table.check_partition_key(name, value)?;
        if !table.local_transactions {
            let text =
                "Try to call method using explicit transaction on explicit-transaction-disabled table.";
            return Err(ServiceError::parameter(text));
        }
        table.locks.check_free(Some(value), now)?;
        let lock = (transaction_id.clone(), now.saturating_add(LIFETIME_MS));
        table.locks.0.insert(partition_key.clone(), lock);
        Ok(table.partition_copy(&partition_key))
    })?;
    let transaction = Transaction {
        table_name: request.table_name.clone(),
        partition_key,
        copy,
        changes: Vec::new(),
        size: 0,
        expires_at: now.saturating_add(LIFETIME_MS),
    };
    transactions.add(transaction_id.clone(), transaction, now);
    Ok(proto::StartLocalTransactionResponse { transaction_id })
}

/// CommitTransaction at `now` (ms): all changes, or none.
///
/// # Errors
/// As the service; the transaction goes on after a refusal that may pass, such as a table that is not ready.
pub fn commit(instance: &Instance, id: &str, now: i64) -> Answer<proto::CommitTransactionResponse> {
    let transaction = instance.transactions.find(id, now)?;
    let transaction = enter(&transaction)?;
    let mut changes = Vec::new();
    for logged in &transaction.changes {
        let change = Change::decode(logged.kind, &logged.row, &logged.condition, None)?;
        changes.push((change, logged.now));
    }
    instance.write(&transaction.table_name, now, |table| {
        if !table.locks.release(&transaction.partition_key, id) {
            return Err(gone());
        }
        apply_all(table, changes.iter().map(|(change, now)| (change, *now)))
    })?;
    instance.transactions.forget(id);
    Ok(proto::CommitTransactionResponse {})
}

/// AbortTransaction at `now` (ms).
///
/// # Errors
/// As the service.
pub fn abort(instance: &Instance, id: &str, now: i64) -> Answer<proto::AbortTransactionResponse> {
    let transaction = instance.transactions.find(id, now)?;
    let transaction = enter(&transaction)?;
    instance.change(&transaction.table_name, |table| {
        table.locks.release(&transaction.partition_key, id);
        Ok(())
    })?;
    instance.transactions.forget(id);
    Ok(proto::AbortTransactionResponse {})
}

impl Transactions {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<Mutex<Transaction>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_id(&self, table: &str) -> String {
        hex::encode(format!("{table}.{}", self.started.fetch_add(1, Ordering::Relaxed)))
    }

    /// Adds one, and forgets those that expired.
    fn add(&self, id: String, transaction: Transaction, now: i64) {
        let mut open = self.open();
        open.retain(|_, old| old.try_lock().map_or(true, |old| now < old.expires_at));
        open.insert(id, Arc::new(Mutex::new(transaction)));
    }

    fn forget(&self, id: &str) {
        self.open().remove(id);
    }

    fn find(&self, id: &str, now: i64) -> Answer<Arc<Mutex<Transaction>>> {
        if id.is_empty() {
            return Err(ServiceError::parameter("TransactionID is invalid."));
        }
        let found = self.open().get(id).cloned().ok_or_else(gone)?;
        if enter(&found)?.expires_at <= now {
            self.forget(id);
            return Err(gone());
        }
        Ok(found)
    }

    /// Runs `work` on what a transaction sees of `table_name`, for the rows of `partition_keys` alone.
    ///
    /// # Errors
    /// As the service, and those of `work`.
    pub fn read<T>(
        &self,
        id: &str,
        table_name: &str,
        partition_keys: &[Option<PrimaryKeyValue<'_>>],
        now: i64,
        work: impl FnOnce(&Table) -> Answer<T>,
    ) -> Answer<T> {
        let transaction = self.find(id, now)?;
        let transaction = enter(&transaction)?;
        partition_keys.iter().try_for_each(|key| transaction.check(table_name, *key))?;
        work(&transaction.copy)
    }

    /// Applies a change within a transaction. `row` and `condition` are those that `change` was decoded from.
    ///
    /// # Errors
    /// As the service. The transaction stays as it was.
    pub fn write(
        &self,
        id: &str,
        table_name: &str,
        change: &Change<'_>,
        row: &Bytes,
        condition: &proto::Condition,
        now: i64,
    ) -> Answer<Written> {
        let transaction = self.find(id, now)?;
        let mut transaction = enter(&transaction)?;
        transaction.check(table_name, change.partition_key())?;
        let size = transaction.size + change.size();
        if size > MAX_WRITE_SIZE {
            // Own wording.
            return Err(ServiceError::parameter(format!(
                "The total data size of transaction exceeds the limit, limit size: {MAX_WRITE_SIZE}, data size: {size}."
            )));
        }
        let (written, _) = change.apply(&mut transaction.copy, now)?;
        transaction.size = size;
        let condition = condition.clone();
        transaction.changes.push(Logged { kind: change.kind, row: row.clone(), condition, now });
        Ok(written)
    }
}

/// A transaction serves one request at a time.
fn enter(transaction: &Mutex<Transaction>) -> Answer<MutexGuard<'_, Transaction>> {
    match transaction.try_lock() {
        Ok(transaction) => Ok(transaction),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => Err(ServiceError::conflict()),
    }
}

impl Transaction {
    /// Own wording of both, after the text for atomic batches.
    fn check(&self, table_name: &str, partition_key: Option<PrimaryKeyValue<'_>>) -> Answer<()> {
        if table_name != self.table_name {
            let text = format!("Data out of scope of transaction. Transaction table: {}.", self.table_name);
            return Err(ServiceError::new(400, "OTSDataOutOfRange", text));
        }
        let mine = self.partition_key.as_value();
        if partition_key != Some(mine) {
            let text = format!(
                "Data out of scope of transaction. Transaction PartKey:{}. Data PartKey:{}",
                shown(Some(mine)),
                shown(partition_key)
            );
            return Err(ServiceError::new(400, "OTSDataOutOfRange", text));
        }
        Ok(())
    }
}
