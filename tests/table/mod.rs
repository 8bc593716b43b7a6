//! Tables of queries and their required results.

pub(crate) mod fleet;
pub(crate) mod judge;
pub(crate) mod row;
pub(crate) mod rule_file;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use row::Row;

/// A table file: rule sets by name, and rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// Rule sets; rows that name none use `default`.
    pub(crate) sets: BTreeMap<String, RuleSet>,
    /// Rows in order.
    #[serde(rename = "row")]
    pub(crate) rows: Vec<Row>,
}

/// The settings that a row runs with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleSet {
    /// `[policy] allow`.
    #[serde(default)]
    pub(crate) allow: Vec<String>,
    /// `[policy] deny`.
    #[serde(default)]
    pub(crate) deny: Vec<String>,
    /// Sizes to fill the set up to, each in its own process; empty: the set unchanged.
    #[serde(default)]
    pub(crate) sizes: Vec<usize>,
    /// Whether the cache is on; rows repeat their questions, so mostly it is off.
    #[serde(default)]
    pub(crate) cache: bool,
    /// Files in namegate's directory.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// More settings, as TOML.
    #[serde(default)]
    pub(crate) settings: String,
}

impl Table {
    /// Reads `tests/data/NAME.toml`.
    pub(crate) fn load(name: &str) -> Self {
        let table: Self = load(name);
        let mut names: Vec<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1], "two rows of {name}.toml have one name");
        }
        table
    }
}

/// Reads a file of `tests/data`.
pub(crate) fn load<T: DeserializeOwned>(name: &str) -> T {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
