//! [`Noise`]: names that machines query on their own.

use super::rule::{Action, Pattern};
use super::trie::{Trie, TrieBuilder, TrieRule};
use crate::wire::name::Name;

/// Names that stub resolvers make up: single labels, and names with an appended search suffix.
///
/// Noise stays blocked. It is only counted separately, so that real lookups stand out.
pub struct Noise {
    patterns: Trie,
    single_labels: bool,
}

impl Noise {
    /// Names that `patterns` cover and, with `single_labels`, names of one label.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a Pattern>, single_labels: bool) -> Self {
        let mut trie = TrieBuilder::new();
        for pattern in patterns {
            trie.insert(TrieRule::new(Action::Deny, pattern));
        }
        Self { patterns: trie.build(), single_labels }
    }

    /// True if `name` is noise.
    pub fn covers(&self, name: &Name) -> bool {
        (self.single_labels && name.labels().count() == 1) || self.patterns.find(name).is_some()
    }
}

/// Nothing is noise.
impl Default for Noise {
    fn default() -> Self {
        Self::new([], false)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn covers_suffixes_and_single_labels() {
        let patterns = [".reddog.microsoft.com", "*.corp.example"].map(|text| Pattern::parse(text).unwrap());
        let labels =
            |text: &'static str| text.split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
        let name = |text: &'static str| Name::from_labels(labels(text)).unwrap();
        for (text, with_single_labels, without) in [
            ("wpad", true, false),
            ("", false, false),
            ("pypi.org.reddog.microsoft.com", true, true),
            ("reddog.microsoft.com", true, true),
            ("notreddog.microsoft.com", false, false),
            ("microsoft.com", false, false),
            ("a.corp.example", true, true),
            ("corp.example", false, false),
        ] {
            assert_eq!(Noise::new(&patterns, true).covers(&name(text)), with_single_labels, "{text}");
            assert_eq!(Noise::new(&patterns, false).covers(&name(text)), without, "{text}");
        }
        assert!(!Noise::default().covers(&name("wpad")));
    }
}
