//! [`SuffixTable`]: a static table of names, searchable from names above or below them.

use rapidhash::RapidHashMap;

use crate::wire::name::Name;

/// A row: a name and its description.
pub(super) type SuffixRow = (&'static str, &'static str);

/// Rows by name.
pub(super) struct SuffixTable {
    rows: RapidHashMap<Box<[u8]>, SuffixRow>,
    /// Every parent of a row's name, with the first such row.
    above: RapidHashMap<Box<[u8]>, SuffixRow>,
}

impl SuffixTable {
    /// The table of `rows`. Skips rows with an invalid name; tests ensure that there are none.
    pub(super) fn new(rows: impl IntoIterator<Item = SuffixRow>) -> Self {
        let mut table = Self { rows: RapidHashMap::default(), above: RapidHashMap::default() };
        for row in rows {
            let Ok(name) = Name::from_labels(row.0.split('.').map(str::as_bytes)) else { continue };
            for ancestor in suffixes(&name).skip(1) {
                table.above.entry(ancestor.into()).or_insert(row);
            }
            table.rows.insert(name.as_bytes().into(), row);
        }
        table
    }

    /// The row with the longest name at or above `name`.
    pub(super) fn at_or_above(&self, name: &Name) -> Option<SuffixRow> {
        suffixes(name).find_map(|suffix| self.rows.get(suffix).copied())
    }

    /// A row whose name is below `name`.
    pub(super) fn below(&self, name: &Name) -> Option<SuffixRow> {
        self.above.get(name.as_bytes()).copied()
    }
}

/// The name and its parents in wire format, longest first, without the root.
fn suffixes(name: &Name) -> impl Iterator<Item = &[u8]> {
    let mut rest = name.as_bytes();
    std::iter::from_fn(move || {
        let suffix = rest;
        let label = usize::from(*rest.first()?);
        rest = rest.get(1 + label..)?;
        (label > 0).then_some(suffix)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_are_found_from_below_and_from_above() {
        let table = SuffixTable::new([("b.example", "one"), ("a.b.example", "two")]);
        let name = |text: &str| Name::from_labels(text.split('.').map(str::as_bytes)).unwrap();
        for (text, at_or_above, below) in [
            ("b.example", Some("one"), Some("two")),
            ("a.b.example", Some("two"), None),
            ("x.y.a.b.example", Some("two"), None),
            ("c.b.example", Some("one"), None),
            ("example", None, Some("one")),
            ("ab.example", None, None),
        ] {
            let what = |row: Option<SuffixRow>| row.map(|(_, what)| what);
            assert_eq!(what(table.at_or_above(&name(text))), at_or_above, "{text}");
            assert_eq!(what(table.below(&name(text))), below, "{text}");
        }
        assert_eq!(suffixes(&Name::ROOT).count(), 0);
    }
}
