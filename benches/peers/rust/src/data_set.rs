//! `NAME.pages` and `NAME.json`.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde::Deserialize;

/// A table in pages: each the `rows` of a GetRange response.
pub struct DataSet {
    pub described: Description,
    pub pages: Vec<Vec<u8>>,
}

/// What is in the pages.
#[derive(Deserialize)]
pub struct Description {
    pub rows: usize,
    pub cells: Option<usize>,
    /// Name and type, in the order of the key.
    pub primary_key: Vec<(String, String)>,
    /// Each name with each type that its cells have.
    pub columns: Vec<(String, String)>,
}

impl DataSet {
    pub fn read(folder: &Path, name: &str) -> Result<DataSet, Box<dyn Error>> {
        let described = serde_json::from_slice(&fs::read(folder.join(format!("{name}.json")))?)?;
        let content = fs::read(folder.join(format!("{name}.pages")))?;
        let (mut rest, mut pages) = (content.as_slice(), Vec::new());
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = u32::from_le_bytes(*length) as usize;
            let (page, after) = after.split_at_checked(length).ok_or("a page is cut off")?;
            pages.push(page.to_vec());
            rest = after;
        }
        Ok(DataSet { described, pages })
    }
}
