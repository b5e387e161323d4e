//! One instance: its tables, its clock, its faults.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use jiff::Timestamp;

use super::schema::check_table_name;
use super::service_error::{Answer, ServiceError};
use super::storage::Storage;
use super::table::Table;
use super::tables;
use super::transaction::Transactions;
use crate::sandbox::faults::{Action, Faults, Service};

/// Tables of one instance, without a ticket (asserted by the Java SDK's tests).
const MAX_TABLES: usize = 64;

type Tables = BTreeMap<String, Arc<RwLock<Table>>>;

/// The tables of an instance, shared by all requests.
pub struct Instance {
    tables: RwLock<Tables>,
    clock_offset_ms: AtomicI64,
    last_moment_us: AtomicI64,
    /// How long a new table answers `OTSTableNotReady`.
    pub table_ready_after: Duration,
    /// Faults by operation, and by row as `<operation>/row`.
    pub faults: Faults,
    /// Local transactions.
    pub transactions: Transactions,
    /// Where tables survive a restart.
    storage: Option<Storage>,
}

/// One request to an operation.
pub struct Call<'a> {
    /// As in the path.
    pub operation: &'a str,
    /// The instance's clock, in milliseconds.
    pub now: i64,
    /// The instance's faults.
    pub faults: &'a Faults,
}

impl Call<'_> {
    /// What goes wrong with one row of a batch: rules on `BatchWriteRow/row` and `BatchGetRow/row`.
    pub fn row_fault(&self, table: &str) -> Option<ServiceError> {
        match self.faults.check(Service::TableStore, &format!("{}/row", self.operation), table) {
            Some(Action::Error { status, code, message }) => Some(ServiceError::new(status, code, message)),
            _ => None,
        }
    }
}

impl Instance {
    /// An instance with `tables`.
    pub fn new(tables: Vec<Table>, table_ready_after: Duration, faults: Faults) -> Instance {
        Instance {
            tables: RwLock::new(tables.into_iter().map(named).collect()),
            clock_offset_ms: AtomicI64::new(0),
            last_moment_us: AtomicI64::new(0),
            table_ready_after,
            faults,
            transactions: Transactions::default(),
            storage: None,
        }
    }

    /// The same with the tables that `data_dir` holds, which are kept there from now on.
    ///
    /// # Errors
    /// As [`Storage::open`]; [`Kind::Usage`](crate::Kind::Usage) when one of them has the name of another table.
    pub fn stored_in(mut self, data_dir: &Path) -> crate::Result<Instance> {
        let (storage, mut stored) = Storage::open(data_dir)?;
        let now = self.now();
        for table in &mut stored {
            if tables::reenable_stream(table, self.next_moment_us(now)) {
                storage.put_table(table);
            }
        }
        self.add(stored).map_err(|error| {
            crate::Error::new(crate::Kind::Usage, "start the sandbox")
                .on(format!("`{}`", data_dir.display()))
                .because(error.message)
        })?;
        self.storage = Some(storage);
        Ok(self)
    }

    /// Waits until every change made so far survives a kill.
    ///
    /// # Errors
    /// `OTSInternalServerError` when the disk fails.
    pub fn settle(&self) -> Answer<()> {
        self.storage.as_ref().map_or(Ok(()), Storage::wait)
    }

    /// The instance's clock in milliseconds: the real one plus what [`Instance::advance_clock`] added.
    pub fn now(&self) -> i64 {
        Timestamp::now().as_millisecond() + self.clock_offset_ms.load(Ordering::Relaxed)
    }

    /// Moves the clock that cell timestamps and TTL go by; signatures go by the real one.
    pub fn advance_clock(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.clock_offset_ms.fetch_add(by, Ordering::Relaxed);
    }

    /// A moment in microseconds that no other table or Stream was created at: `now` (ms) or a little later.
    pub fn next_moment_us(&self, now: i64) -> i64 {
        let next = |last: i64| Some(now.saturating_mul(1_000).max(last + 1));
        let last = self.last_moment_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        last.ok().and_then(next).unwrap_or_default()
    }

    /// Table names, ascending.
    pub fn table_names(&self) -> Vec<String> {
        self.tables().keys().cloned().collect()
    }

    /// Adds tables, all or none: a table and its secondary indexes.
    ///
    /// # Errors
    /// `OTSObjectAlreadyExist`, `OTSQuotaExhausted`.
    pub fn add(&self, added: Vec<Table>) -> Answer<()> {
        let mut tables = self.all_tables();
        check_room(&tables, &added)?;
        added.iter().for_each(|table| self.store_new(table));
        tables.extend(added.into_iter().map(named));
        Ok(())
    }

    /// A table of the same name may have been there before.
    fn store_new(&self, table: &Table) {
        if let Some(storage) = &self.storage {
            storage.remove_table(&table.definition.name);
            storage.put_table(table);
        }
    }

    /// Removes a table and its secondary indexes.
    ///
    /// # Errors
    /// `OTSObjectNotExist`; `OTSParameterInvalid` for an index.
    pub fn remove(&self, name: &str) -> Answer<()> {
        check_table_name(name)?;
        let mut tables = self.all_tables();
        let table = tables.get(name).cloned().ok_or_else(ServiceError::no_table)?;
        let mut table = write(&table);
        if table.index_of.is_some() {
            // Own wording.
            return Err(ServiceError::parameter("An index table can only be deleted by DropIndex."));
        }
        table.deleted = true;
        self.forget(&mut tables, name);
        for index in &table.definition.indexes {
            self.forget(&mut tables, &index.name);
        }
        Ok(())
    }

    fn forget(&self, tables: &mut Tables, name: &str) {
        tables.remove(name);
        if let Some(storage) = &self.storage {
            storage.remove_table(name);
        }
    }

    /// Changes a table, and adds a secondary index to it; all or nothing.
    ///
    /// # Errors
    /// `OTSObjectNotExist`, `OTSObjectAlreadyExist`, `OTSQuotaExhausted`, and those of `work`.
    pub fn add_index(&self, main: &str, work: impl FnOnce(&mut Table) -> Answer<Table>) -> Answer<()> {
        check_table_name(main)?;
        let mut tables = self.all_tables();
        let table = tables.get(main).cloned().ok_or_else(ServiceError::no_table)?;
        let mut table = write(&table);
        let before = table.definition.clone();
        let added = work(&mut table)?;
        let added = [added];
        if let Err(refusal) = check_room(&tables, &added) {
            table.definition = before;
            return Err(refusal);
        }
        if let Some(storage) = &self.storage {
            storage.put_table(&table);
        }
        added.iter().for_each(|index| self.store_new(index));
        tables.extend(added.into_iter().map(named));
        Ok(())
    }

    /// Removes a secondary index of a table.
    ///
    /// # Errors
    /// `OTSObjectNotExist`.
    pub fn remove_index(&self, main: &str, index: &str) -> Answer<()> {
        check_table_name(main)?;
        let mut tables = self.all_tables();
        let table = tables.get(main).cloned().ok_or_else(ServiceError::no_table)?;
        let mut table = write(&table);
        let position = table.definition.indexes.iter().position(|known| known.name == index);
        table.definition.indexes.remove(position.ok_or_else(ServiceError::no_table)?);
        if let Some(storage) = &self.storage {
            storage.put_table(&table);
        }
        self.forget(&mut tables, index);
        Ok(())
    }

    fn all_tables(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a table whether it is ready or not.
    ///
    /// # Errors
    /// `OTSParameterInvalid`, `OTSObjectNotExist`, and those of `work`.
    pub fn inspect<T>(&self, name: &str, work: impl FnOnce(&Table) -> Answer<T>) -> Answer<T> {
        let table = self.find(name)?;
        work(&read(&table))
    }

    /// Runs `work` on a table whether it is ready or not, alone.
    ///
    /// # Errors
    /// As [`Instance::inspect`].
    pub fn change<T>(&self, name: &str, work: impl FnOnce(&mut Table) -> Answer<T>) -> Answer<T> {
        self.alone(name, |table| {
            let answer = work(table)?;
            if let Some(storage) = &self.storage {
                storage.put_table(table);
            }
            Ok(answer)
        })
    }

    /// Runs `work` on a table, alone, and stores the rows that it changed.
    fn alone<T>(&self, name: &str, work: impl FnOnce(&mut Table) -> Answer<T>) -> Answer<T> {
        let table = self.find(name)?;
        let mut table = write(&table);
        if table.deleted {
            return Err(ServiceError::no_table());
        }
        let partitions = table.partitions.boundaries().len();
        let answer = work(&mut table);
        let changed = std::mem::take(&mut table.changed);
        if let Some(storage) = &self.storage {
            if !changed.is_empty() {
                storage.put_rows(&table, &changed);
            }
            // Split or merged by load.
            if table.partitions.boundaries().len() != partitions {
                storage.put_table(&table);
            }
        }
        answer
    }

    /// Runs `work` on the rows of a table at `now` (ms).
    ///
    /// # Errors
    /// As [`Instance::inspect`], and `OTSTableNotReady`.
    pub fn read<T>(&self, name: &str, now: i64, work: impl FnOnce(&Table) -> Answer<T>) -> Answer<T> {
        self.inspect(name, |table| {
            check_ready(table, now)?;
            if table.index_of.is_some() {
                return Err(ServiceError::unsupported("reading a secondary index, whose rows are not kept"));
            }
            work(table)
        })
    }

    /// Runs `work` on the rows of a table at `now` (ms), alone.
    ///
    /// # Errors
    /// As [`Instance::read`].
    pub fn write<T>(&self, name: &str, now: i64, work: impl FnOnce(&mut Table) -> Answer<T>) -> Answer<T> {
        self.alone(name, |table| {
            check_ready(table, now)?;
            if table.index_of.is_some() {
                return Err(ServiceError::parameter("Can't write index table directly."));
            }
            let done = work(table);
            table.rebalance(now);
            done
        })
    }

    fn find(&self, name: &str) -> Answer<Arc<RwLock<Table>>> {
        check_table_name(name)?;
        self.tables().get(name).cloned().ok_or_else(ServiceError::no_table)
    }

    fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the rows of a table can be read or written.
fn check_ready(table: &Table, now: i64) -> Answer<()> {
    if now < table.ready_at {
        return Err(ServiceError::new(404, "OTSTableNotReady", "The table is not ready."));
    }
    Ok(())
}

fn named(table: Table) -> (String, Arc<RwLock<Table>>) {
    (table.definition.name.clone(), Arc::new(RwLock::new(table)))
}

/// Whether `added` can join `tables`: new names, and not too many.
fn check_room(tables: &Tables, added: &[Table]) -> Answer<()> {
    let mut names: BTreeSet<&str> = tables.keys().map(String::as_str).collect();
    if !added.iter().all(|table| names.insert(&table.definition.name)) {
        return Err(ServiceError::new(409, "OTSObjectAlreadyExist", "Requested table already exists."));
    }
    if names.len() > MAX_TABLES {
        let text = format!("Number of tables exceeds the quota:{MAX_TABLES}.");
        return Err(ServiceError::new(403, "OTSQuotaExhausted", text));
    }
    Ok(())
}

fn read(table: &RwLock<Table>) -> RwLockReadGuard<'_, Table> {
    table.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(table: &RwLock<Table>) -> RwLockWriteGuard<'_, Table> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}
