//! [`Report`]: diagnostics with their source texts, rendered for people.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use crate::diagnostics::diagnostic::{Diagnostic, Severity};
use crate::diagnostics::source::Source;
use crate::util::escape::on_one_line;

/// Maximum diagnostics rendered at once; the others are counted. A million bad lines have one cause, not a million.
pub const MAX_DRAWN: usize = 200;

/// Reads the file at `path`. Errors: it cannot be read, or is not UTF-8.
pub fn read_source(path: &Path) -> Result<Source, Report> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Report::from(Diagnostic::unreadable(&file, &error)))?;
    source_of(&file, bytes)
}

/// The text of `bytes`; `file` is its name in messages. Errors: it is not UTF-8.
pub fn source_of(file: &str, bytes: Vec<u8>) -> Result<Source, Report> {
    String::from_utf8(bytes).map(|text| Source::new(file, text)).map_err(|error| {
        let bad = error.utf8_error().valid_up_to();
        let diagnostic = Diagnostic::error(file, "the file is not UTF-8 from here on")
            .with_help("save it as UTF-8".to_owned())
            .at(bad..bad + char::REPLACEMENT_CHARACTER.len_utf8());
        // Replacement characters in the lossy text come after `bad`, so that the offset stays valid.
        Report::new(Source::new(file, String::from_utf8_lossy(error.as_bytes())), vec![diagnostic])
    })
}

/// Diagnostics about one or several files, with their texts.
#[derive(Clone, Debug, Default)]
pub struct Report {
    sources: BTreeMap<String, Source>,
    diagnostics: Vec<Diagnostic>,
}

#[cfg(test)]
impl Report {
    /// One line for each diagnostic: location, severity, message and help.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |one: &Diagnostic| {
            let (line, column) = self.place(one).unwrap_or_default();
            let help = one.help.as_ref().map(|help| format!(" | {help}")).unwrap_or_default();
            format!("{line}:{column} {:?} {}{help}", one.severity, one.message)
        };
        self.diagnostics().iter().map(line).collect()
    }
}

impl Report {
    /// Diagnostics about one source. Without diagnostics, the text is dropped.
    pub fn new(source: Source, diagnostics: Vec<Diagnostic>) -> Self {
        let sources = match diagnostics.is_empty() {
            true => BTreeMap::new(),
            false => BTreeMap::from([(source.file().to_owned(), source)]),
        };
        Self { sources, diagnostics }
    }

    /// Adds the diagnostics of another report.
    pub fn append(&mut self, other: Self) {
        self.sources.extend(other.sources);
        self.diagnostics.extend(other.diagnostics);
    }

    /// Adds a diagnostic about a text that the report already has, or about no text.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// All diagnostics, file by file.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// True if there are no diagnostics.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// True if any diagnostic is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Line and column of the start of a diagnostic's span, both counted from 1.
    pub fn place(&self, diagnostic: &Diagnostic) -> Option<(usize, usize)> {
        let span = diagnostic.span.as_ref()?;
        Some(self.sources.get(&diagnostic.file)?.place(span.start))
    }

    /// Renders each diagnostic with `file:line:column`, the source line, a caret and the hint.
    ///
    /// At most [`MAX_DRAWN`] are rendered. Without `color` the text has no escape sequences.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let drawn = self.diagnostics.iter().take(MAX_DRAWN).map(|one| renderer.render(&[self.group(one)]));
        let mut text = drawn.collect::<Vec<_>>().join("\n\n");
        if let Some(more @ 1..) = self.diagnostics.len().checked_sub(MAX_DRAWN) {
            text.push_str(&format!("\n\n… and {more} more"));
        }
        text
    }

    /// One line for each diagnostic of this severity, at most [`MAX_DRAWN`]: place, message and hint.
    pub fn log_lines(&self, severity: Severity) -> Vec<String> {
        let line = |one: &Diagnostic| {
            let place = match self.place(one) {
                Some((line, column)) => format!("{}:{line}:{column}: ", one.file),
                None if one.file.is_empty() => String::new(),
                None => format!("{}: ", one.file),
            };
            let help = one.help.as_ref().map(|help| format!("; help: {help}")).unwrap_or_default();
            on_one_line(&format!("{place}{}{help}", one.message))
        };
        let mut wanted = self.diagnostics.iter().filter(|one| one.severity == severity);
        let mut lines: Vec<String> = wanted.by_ref().take(MAX_DRAWN).map(line).collect();
        match wanted.count() {
            0 => {}
            more => lines.push(format!("… and {more} more")),
        }
        lines
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(diagnostic.message.as_str());
        let source = self.sources.get(&diagnostic.file);
        let mut elements: Vec<Element<'a>> = Vec::new();
        if let (Some(span), Some(source)) = (&diagnostic.span, source) {
            elements.push(snippet(source, span).into());
        } else if !diagnostic.file.is_empty() {
            elements.push(Origin::path(diagnostic.file.as_str()).into());
        }
        if let Some(help) = &diagnostic.help {
            elements.push(Level::HELP.message(normalize_untrusted_str(help)).into());
        }
        Group::with_title(title).elements(elements)
    }
}

/// The first line of a span, with the span's part of that line marked.
///
/// The renderer gets only this line, so that the cost of a diagnostic does not depend on the size of the file.
fn snippet<'a>(source: &'a Source, span: &Range<usize>) -> Snippet<'a, Annotation<'a>> {
    let line = source.line(span.start);
    let range = source.line_range(line);
    let text = source.text().get(range.clone()).unwrap_or_default();
    let within = |offset: usize| {
        let offset = offset.saturating_sub(range.start).min(text.len());
        (0..=offset).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
    };
    let marked = AnnotationKind::Primary.span(within(span.start)..within(span.end));
    Snippet::source(text).line_start(line).path(source.file()).annotation(marked)
}

impl From<Diagnostic> for Report {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { sources: BTreeMap::new(), diagnostics: vec![diagnostic] }
    }
}

/// [`Report::render`] without color.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
