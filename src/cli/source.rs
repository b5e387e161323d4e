//! `ots://<instance>[.<region>]/<table>`.

use std::fmt;
use std::str::FromStr;

/// Where a table is, or tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceUrl {
    pub instance: String,
    pub region: Option<String>,
    /// A name, or a pattern of names.
    pub table: String,
}

impl SourceUrl {
    /// The public endpoint of the instance, when the URL says the region.
    pub(super) fn public_endpoint(&self) -> Option<String> {
        let region = self.region.as_ref()?;
        Some(format!("https://{}.{region}.ots.aliyuncs.com", self.instance))
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let region = self.region.as_ref().map(|region| format!(".{region}")).unwrap_or_default();
        write!(f, "ots://{}{region}/{}", self.instance, self.table)
    }
}

impl FromStr for SourceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<SourceUrl, String> {
        const SHAPE: &str = "a source looks like ots://instance/table or ots://instance.cn-hangzhou/table";
        let rest = text.strip_prefix("ots://").ok_or(SHAPE)?;
        let (host, table) = rest.split_once('/').ok_or(SHAPE)?;
        let (instance, region) = match host.split_once('.') {
            Some((instance, region)) => (instance, Some(region.to_owned())),
            None => (host, None),
        };
        let named = !instance.is_empty() && !table.is_empty() && !table.contains('/');
        let fits = named && region.as_ref().is_none_or(|region| !region.is_empty() && !region.contains('.'));
        if !fits {
            return Err(SHAPE.to_owned());
        }
        Ok(SourceUrl { instance: instance.to_owned(), region, table: table.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_name_an_instance_and_a_table_and_maybe_a_region() {
        let source: SourceUrl = "ots://inst.cn-hangzhou/orders".parse().unwrap();
        assert_eq!(source.public_endpoint().unwrap(), "https://inst.cn-hangzhou.ots.aliyuncs.com");
        assert_eq!(source.to_string(), "ots://inst.cn-hangzhou/orders");
        assert_eq!("ots://inst/orders".parse::<SourceUrl>().unwrap().public_endpoint(), None);
        for wrong in ["inst/orders", "ots://inst", "ots:///t", "ots://i/", "ots://i/a/b", "oss://b/p"] {
            assert!(wrong.parse::<SourceUrl>().is_err(), "{wrong}");
        }
    }
}
