//! [`InlineRule`]: a rule written in the settings themselves.

use serde::{Serialize, Serializer};
use toml::Spanned;

use crate::config::value;
use crate::diagnostics::Section;
use crate::policy::rule::Pattern;

/// A rule written in the settings. Two are equal if their patterns are; the line is only for messages.
#[derive(Clone, Debug)]
pub struct InlineRule {
    /// The names it covers.
    pub pattern: Pattern,
    /// Its line in the settings file, counted from 1.
    pub line: u32,
}

impl InlineRule {
    /// A default rule, which is in no file.
    pub(super) fn shipped(text: &str) -> Option<Self> {
        Pattern::parse(text).ok().map(|pattern| Self { pattern, line: 0 })
    }
}

impl PartialEq for InlineRule {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Serialize for InlineRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.pattern)
    }
}

/// Reads the list of rules at `key`.
pub(super) fn inline_rules(section: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<InlineRule>> {
    let patterns = section.set(key, value::inline_rule)?;
    let rule = |pattern: Spanned<_>| InlineRule {
        line: section.faults.line(pattern.span().start),
        pattern: pattern.into_inner(),
    };
    Some(patterns.into_iter().map(rule).collect())
}
