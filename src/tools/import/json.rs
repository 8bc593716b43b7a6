//! [`Json`]: a value of a JSON file with its path, for error messages.

use serde_json::Value;

use crate::diagnostics::{Diagnostic, Report, Source};
use crate::util::escape::on_one_line;

/// A value and its path.
#[derive(Clone, Debug)]
pub(super) struct Json<'v> {
    value: &'v Value,
    path: String,
    file: &'v str,
}

/// Parses the whole text.
///
/// Errors: it is not JSON, with the place; or it is only one page of a list.
pub(super) fn parse(source: &Source) -> Result<Value, Report> {
    let text = source.text().trim_start_matches('\u{feff}');
    let value = serde_json::from_str(text).map_err(|error| {
        let skipped = if error.line() == 1 { source.text().len() - text.len() } else { 0 };
        let line = if error.line() == 1 { 0..0 } else { source.line_range(error.line()) };
        let at = (line.start + skipped + error.column().saturating_sub(1)).min(source.text().len());
        let help = match error.is_eof() {
            true => "save the command's whole output: the file ends too early",
            false => "save the command's output unchanged, with `--output json`",
        };
        let message = format!("invalid JSON: {error}");
        let diagnostic = Diagnostic::error(source.file(), message).with_help(help.to_owned()).at(at..at + 1);
        Report::new(source.clone(), vec![diagnostic])
    })?;
    match Json::root(&value, source).field("nextLink") {
        // Later pages may hold entries that matter.
        Some(link) if link.value.as_str() != Some("") => Err(link.fault(
            "the list continues on another page",
            "save all pages: `az … list` follows the links, `az rest` does not",
        )),
        _ => Ok(value),
    }
}

impl<'v> Json<'v> {
    /// The root value of a file.
    pub(super) fn root(value: &'v Value, source: &'v Source) -> Self {
        Self { value, path: String::new(), file: source.file() }
    }

    /// Its path, such as `value[0].properties`; empty for the root.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    fn child(&self, value: &'v Value, step: &str) -> Self {
        Self { value, path: format!("{}{step}", self.path), file: self.file }
    }

    /// The field `name`, in upper or lower case, because Azure's APIs differ. `None` if it is null.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        let (key, value) = self.value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        let dot = if self.path.is_empty() { "" } else { "." };
        (!value.is_null()).then(|| self.child(value, &format!("{dot}{key}")))
    }

    /// The field `name`, here or in `properties`: the REST API nests fields that `az` flattens.
    pub(super) fn property(&self, name: &str) -> Option<Self> {
        self.field(name).or_else(|| self.field("properties")?.field(name))
    }

    /// The field `name`; an error if it is missing.
    pub(super) fn required(&self, name: &str, help: &str) -> Result<Self, Report> {
        self.field(name).ok_or_else(|| match self.value.is_object() {
            true => self.fault(format!("`{name}` is missing"), help),
            false => self.expected("an object", help),
        })
    }

    /// The field names of an object; empty for any other value.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'v str> + use<'v> {
        self.value.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str))
    }

    pub(super) fn is_array(&self) -> bool {
        self.value.is_array()
    }

    /// The elements of an array.
    pub(super) fn elements(&self, help: &str) -> Result<Vec<Self>, Report> {
        let elements = self.value.as_array().ok_or_else(|| self.expected("an array", help))?;
        Ok((0..)
            .zip(elements)
            .map(|(index, value): (usize, _)| self.child(value, &format!("[{index}]")))
            .collect())
    }

    pub(super) fn text(&self, help: &str) -> Result<&'v str, Report> {
        self.value.as_str().ok_or_else(|| self.expected("a string", help))
    }

    /// A whole number from 0 to `most`.
    pub(super) fn number(&self, most: u64, help: &str) -> Result<u64, Report> {
        let number = self.value.as_u64().filter(|number| *number <= most);
        number.ok_or_else(|| self.expected(&format!("a number up to {most}"), help))
    }

    fn expected(&self, what: &str, help: &str) -> Report {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "another number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        let found = if found == "another number" && !what.contains("number") { "a number" } else { found };
        self.fault(format!("expected {what}, found {found}"), help)
    }

    /// An error about this value.
    pub(super) fn fault(&self, message: impl AsRef<str>, help: &str) -> Report {
        let message = match self.path() {
            "" => message.as_ref().to_owned(),
            path => format!("`{}`: {}", on_one_line(path), message.as_ref()),
        };
        Diagnostic::error(self.file, message).with_help(help.to_owned()).into()
    }
}
