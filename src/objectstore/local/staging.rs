//! Files that become visible whole and on the disk: written as `name#N`, flushed, then renamed or linked.
//!
//! The same names that `object_store`'s local file system uses, so that its multipart uploads and our puts leave one
//! kind of file behind when the process is killed.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path as FilePath, PathBuf};

use bytes::Bytes;
use object_store::path::Path;

use crate::objectstore::OpenUpload;

/// Writes a file so that it is there whole or not at all, also after a power failure. `create` refuses to replace one,
/// with [`ErrorKind::AlreadyExists`].
pub(super) fn write(path: &FilePath, root: &FilePath, content: &[Bytes], create: bool) -> io::Result<()> {
    let (mut file, staging) = new_staging_file(path)?;
    let written = content
        .iter()
        .try_for_each(|piece| file.write_all(piece))
        .and_then(|()| file.sync_all())
        .and_then(|()| if create { fs::hard_link(&staging, path) } else { fs::rename(&staging, path) });
    drop(file);
    if create || written.is_err() {
        // Left behind, it is found as an open upload.
        let _ = fs::remove_file(&staging);
    }
    written?;
    sync_directories(path, root)
}

fn new_staging_file(path: &FilePath) -> io::Result<(File, PathBuf)> {
    let mut number = 1u32;
    let mut made_directories = false;
    loop {
        let staging = staging_path(path, &number.to_string());
        match OpenOptions::new().write(true).create_new(true).open(&staging) {
            Ok(file) => return Ok((file, staging)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < u32::MAX => number += 1,
            Err(error) if error.kind() == ErrorKind::NotFound && !made_directories => {
                made_directories = true;
                if let Some(directory) = path.parent() {
                    fs::create_dir_all(directory)?;
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn staging_path(path: &FilePath, number: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("#");
    name.push(number);
    name.into()
}

/// Flushes every staging file of an object: before one of them is renamed by somebody else's code.
pub(super) fn sync_staged(path: &FilePath) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let staged = entry.file_name();
        let rest = staged.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        if rest.is_some_and(|rest| rest.first() == Some(&b'#')) {
            match File::open(entry.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                file => file?.sync_all()?,
            }
        }
    }
    Ok(())
}

/// Flushes the directories that name a file, up to the root.
pub(super) fn sync_directories(path: &FilePath, root: &FilePath) -> io::Result<()> {
    for directory in path.ancestors().skip(1).take_while(|directory| directory.starts_with(root)) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// The staging files below a directory. Does not follow links to directories.
pub(super) fn list(root: &FilePath, below: PathBuf) -> io::Result<Vec<OpenUpload>> {
    let mut found = Vec::new();
    let mut directories = VecDeque::from([below]);
    while let Some(directory) = directories.pop_front() {
        // A directory or file that vanishes meanwhile is no concern of ours.
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_dir() {
                directories.push_back(entry.path());
            } else if metadata.is_file()
                && let Some((path, upload_id)) = staged_for(root, &entry.path())
            {
                let initiated =
                    jiff::Timestamp::try_from(metadata.modified()?).unwrap_or(jiff::Timestamp::MIN);
                found.push(OpenUpload { path, upload_id, initiated });
            }
        }
    }
    Ok(found)
}

/// Removes a staging file; one that is gone already is a success.
pub(super) fn remove(path: &FilePath, number: &str) -> io::Result<()> {
    match fs::remove_file(staging_path(path, number)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The number after the `#` of a staging file's name.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The object and the number of a staging file, `None` if the file is not one.
fn staged_for(root: &FilePath, file: &FilePath) -> Option<(Path, String)> {
    let name = file.strip_prefix(root).ok()?.to_str()?;
    let (name, number) = name.rsplit_once('#')?;
    if !is_number(number) || name.is_empty() || name.ends_with('/') {
        return None;
    }
    Some((Path::parse(name).ok()?, number.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_created_once_and_replaced_when_asked_and_nothing_is_left_behind() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/c");
        let write = |text: &'static str, create| write(&path, root.path(), &[Bytes::from(text)], create);
        write("one", true).unwrap();
        assert_eq!(write("two", true).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write("three", false).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert!(list(root.path(), root.path().to_owned()).unwrap().is_empty());
    }

    #[test]
    fn a_stale_staging_file_is_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(root.path().join("a#1"), b"half").unwrap();
        write(&path, root.path(), &[Bytes::from_static(b"x")], false).unwrap();
        let open = list(root.path(), root.path().to_owned()).unwrap();
        assert_eq!(open.iter().map(|upload| upload.upload_id.as_str()).collect::<Vec<_>>(), ["1"]);
    }
}
