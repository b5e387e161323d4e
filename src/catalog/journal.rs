//! The journal of an unfinished run: one small object per closed file.

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

use super::layout::file_id;
use super::{FileEntry, RunPath, document};
use crate::{Error, Kind, Result};

/// Journal entries that are read at the same time.
const READS_IN_FLIGHT: usize = 32;

/// Records that a file is closed. From here on a resumed run does not read its interval again.
pub async fn write_journal(store: &dyn ObjectStore, run: &RunPath, entry: &FileEntry) -> Result<()> {
    document::create(store, &run.journal_entry(entry.id), document::to_bytes(entry)?).await
}

/// All entries of a run, in key order. Costs one list and one small read per closed file.
///
/// # Errors
/// [`Kind::Corrupt`] for an entry that does not parse or bears another name; a list error is an error, never an
/// empty journal.
pub async fn read_journal(store: &dyn ObjectStore, run: &RunPath) -> Result<Vec<FileEntry>> {
    let prefix = run.journal();
    let objects: Vec<_> = store
        .list(Some(&prefix))
        .try_collect()
        .await
        .map_err(|error| document::failed("list", &prefix, error))?;
    let mut entries: Vec<FileEntry> = futures::stream::iter(objects)
        .map(|object| async move {
            let path = object.location;
            let Some(bytes) = document::read(store, &path, document::LARGEST_DOCUMENT).await? else {
                return Err(Error::new(Kind::NotFound, "read")
                    .on(format!("`{path}`"))
                    .because("it was just listed"));
            };
            let entry: FileEntry = document::parse(&path, &bytes)?;
            if file_id(&path) != Some(entry.id) {
                return Err(Error::new(Kind::Corrupt, "use")
                    .on(format!("`{path}`"))
                    .because(format!("it describes file {}", entry.id)));
            }
            Ok(entry)
        })
        .buffer_unordered(READS_IN_FLIGHT)
        .try_collect()
        .await?;
    entries.sort_by(|a, b| a.range.start.cmp(&b.range.start));
    Ok(entries)
}

/// The objects below a prefix of files, with their ids and sizes.
pub(super) async fn file_objects(
    store: &dyn ObjectStore,
    prefix: &object_store::path::Path,
) -> Result<Vec<(object_store::path::Path, Option<super::FileId>, u64)>> {
    let objects: Vec<_> = store
        .list(Some(prefix))
        .try_collect()
        .await
        .map_err(|error| document::failed("list", prefix, error))?;
    Ok(objects
        .into_iter()
        .map(|object| (object.location.clone(), file_id(&object.location), object.size))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{FileId, ReadCost, TablePath};
    use crate::model::{KeyRange, RowSum};
    use object_store::memory::InMemory;
    use object_store::path::Path;

    #[tokio::test]
    async fn entries_come_back_in_key_order_and_a_renamed_one_is_refused() {
        let store = InMemory::new();
        let run = TablePath::new(&Path::from("v"), "i", "t")
            .unwrap()
            .base(&"20261122t161530z-9f3a2c71".parse().unwrap());
        let entry = |range: KeyRange| FileEntry {
            id: FileId::random(),
            range,
            rows: 0,
            cells: 0,
            logical_bytes: 0,
            row_sum: RowSum::default(),
            file: None,
            read: ReadCost::default(),
        };
        let point = crate::model::PrimaryKey(vec![crate::model::KeyPart::Integer(5)]);
        let parts = KeyRange::all(1).split_at([point]);
        let (low, high) = (entry(parts[0].clone()), entry(parts[1].clone()));
        write_journal(&store, &run, &high).await.unwrap();
        write_journal(&store, &run, &low).await.unwrap();
        // A repeated request whose first answer was lost.
        write_journal(&store, &run, &low).await.unwrap();
        assert_eq!(read_journal(&store, &run).await.unwrap(), vec![low.clone(), high]);
        let renamed = run.journal_entry(FileId::random());
        document::create(&store, &renamed, document::to_bytes(&low).unwrap()).await.unwrap();
        assert_eq!(read_journal(&store, &run).await.unwrap_err().kind(), Kind::Corrupt);
    }
}
