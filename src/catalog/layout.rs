//! Object names, made and parsed here and nowhere else.
//!
//! ```text
//! <vault>/otsvault.json
//! <vault>/<instance>/<table>/lease/<number>.json
//! <vault>/<instance>/<table>/delta-lease/<number>.json
//! <vault>/<instance>/<table>/tombstone/<run>.json
//! <vault>/<instance>/<table>/<chain>/base/<run>/started.json
//!                                              /journal/<file id>.json
//!                                              /data/<file id>.parquet
//!                                              /records/<file id>.parquet      (exact bases)
//!                                              /files-<hash>.jsonl.zst
//!                                              /manifest.json
//!                                              /gap.json                       (where the Stream broke)
//! <vault>/<instance>/<table>/<chain>/delta/<sequence>-<run>/records/<file id>.parquet
//!                                                          /files-<hash>.jsonl.zst
//!                                                          /manifest.json
//!                                                          /gap.json
//! ```
//! The chain's id is the id of the run that wrote its base.

use object_store::path::Path;

use super::ids::{FileId, RunId};
use crate::{Error, Kind, Result};

/// The object that says that a prefix is a vault, and of which format.
pub(super) const VAULT_MARKER: &str = "otsvault.json";

/// One table's place in a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePath {
    vault: Path,
    /// Instance name.
    pub instance: String,
    /// Table name.
    pub table: String,
}

impl TablePath {
    /// # Errors
    /// [`Kind::Usage`] when a name is not one that Table Store allows; such a name never becomes a path.
    pub fn new(vault: &Path, instance: &str, table: &str) -> Result<TablePath> {
        check_name("instance", instance, |byte| {
            byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
        })?;
        check_name("table", table, |byte| byte.is_ascii_alphanumeric() || byte == b'_')?;
        Ok(TablePath { vault: vault.clone(), instance: instance.to_owned(), table: table.to_owned() })
    }

    /// Prefix of everything of this table.
    pub fn prefix(&self) -> Path {
        self.vault.clone().join(self.instance.as_str()).join(self.table.as_str())
    }

    /// Where the leases for bases and removals are.
    pub(super) fn leases(&self) -> Path {
        self.prefix().join("lease")
    }

    /// Where the leases for deltas are.
    pub(super) fn delta_leases(&self) -> Path {
        self.prefix().join("delta-lease")
    }

    /// Where the tombstones are.
    pub(super) fn tombstones(&self) -> Path {
        self.prefix().join("tombstone")
    }

    /// The tombstone of a run: while it is there nobody sees the run.
    pub fn tombstone(&self, run: &RunId) -> Path {
        self.tombstones().join(format!("{run}.json"))
    }

    /// Where the objects of the table are that are not in a chain: leases and tombstones.
    pub fn side_prefixes(&self) -> [Path; 3] {
        [self.leases(), self.delta_leases(), self.tombstones()]
    }

    /// What an object of this table is, by its name alone; `None` for a name that otsvault never gives.
    pub fn parse(&self, path: &Path) -> Option<TableObject> {
        let parts: Vec<_> = path.prefix_match(&self.prefix())?.collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match *parts.as_slice() {
            ["lease", _] => lease_number(path).map(TableObject::Lease),
            ["delta-lease", _] => lease_number(path).map(TableObject::DeltaLease),
            ["tombstone", name] => json_id(name).map(TableObject::Tombstone),
            [chain, "base", run, ref object @ ..] => {
                let run = self.base_in_chain(&chain.parse().ok()?, &run.parse().ok()?);
                RunObject::parse(object).map(|object| TableObject::OfRun(run, object))
            }
            [chain, "delta", run, ref object @ ..] => {
                let run = self.parse_delta(&chain.parse().ok()?, run)?;
                RunObject::parse(object).map(|object| TableObject::OfRun(run, object))
            }
            _ => None,
        }
    }

    /// The place of a base run, which starts the chain of the same id.
    pub fn base(&self, run: &RunId) -> RunPath {
        self.base_in_chain(run, run)
    }

    /// The place of a base run in a chain.
    pub fn base_in_chain(&self, chain: &RunId, run: &RunId) -> RunPath {
        let prefix = self.bases(chain).join(run.as_str());
        RunPath { prefix, run: run.clone(), chain: chain.clone(), sequence: 0 }
    }

    /// Where the deltas of a chain are.
    pub fn deltas(&self, chain: &RunId) -> Path {
        self.chain(chain).join("delta")
    }

    /// The place of a delta run; `sequence` counts from 1.
    pub fn delta(&self, chain: &RunId, sequence: u64, run: &RunId) -> RunPath {
        let prefix = self.deltas(chain).join(format!("{sequence:010}-{run}"));
        RunPath { prefix, run: run.clone(), chain: chain.clone(), sequence }
    }

    /// The place of the delta run whose directory has this name; `None` for any other name.
    pub(super) fn parse_delta(&self, chain: &RunId, name: &str) -> Option<RunPath> {
        let (sequence, run) = name.split_once('-')?;
        let path = self.delta(chain, sequence.parse().ok()?, &run.parse().ok()?);
        (path.sequence > 0 && path.prefix.filename() == Some(name)).then_some(path)
    }

    /// Where the bases of a chain are.
    pub fn bases(&self, chain: &RunId) -> Path {
        self.chain(chain).join("base")
    }

    /// Where everything of a chain is.
    pub fn chain(&self, chain: &RunId) -> Path {
        self.prefix().join(chain.as_str())
    }
}

/// One run's place in a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPath {
    prefix: Path,
    /// The run.
    pub run: RunId,
    /// The chain it belongs to.
    pub chain: RunId,
    /// Its number in the chain: 0 for the base.
    pub sequence: u64,
}

impl RunPath {
    /// Whether it is a run of this table, by where it is.
    pub fn is_of(&self, instance: &str, table: &str) -> bool {
        // `…/<instance>/<table>/<chain>/<base or delta>/<run>`.
        let names: Vec<_> = self.prefix.parts().collect();
        let at = |from_end: usize| names.iter().rev().nth(from_end).map(AsRef::as_ref);
        (at(4), at(3)) == (Some(instance), Some(table))
    }

    /// Prefix of everything of this run.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// What the run is bound to.
    pub fn started(&self) -> Path {
        self.prefix.clone().join("started.json")
    }

    /// Where the data files are.
    pub fn data(&self) -> Path {
        self.prefix.clone().join("data")
    }

    /// One data file.
    pub fn data_file(&self, file: FileId) -> Path {
        self.data().join(format!("{file}.parquet"))
    }

    /// Where the files of Stream records are: those of a delta run, or of delta 0 in an exact base.
    pub fn records(&self) -> Path {
        self.prefix.clone().join("records")
    }

    /// One file of Stream records.
    pub fn record_file(&self, file: FileId) -> Path {
        self.records().join(format!("{file}.parquet"))
    }

    /// Where the journal entries are.
    pub fn journal(&self) -> Path {
        self.prefix.clone().join("journal")
    }

    /// The journal entry of one closed file.
    pub fn journal_entry(&self, file: FileId) -> Path {
        self.journal().join(format!("{file}.json"))
    }

    /// The file list of this SHA-256: the name has its first 16 digits, so that attempts that differ never meet.
    pub(super) fn file_list(&self, sha256: &[u8; 32]) -> Path {
        self.prefix.clone().join(format!("files-{}.jsonl.zst", FileListId::of(sha256)))
    }

    /// Where it says that what follows this run is gone.
    pub fn gap(&self) -> Path {
        self.prefix.clone().join("gap.json")
    }

    /// The manifest: the commit.
    pub fn manifest(&self) -> Path {
        self.prefix.clone().join("manifest.json")
    }
}

/// What an object below a table's prefix is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableObject {
    /// A lease, by its number.
    Lease(u64),
    /// A lease for deltas, by its number.
    DeltaLease(u64),
    /// The tombstone of a run.
    Tombstone(RunId),
    /// An object of a run.
    OfRun(RunPath, RunObject),
}

/// What an object of a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunObject {
    /// `started.json`.
    Started,
    /// The journal entry of a file.
    Journal(FileId),
    /// A data file.
    Data(FileId),
    /// A file of Stream records.
    Records(FileId),
    /// A file list, of this attempt to commit or an earlier one.
    FileList(FileListId),
    /// The mark of a gap behind the run.
    Gap,
    /// The manifest.
    Manifest,
}

impl RunObject {
    fn parse(parts: &[&str]) -> Option<RunObject> {
        match *parts {
            ["started.json"] => Some(RunObject::Started),
            ["manifest.json"] => Some(RunObject::Manifest),
            ["gap.json"] => Some(RunObject::Gap),
            ["journal", name] => json_id(name).map(RunObject::Journal),
            ["data", name] => name.strip_suffix(".parquet")?.parse().ok().map(RunObject::Data),
            ["records", name] => name.strip_suffix(".parquet")?.parse().ok().map(RunObject::Records),
            [name] => {
                let hash = name.strip_prefix("files-")?.strip_suffix(".jsonl.zst")?;
                hash.parse().ok().map(|FileId(hash)| RunObject::FileList(FileListId(hash)))
            }
            _ => None,
        }
    }
}

/// The first 64 bits of a file list's SHA-256, which are in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileListId(u64);

impl FileListId {
    /// The id of the file list that has this SHA-256.
    pub fn of(sha256: &[u8; 32]) -> FileListId {
        let [a, b, c, d, e, f, g, h, ..] = *sha256;
        FileListId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl std::fmt::Display for FileListId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

fn json_id<T: std::str::FromStr>(name: &str) -> Option<T> {
    name.strip_suffix(".json")?.parse().ok()
}

/// The file id of a data file's or a journal entry's path; `None` for any other object.
pub(super) fn file_id(path: &Path) -> Option<FileId> {
    let name = path.filename()?;
    name.strip_suffix(".parquet").or_else(|| name.strip_suffix(".json"))?.parse().ok()
}

/// A lease in its folder; each acquisition has a number of its own.
pub(super) fn lease_path(folder: &Path, number: u64) -> Path {
    folder.clone().join(format!("{number:010}.json"))
}

/// The number of a lease's path; `None` for any other object.
pub(super) fn lease_number(path: &Path) -> Option<u64> {
    let digits = path.filename()?.strip_suffix(".json")?;
    let fits = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| digits.parse().ok()).flatten()
}

fn check_name(what: &str, name: &str, allowed: impl Fn(u8) -> bool) -> Result<()> {
    let fits = !name.is_empty() && name.len() <= 255 && name.bytes().all(allowed);
    if fits {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("use the {what} name {name:?}"))
        .because("names are 1 to 255 letters, digits and `_` (instances also `-`)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_back_and_hostile_names_never_become_paths() {
        let vault = Path::from("backups/prod");
        let table = TablePath::new(&vault, "inst-1", "Orders_2").unwrap();
        let run: RunId = "20261122t161530z-9f3a2c71".parse().unwrap();
        let file: FileId = "00ff00ff00ff00ff".parse().unwrap();
        let base = table.base(&run);
        assert_eq!(
            base.data_file(file).as_ref(),
            "backups/prod/inst-1/Orders_2/20261122t161530z-9f3a2c71/base/20261122t161530z-9f3a2c71/data/\
             00ff00ff00ff00ff.parquet"
        );
        assert_eq!(file_id(&base.data_file(file)), Some(file));
        assert_eq!(file_id(&base.journal_entry(file)), Some(file));
        assert_eq!(file_id(&base.manifest()), None);
        assert_eq!(lease_number(&lease_path(&table.leases(), 17)), Some(17));
        assert_eq!(lease_number(&base.manifest()), None);
        let of_base = |object| Some(TableObject::OfRun(base.clone(), object));
        let list = FileListId::of(&[0xab; 32]);
        for (path, object) in [
            (lease_path(&table.leases(), 17), Some(TableObject::Lease(17))),
            (lease_path(&table.delta_leases(), 3), Some(TableObject::DeltaLease(3))),
            (table.tombstone(&run), Some(TableObject::Tombstone(run.clone()))),
            (base.started(), of_base(RunObject::Started)),
            (base.manifest(), of_base(RunObject::Manifest)),
            (base.gap(), of_base(RunObject::Gap)),
            (base.journal_entry(file), of_base(RunObject::Journal(file))),
            (base.data_file(file), of_base(RunObject::Data(file))),
            (base.file_list(&[0xab; 32]), of_base(RunObject::FileList(list))),
            (base.record_file(file), of_base(RunObject::Records(file))),
            (
                table.delta(&run, 7, &run).record_file(file),
                Some(TableObject::OfRun(table.delta(&run, 7, &run), RunObject::Records(file))),
            ),
            (table.deltas(&run).join(format!("7-{run}")).join("manifest.json"), None),
            (table.deltas(&run).join(format!("0000000000-{run}")).join("manifest.json"), None),
            (base.prefix().clone(), None),
            (base.data(), None),
            (base.data().join("00ff00ff00ff00ff.parquet.bak"), None),
            (base.data().join("00FF00FF00FF00FF.parquet"), None),
            (base.prefix().clone().join("notes.txt"), None),
            (table.leases().join("1.json"), None),
            (table.prefix().join("mine").join("base").join(run.as_str()).join("started.json"), None),
            (Path::from("backups/prod/inst-1/Orders").join("lease").join("0000000001.json"), None),
        ] {
            assert_eq!(table.parse(&path), object, "{path}");
        }
        for hostile in ["", "..", "a/b", "a\0", "é", "a%2e"] {
            assert_eq!(TablePath::new(&vault, "inst", hostile).unwrap_err().kind(), Kind::Usage);
        }
    }
}
