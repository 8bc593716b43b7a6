//! [`Faults`]: errors and warnings about one source, collected while it is read.

use std::collections::HashSet;
use std::ops::Range;

use crate::diagnostics::ValueError;
use crate::diagnostics::diagnostic::{Diagnostic, Severity};
use crate::diagnostics::source::Source;
use crate::util::escape::on_one_line;

/// Collects all errors and warnings about one source, so that they are reported together.
#[derive(Debug)]
pub(crate) struct Faults<'i> {
    source: &'i Source,
    /// Offset in the source of the text being read; spans are relative to it.
    base: usize,
    /// Lines with a syntax error. Other errors there are its consequences.
    broken_lines: HashSet<usize>,
    found: Vec<Diagnostic>,
}

impl<'i> Faults<'i> {
    pub(crate) fn new(source: &'i Source) -> Self {
        Self { source, base: 0, broken_lines: HashSet::new(), found: Vec::new() }
    }

    /// Makes spans relative to `base`, the start of the part of the source that is read next.
    pub(crate) fn set_base(&mut self, base: usize) {
        self.base = base;
    }

    /// The line of a byte, counted from 1.
    pub(crate) fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.source.line(self.base + offset)).unwrap_or(u32::MAX)
    }

    /// Adds a syntax error, one per line: further errors on a line follow from its first.
    pub(crate) fn syntax(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        if !self.broken_lines.insert(self.source.line(self.base + span.start)) {
            return;
        }
        let message = error.message();
        let help = if message == "duplicate key" {
            Some("remove one of the two, or merge them".to_owned())
        } else if message.starts_with("string values must be quoted") || message.starts_with("invalid float")
        {
            Some("put text between quotes: `\"…\"`".to_owned())
        } else {
            None
        };
        let message =
            message.trim_end_matches(", expected nothing").trim_end_matches(", expected literal string");
        self.push(Severity::Error, &span, message, help);
    }

    pub(crate) fn error(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        if !self.broken_lines.contains(&self.source.line(self.base + span.start)) {
            self.push(Severity::Error, span, &message.into(), help.into());
        }
    }

    pub(crate) fn warning(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.push(Severity::Warning, span, &message.into(), help.into());
    }

    /// Adds an error that a syntax error elsewhere may have caused: something is missing, or is in the wrong table.
    /// Ignored if the source has a syntax error.
    pub(crate) fn structure(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        if self.broken_lines.is_empty() {
            self.error(span, message, help);
        }
    }

    /// Adds an error about an invalid value. `span` covers the TOML string with its quotes, `text` is its content.
    pub(crate) fn value(&mut self, path: &str, span: &Range<usize>, text: &str, error: ValueError) {
        let place = error.span.map_or_else(|| span.clone(), |part| self.within_string(span, text, part));
        self.error(&place, format!("`{path}`: {}", error.message), error.help);
    }

    /// Bytes of the file that hold `part` of a string; the whole string if it has escapes.
    fn within_string(&self, span: &Range<usize>, text: &str, part: Range<usize>) -> Range<usize> {
        let written =
            self.source.text().get(self.base + span.start..self.base + span.end).unwrap_or_default();
        let quotes = written.len().saturating_sub(text.len()) / 2;
        match written.get(quotes..quotes + text.len()) {
            Some(inner) if inner == text => span.start + quotes + part.start..span.start + quotes + part.end,
            _ => span.clone(),
        }
    }

    fn push(&mut self, severity: Severity, span: &Range<usize>, message: &str, help: Option<String>) {
        self.found.push(Diagnostic {
            severity,
            file: self.source.file().to_owned(),
            span: Some(self.base + span.start..self.base + span.end),
            message: on_one_line(message),
            help,
        });
    }

    /// All diagnostics, in the order of the file.
    pub(crate) fn into_found(self) -> Vec<Diagnostic> {
        let mut found = self.found;
        found.sort_by_key(|one| one.span.as_ref().map_or(0, |span| span.start));
        found
    }
}
