//! [`Report`]: everything found wrong, with the texts it was found in, drawn for people.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use crate::diagnostics::diagnostic::{Diagnostic, Severity};
use crate::diagnostics::source::Source;

/// Most diagnostics drawn at once; the others are counted. A file of a million bad lines has one cause, not a million.
pub const MAX_DRAWN: usize = 200;

/// Reads the file at `path`. Errors: it cannot be read, or it is not UTF-8.
pub fn read_source(path: &Path) -> Result<Source, Report> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Report::from(Diagnostic::unreadable(&file, &error)))?;
    String::from_utf8(bytes).map(|text| Source::new(&file, text)).map_err(|error| {
        let bad = error.utf8_error().valid_up_to();
        let diagnostic = Diagnostic::error(&file, "the file is not UTF-8 from here on")
            .with_help("save it as UTF-8".to_owned())
            .at(bad..bad + char::REPLACEMENT_CHARACTER.len_utf8());
        // The replacement characters of the lossy text come after `bad`, which therefore stays right.
        Report::new(Source::new(&file, String::from_utf8_lossy(error.as_bytes())), vec![diagnostic])
    })
}

/// Everything found wrong in one or several files, with their texts.
#[derive(Clone, Debug, Default)]
pub struct Report {
    sources: BTreeMap<String, Source>,
    diagnostics: Vec<Diagnostic>,
}

#[cfg(test)]
impl Report {
    /// One line for each diagnostic: place, severity, message and help.
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
    /// What was found in one source. Without diagnostics the text is not kept.
    pub fn new(source: Source, diagnostics: Vec<Diagnostic>) -> Self {
        let sources = match diagnostics.is_empty() {
            true => BTreeMap::new(),
            false => BTreeMap::from([(source.file().to_owned(), source)]),
        };
        Self { sources, diagnostics }
    }

    /// Adds what another report found.
    pub fn append(&mut self, other: Self) {
        self.sources.extend(other.sources);
        self.diagnostics.extend(other.diagnostics);
    }

    /// Adds a diagnostic about a text that the report already has, or about none.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// In the order found: file by file.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// True where nothing was found.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// True where something was found that refuses its file.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Line and column where a diagnostic's span begins, both counted from 1.
    pub fn place(&self, diagnostic: &Diagnostic) -> Option<(usize, usize)> {
        let span = diagnostic.span.as_ref()?;
        Some(self.sources.get(&diagnostic.file)?.place(span.start))
    }

    /// Draws each diagnostic with `file:line:column`, the source line, a caret and the remedy.
    ///
    /// At most [`MAX_DRAWN`] are drawn. Without `color` the text holds no escape sequences.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let drawn = self.diagnostics.iter().take(MAX_DRAWN).map(|one| renderer.render(&[self.group(one)]));
        let mut text = drawn.collect::<Vec<_>>().join("\n\n");
        if let Some(more @ 1..) = self.diagnostics.len().checked_sub(MAX_DRAWN) {
            text.push_str(&format!("\n\n… and {more} more"));
        }
        text
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

/// The line a span begins on, with the span's part of that line marked.
///
/// The renderer gets this one line and not the file, so that each diagnostic costs the same in a file of any size.
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
