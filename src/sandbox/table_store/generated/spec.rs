//! A generated table as it is asked for: `NAME=SHAPE:rows=N,seed=S[,key=STYLE][,partitions=P][,skew=PERCENT]`.

use std::fmt;
use std::str::FromStr;

use super::keys::Keys;
use super::{GeneratedTable, KeyStyle, Shape};
use crate::sandbox::table_store::schema::is_name;

/// Keys keep their width up to here.
const MAX_ROWS: u64 = 1_000_000_000_000;

/// Far more than a test needs; boundaries are computed for every request.
const MAX_PARTITIONS: u32 = 1_024;

const SHAPES: [(&str, Shape); 6] = [
    ("iot", Shape::Iot),
    ("wide", Shape::Wide),
    ("fat", Shape::Fat),
    ("sparse", Shape::Sparse),
    ("cjk", Shape::Cjk),
    ("mixed", Shape::Mixed),
];

const KEY_STYLES: [(&str, KeyStyle); 4] = [
    ("sequential", KeyStyle::Sequential),
    ("hashed", KeyStyle::Hashed),
    ("shared-prefix", KeyStyle::SharedPrefix),
    ("binary", KeyStyle::Binary),
];

fn by_name<T: Copy>(names: &[(&str, T)], name: &str, what: &str) -> Result<T, String> {
    let found = names.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let known: Vec<_> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
        format!("`{name}` is not a {what}; there are {}", known.join(", "))
    })
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}

fn number(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| format!("`{text}` is not a number"))
}

impl FromStr for GeneratedTable {
    type Err = String;

    fn from_str(text: &str) -> Result<GeneratedTable, String> {
        let wanted = || {
            format!("`{text}` is not `NAME=SHAPE:rows=N,seed=S[,key=STYLE][,partitions=P][,skew=PERCENT]`")
        };
        let (name, rest) = text.split_once('=').ok_or_else(wanted)?;
        let (shape, settings) = rest.split_once(':').ok_or_else(wanted)?;
        if !is_name(name) {
            return Err(format!("`{name}` is not a table name"));
        }
        let shape = by_name(&SHAPES, shape, "shape")?;
        let (mut rows, mut seed, mut key, mut partitions, mut skew) = (None, 0, None, 1, None);
        for setting in settings.split(',') {
            let (name, value) = setting.split_once('=').ok_or_else(wanted)?;
            match name {
                "rows" => rows = Some(number(value)?),
                "seed" => seed = number(value)?,
                "key" => key = Some(by_name(&KEY_STYLES, value, "key style")?),
                "partitions" => partitions = number(value)?,
                "skew" => skew = Some(number(value)?),
                _ => {
                    return Err(format!(
                        "`{name}` is not a setting; there are `rows`, `seed`, `key`, `partitions`, `skew`"
                    ));
                }
            }
        }
        let rows = rows.filter(|rows| *rows <= MAX_ROWS);
        let rows = rows.ok_or_else(|| format!("`rows` must be given, at most {MAX_ROWS}"))?;
        let partitions = u32::try_from(partitions).ok().filter(|count| (1..=MAX_PARTITIONS).contains(count));
        let partitions = partitions.ok_or_else(|| format!("`partitions` goes from 1 to {MAX_PARTITIONS}"))?;
        let skew = match skew.map(u8::try_from) {
            None => None,
            Some(Ok(percent @ 1..=99)) if partitions > 1 => Some(percent),
            Some(_) => return Err("`skew` goes from 1 to 99 and needs `partitions`".to_owned()),
        };
        let table = GeneratedTable { name: name.to_owned(), shape, rows, seed, key, partitions, skew };
        match Keys::new(&table).has_an_empty_partition() {
            true => Err(format!("{rows} rows do not reach for {partitions} partitions with that skew")),
            false => Ok(table),
        }
    }
}

impl fmt::Display for GeneratedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = name_of(&SHAPES, &self.shape);
        write!(f, "{}={shape}:rows={},seed={}", self.name, self.rows, self.seed)?;
        if let Some(style) = &self.key {
            write!(f, ",key={}", name_of(&KEY_STYLES, style))?;
        }
        if self.partitions > 1 {
            write!(f, ",partitions={}", self.partitions)?;
        }
        if let Some(percent) = self.skew {
            write!(f, ",skew={percent}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_read_as_they_are_printed_and_mistakes_are_named() {
        let table: GeneratedTable = "t_1=iot:rows=1_000,seed=7".parse().unwrap();
        assert_eq!(table.to_string(), "t_1=iot:rows=1000,seed=7");
        let whole = "t=fat:rows=1000,seed=7,key=shared-prefix,partitions=64,skew=80";
        assert_eq!(whole.parse::<GeneratedTable>().unwrap().to_string(), whole);
        for (text, reason) in [
            ("t", "is not `NAME="),
            ("t=iot", "is not `NAME="),
            ("1t=iot:rows=1", "is not a table name"),
            ("t=io:rows=1", "there are `iot`, `wide`, `fat`, `sparse`, `cjk`, `mixed`"),
            ("t=iot:row=1", "is not a setting"),
            ("t=iot:rows=x", "is not a number"),
            ("t=iot:seed=1", "`rows` must be given"),
            ("t=iot:rows=1,key=random", "there are `sequential`, `hashed`, `shared-prefix`, `binary`"),
            ("t=iot:rows=1,partitions=0", "goes from 1 to 1024"),
            ("t=iot:rows=1000,skew=95", "needs `partitions`"),
            ("t=iot:rows=1000,partitions=64,skew=95", "do not reach"),
        ] {
            let error = text.parse::<GeneratedTable>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
