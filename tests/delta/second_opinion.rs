//! A chain folded in memory, the slow way: every row and every record at once. What the product says is held against this, and this against
//! the sandbox's oracle.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use object_store::ObjectStoreExt;
use otsvault::catalog::{
    Chain, Delta, RunPath, RunState, ShardPlace, ShardProgress, StreamSpan, Vault, find_runs,
    read_delta_list, read_file_list,
};
use otsvault::columnar::{PlacedRecord, RecordsReader, RowsReader, SplitBatch};
use otsvault::model::{FoldRules, PrimaryKey, Row, RowHasher, RowImage};
use otsvault::parquet_file::{FileReader, ReadLimits};
use otsvault::sandbox::table_store::StreamCut;

use crate::stage::Stage;
use crate::workload::TABLE;

/// Rows by key, each as its hash.
pub type Hashes = BTreeMap<PrimaryKey, u128>;

/// What a chain is at its end, or after its first `deltas`.
pub struct Folded {
    pub rows: Hashes,
    /// Keys whose rows the Stream leaves in doubt.
    pub ambiguous: BTreeSet<PrimaryKey>,
    /// Records of all deltas.
    pub records: usize,
}

/// The chain of the newest base.
pub async fn chain_of(vault: &Vault) -> Chain {
    let (store, table) = (&**vault.store(), vault.table("sandbox", TABLE).unwrap());
    let base = find_runs(store, &table).await.unwrap().into_iter().rev().find_map(|run| match run {
        RunState::Committed(path, _) => Some(path),
        RunState::Unfinished(..) => None,
    });
    Chain::read(store, &table, &base.unwrap()).await.unwrap()
}

/// The places of the sandbox's oracle that a span ends at.
pub fn cut(stage: &Stage, span: &StreamSpan) -> StreamCut {
    let service = stage.sandbox.table_store();
    let all = service.stream_cut(TABLE).unwrap();
    let place = |shard: &ShardProgress| match &shard.place {
        ShardPlace::Waiting => None,
        ShardPlace::Iterator(iterator) => Some(service.stream_position(TABLE, iterator).unwrap().records),
        // Nothing is added to it any more.
        ShardPlace::Closed => Some(all.records[&shard.shard_id]),
    };
    let records = span.to.iter().filter_map(|shard| Some((shard.shard_id.clone(), place(shard)?)));
    StreamCut { stream_id: span.identity.stream_id.clone(), records: records.collect() }
}

/// Every record of a delta, file by file.
pub async fn batches_of(vault: &Vault, path: &RunPath, delta: &Delta) -> Vec<SplitBatch> {
    let store = &**vault.store();
    let mut batches = Vec::new();
    for entry in read_delta_list(store, path, delta).await.unwrap() {
        let bytes = store.get(&path.record_file(entry.id)).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, entry.file.bytes);
        let file = FileReader::open_records(bytes, &delta.columns, &ReadLimits::default()).unwrap();
        let of_file: Vec<_> = file.batches().unwrap().map(|batch| batch.unwrap()).collect();
        let of_file: Vec<_> =
            of_file.iter().map(|batch| SplitBatch::new(batch, &delta.columns).unwrap()).collect();
        let mut last = None;
        for placed in of_file.iter().flat_map(|batch| RecordsReader::new(batch, &delta.columns).unwrap()) {
            let placed = placed.unwrap();
            let key = PrimaryKey::from_row(&placed.record.row.key).unwrap();
            assert!((&entry.first_key..=&entry.last_key).contains(&&key), "{key} is outside its file");
            let this = Some((key, placed.place.rank, placed.place.ordinal));
            assert!(last < this, "the records of a file ascend");
            last = this;
        }
        batches.extend(of_file);
    }
    batches
}

/// Folds a chain with its first `deltas` after the base's own.
pub async fn fold(vault: &Vault, chain: &Chain, deltas: usize) -> Folded {
    fold_until(vault, chain, deltas, i64::MAX).await
}

/// The same with the records up to a commit clock alone.
pub async fn fold_until(vault: &Vault, chain: &Chain, deltas: usize, clock_us: i64) -> Folded {
    let (store, plan) = (&**vault.store(), &chain.base.columns);
    let mut base: Vec<RecordBatch> = Vec::new();
    for entry in read_file_list(store, &chain.path, &chain.base).await.unwrap() {
        if entry.file.is_some() {
            let bytes = store.get(&chain.path.data_file(entry.id)).await.unwrap().bytes().await.unwrap();
            let file = FileReader::open(bytes, plan, &ReadLimits::default()).unwrap();
            base.extend(file.batches().unwrap().map(|batch| batch.unwrap()));
        }
    }
    let mut records = batches_of(vault, &chain.path, chain.base.delta.as_ref().unwrap()).await;
    for link in &chain.deltas[..deltas] {
        records.extend(batches_of(vault, &link.path, &link.manifest.delta).await);
    }
    let rules =
        FoldRules { max_versions: chain.base.table.options.max_versions.unwrap().try_into().unwrap() };
    let mut images: BTreeMap<PrimaryKey, RowImage<'_>> = BTreeMap::new();
    let mut names: Vec<&str> = Vec::new();
    for batch in &base {
        let (mut rows, mut row) = (RowsReader::new(batch, plan).unwrap(), Row::default());
        while rows.read(&mut row).unwrap() {
            names = row.key.iter().map(|(name, _)| *name).collect();
            let key = PrimaryKey::from_row(&row.key).unwrap();
            assert!(images.insert(key, RowImage::seen(&row)).is_none(), "a row is twice in the base");
        }
    }
    let mut placed: Vec<PlacedRecord<'_>> = Vec::new();
    for batch in &records {
        placed.extend(RecordsReader::new(batch, plan).unwrap().map(|record| record.unwrap()));
    }
    placed.retain(|record| record.place.clock_us <= clock_us);
    placed.sort_by_key(|record| (record.place.rank, record.place.ordinal));
    for pair in placed.windows(2) {
        assert_ne!((pair[0].place.rank, pair[0].place.ordinal), (pair[1].place.rank, pair[1].place.ordinal));
    }
    for record in &placed {
        names = record.record.row.key.iter().map(|(name, _)| *name).collect();
        let key = PrimaryKey::from_row(&record.record.row.key).unwrap();
        images.entry(key).or_insert_with(RowImage::absent).apply(&record.record, rules);
    }
    let mut hasher = RowHasher::default();
    let (mut rows, mut ambiguous) = (Hashes::new(), BTreeSet::new());
    for (key, image) in &images {
        if image.is_ambiguous() {
            ambiguous.insert(key.clone());
        }
        if let Some(cells) = image.cells(i64::MIN) {
            let values = names.iter().copied().zip(key.parts().iter().map(|part| part.as_value()));
            let row = Row { key: values.collect(), cells, ..Row::default() };
            rows.insert(key.clone(), hasher.row(&row).0);
        }
    }
    Folded { rows, ambiguous, records: placed.len() }
}

/// A row of the oracle as [`fold`] writes it.
pub fn hash_of(hashes: &mut Hashes, hasher: &mut RowHasher, row: &Row<'_>) {
    hashes.insert(PrimaryKey::from_row(&row.key).unwrap(), hasher.row(row).0);
}

/// Rows that differ between what was folded and what the oracle says, but for those that are in doubt.
pub fn differing(folded: &Folded, oracle: &Hashes) -> Vec<PrimaryKey> {
    let keys: BTreeSet<_> = folded.rows.keys().chain(oracle.keys()).cloned().collect();
    let differs =
        |key: &PrimaryKey| folded.rows.get(key) != oracle.get(key) && !folded.ambiguous.contains(key);
    keys.into_iter().filter(differs).collect()
}
