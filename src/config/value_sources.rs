//! [`ValueSource`]: where a setting's value comes from, if it is no default.

use std::collections::BTreeMap;
use std::fmt;

use toml::de::{DeTable, DeValue};

use crate::diagnostics::Source;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// A line of the settings file.
    File {
        /// The file's name in messages.
        file: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// The command line, an environment variable or an inherited socket, in words.
    Outside(String),
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Outside(what) => f.write_str(what),
        }
    }
}

/// The sources of values by the path of their setting, such as `server.listen`. The entries of a repeated table are
/// numbered: `client.0.name`.
pub type ValueSources = BTreeMap<String, ValueSource>;

/// The values that `source` sets. Faults were reported when it was read.
pub(super) fn values_of(source: &Source) -> ValueSources {
    let mut found = ValueSources::new();
    let (table, _) = DeTable::parse_recoverable(source.text());
    add_table("", table.get_ref(), source, &mut found);
    found
}

fn add_table(prefix: &str, table: &DeTable<'_>, source: &Source, found: &mut ValueSources) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(table) => add_table(&format!("{path}."), table, source, found),
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                for (index, item) in items.iter().enumerate() {
                    if let DeValue::Table(table) = item.get_ref() {
                        add_table(&format!("{path}.{index}."), table, source, found);
                    }
                }
            }
            _ => {
                let (file, line) = (source.file().to_owned(), source.line(key.span().start));
                found.insert(path, ValueSource::File { file, line });
            }
        }
    }
}

/// `toml`, settings as [`Settings::to_toml`](super::Settings::to_toml) writes them, with the source of each value that is
/// no default as a comment.
pub fn with_sources(toml: &str, sources: &ValueSources) -> String {
    let mut section = String::new();
    let mut repeated: BTreeMap<String, usize> = BTreeMap::new();
    let mut text = String::new();
    for line in toml.lines() {
        text.push_str(line);
        if let Some(name) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
            let index = repeated.entry(name.to_owned()).and_modify(|index| *index += 1).or_default();
            section = format!("{name}.{index}.");
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = match name.split_once('.') {
                Some((table, key)) if repeated.contains_key(table) => {
                    format!("{table}.{}.{key}.", repeated[table])
                }
                _ => format!("{name}."),
            };
        } else if let Some((key, _)) = line.split_once(" = ")
            && let Some(source) = sources.get(&format!("{section}{key}"))
        {
            text.push_str(&format!("  # {source}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_followed_by_their_sources() {
        let text = "[server]\nworkers = 2\n[parameters]\nregion = [\"a\"]\n[[client]]\nname = \"x\"\n\
                    parameters = { acr = [\"b\"] }\n[[client]]\nname = \"y\"\n";
        let mut sources = values_of(&Source::new("a.toml", text));
        sources.insert("policy.mode".to_owned(), ValueSource::Outside("the command line".to_owned()));
        let effective = "[server]\nworkers = 2\nidentity = \"\"\n\n[policy]\nmode = \"observe\"\n\n[parameters]\n\
                         region = [\"a\"]\n\n[[client]]\nname = \"x\"\n\n[client.parameters]\nacr = [\"b\"]\n\n\
                         [[client]]\nname = \"y\"\n";
        let wanted = "[server]\nworkers = 2  # a.toml:2\nidentity = \"\"\n\n[policy]\n\
                      mode = \"observe\"  # the command line\n\n[parameters]\nregion = [\"a\"]  # a.toml:4\n\n\
                      [[client]]\nname = \"x\"  # a.toml:6\n\n[client.parameters]\nacr = [\"b\"]  # a.toml:7\n\n\
                      [[client]]\nname = \"y\"  # a.toml:9\n";
        assert_eq!(with_sources(effective, &sources), wanted);
    }
}
