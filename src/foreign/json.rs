//! [`Json`]: a value of a JSON file with its path, for error messages.

use serde_json::Value;

use crate::diagnostics::{Diagnostic, Report, Source};
use crate::util::escape::on_one_line;

/// A value and its path.
#[derive(Clone, Debug)]
pub(crate) struct Json<'v> {
    value: &'v Value,
    path: String,
    file: &'v str,
}

/// Parses the whole text.
///
/// Errors: it is not JSON, with the place; or it is only one page of a list.
pub(crate) fn parse(source: &Source) -> Result<Value, Report> {
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
    let root = Json::root(&value, source);
    // Later pages may hold entries that matter.
    let link = root.keys().filter(|key| is_link(key)).find_map(|key| root.field(key));
    match link {
        Some(link) if link.value.as_str() != Some("") => Err(link.fault(
            "the list continues on another page",
            "save all pages as one array: `az … list` and `aws` follow the links, `az rest` does not",
        )),
        _ => Ok(value),
    }
}

/// True for a field that leads to the next page of a list: `nextLink`, `@odata.nextLink`, `NextToken`, `skip_token`.
pub(super) fn is_link(key: &str) -> bool {
    let plain = key.replace('_', "").to_ascii_lowercase();
    ["nextlink", "nexttoken", "skiptoken"].iter().any(|end| plain.ends_with(end))
}

impl<'v> Json<'v> {
    /// The root value of a file.
    pub(crate) fn root(value: &'v Value, source: &'v Source) -> Self {
        Self { value, path: String::new(), file: source.file() }
    }

    /// Its path, such as `value[0].properties`; empty for the root.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn child(&self, value: &'v Value, step: &str) -> Self {
        Self { value, path: format!("{}{step}", self.path), file: self.file }
    }

    /// The field `name`, without regard to case and underscores: Azure's API, PowerShell and SDKs differ. `None` if it is
    /// null.
    pub(crate) fn field(&self, name: &str) -> Option<Self> {
        let plain = |key: &str| key.replace('_', "").to_ascii_lowercase();
        let wanted = plain(name);
        let (key, value) = self.value.as_object()?.iter().find(|(key, _)| plain(key) == wanted)?;
        let dot = if self.path.is_empty() { "" } else { "." };
        (!value.is_null()).then(|| self.child(value, &format!("{dot}{key}")))
    }

    /// The field `name`, here or in `properties`: the REST API nests fields that `az` flattens.
    pub(crate) fn property(&self, name: &str) -> Option<Self> {
        self.field(name).or_else(|| self.field("properties")?.field(name))
    }

    /// The first of these fields that exists.
    pub(crate) fn field_of(&self, names: &[&str]) -> Option<Self> {
        names.iter().find_map(|name| self.field(name))
    }

    /// The same, here or in `properties`.
    pub(crate) fn property_of(&self, names: &[&str]) -> Option<Self> {
        names.iter().find_map(|name| self.property(name))
    }

    /// The field `name`; an error if it is missing.
    pub(crate) fn required(&self, name: &str, help: &str) -> Result<Self, Report> {
        self.field(name).ok_or_else(|| match self.value.is_object() {
            true => self.fault(format!("`{name}` is missing"), help),
            false => self.expected("an object", help),
        })
    }

    /// The field names of an object; empty for any other value.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'v str> + use<'v> {
        self.value.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str))
    }

    pub(crate) fn is_array(&self) -> bool {
        self.value.is_array()
    }

    /// The elements of an array.
    pub(crate) fn elements(&self, help: &str) -> Result<Vec<Self>, Report> {
        let elements = self.value.as_array().ok_or_else(|| self.expected("an array", help))?;
        Ok((0..)
            .zip(elements)
            .map(|(index, value): (usize, _)| self.child(value, &format!("[{index}]")))
            .collect())
    }

    /// The elements of an array, or of the array in `value`, in which REST APIs wrap lists. `None` if there is none.
    pub(crate) fn items(&self) -> Option<Vec<Self>> {
        let list = if self.is_array() { self.clone() } else { self.field("value").filter(Self::is_array)? };
        list.elements("").ok()
    }

    /// The values of an object's fields; `None` for any other value.
    pub(crate) fn members(&self) -> Option<Vec<Self>> {
        let object = self.value.as_object()?;
        Some(object.iter().map(|(key, value)| self.child(value, &format!(".{key}"))).collect())
    }

    /// The elements of an array. PowerShell writes an array of one element as that element, and some arrays as an object
    /// with `value` and `Count`.
    pub(crate) fn one_or_more(&self, help: &str) -> Result<Vec<Self>, Report> {
        match self.value {
            Value::Object(_) if self.field("Count").is_some() => self.required("value", help)?.elements(help),
            Value::Object(_) => Ok(vec![self.clone()]),
            _ => self.elements(help),
        }
    }

    /// An error unless this is an object.
    pub(crate) fn expect_object(&self, help: &str) -> Result<(), Report> {
        if self.value.is_object() { Ok(()) } else { Err(self.expected("an object", help)) }
    }

    pub(crate) fn is_text(&self) -> bool {
        self.value.is_string()
    }

    /// True or false.
    pub(crate) fn flag(&self, help: &str) -> Result<bool, Report> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false", help))
    }

    pub(crate) fn text(&self, help: &str) -> Result<&'v str, Report> {
        self.value.as_str().ok_or_else(|| self.expected("a string", help))
    }

    /// A whole number from 0 to `most`.
    pub(crate) fn number(&self, most: u64, help: &str) -> Result<u64, Report> {
        let number = self.value.as_u64().filter(|number| *number <= most);
        number.ok_or_else(|| self.expected(&format!("a number up to {most}"), help))
    }

    fn expected(&self, what: &str, help: &str) -> Report {
        // PowerShell writes what is below its default depth as text.
        let cut = self.value.as_str().filter(|text| text.starts_with("@{") || text.starts_with("System."));
        if cut.is_some() && !what.contains("string") {
            return self
                .fault("PowerShell has cut this off", "save it again, with `ConvertTo-Json -Depth 10`");
        }
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
    pub(crate) fn fault(&self, message: impl AsRef<str>, help: &str) -> Report {
        let message = match self.path() {
            "" => message.as_ref().to_owned(),
            path => format!("`{}`: {}", on_one_line(path), message.as_ref()),
        };
        Diagnostic::error(self.file, message).with_help(help.to_owned()).into()
    }
}
