//! [`Section`]: one table of a TOML file, read key by key. Every error is recorded with its location.

use std::collections::HashSet;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostics::ValueError;
use crate::diagnostics::faults::Faults;
use crate::diagnostics::limit::{Limit, Quantity};
use crate::diagnostics::spelling::suggest;

/// One table of a file. Each method removes a key from it; [`Section::finish`] reports the keys that remain.
///
/// Absent keys give `None`, and so do faulty ones, after the error is recorded.
#[derive(Debug)]
pub(crate) struct Section<'f, 'i> {
    name: &'f str,
    table: DeTable<'i>,
    span: Range<usize>,
    known: Vec<&'static str>,
    pub(crate) faults: &'f mut Faults<'i>,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl<'f, 'i> Section<'f, 'i> {
    /// A table and its name in messages; the root's is empty. Errors about missing keys point at `span`.
    pub(crate) fn new(
        name: &'f str,
        table: DeTable<'i>,
        span: Range<usize>,
        faults: &'f mut Faults<'i>,
    ) -> Self {
        Self { name, table, span, known: Vec::with_capacity(8), faults }
    }

    /// The key as it is named in messages: `allow.host`.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn take(&mut self, key: &'static str) -> Option<Value<'i>> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn deserialize<S: DeserializeSeed<'i>>(
        &mut self,
        key: &str,
        value: Value<'i>,
        seed: S,
    ) -> Option<S::Value> {
        let span = value.span();
        seed.deserialize(value.into_deserializer())
            .map_err(|error: toml::de::Error| {
                let path = self.path(key);
                self.faults.error(&span, format!("`{path}`: {}", error.message()), None);
            })
            .ok()
    }

    /// A value whose type deserializes itself.
    pub(crate) fn field<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<Spanned<T>> {
        let value = self.take(key)?;
        let span = value.span();
        self.deserialize(key, value, PhantomData::<T>).map(|value| Spanned::new(span, value))
    }

    /// Like [`Section::field`], with `default` for an absent or faulty key.
    pub(crate) fn or<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> T {
        self.field(key).map_or(default, Spanned::into_inner)
    }

    /// A number within a limit, or the limit's default.
    pub(crate) fn limited<T: Quantity>(&mut self, key: &'static str, limit: Limit<T>) -> T {
        self.take(key).and_then(|value| self.deserialize(key, value, limit)).unwrap_or(limit.default)
    }

    /// A value written as a string.
    pub(crate) fn parsed<T, E: Into<ValueError>>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Spanned<T>> {
        let value = self.take(key)?;
        self.parse(key, value, &parse)
    }

    /// Like [`Section::parsed`], with `default` for an absent or faulty key.
    pub(crate) fn parsed_or<T, E: Into<ValueError>>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
        default: T,
    ) -> T {
        self.parsed(key, parse).map_or(default, Spanned::into_inner)
    }

    /// Like [`Section::parsed`], but an absent key is an error.
    pub(crate) fn required<T, E: Into<ValueError>>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Spanned<T>> {
        if !self.table.contains_key(key) {
            let help = format!("add `{key} = \"…\"` below this line");
            self.faults.structure(&self.span, format!("`{}` is missing", self.path(key)), help);
        }
        self.parsed(key, parse)
    }

    fn parse<T, E: Into<ValueError>>(
        &mut self,
        key: &str,
        value: Value<'i>,
        parse: &impl Fn(&str) -> Result<T, E>,
    ) -> Option<Spanned<T>> {
        let span = value.span();
        let text = self.deserialize(key, value, PhantomData::<String>)?;
        match parse(&text) {
            Ok(value) => Some(Spanned::new(span, value)),
            Err(error) => {
                let path = self.path(key);
                self.faults.value(&path, &span, &text, error.into());
                None
            }
        }
    }

    /// A list of strings, each parsed separately; faulty ones are reported and left out.
    pub(crate) fn list<T, E: Into<ValueError>>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<Spanned<T>>> {
        let value = self.take(key)?;
        self.parse_list(key, value, &parse)
    }

    fn parse_list<T, E: Into<ValueError>>(
        &mut self,
        key: &str,
        value: Value<'i>,
        parse: &impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<Spanned<T>>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(items) => {
                Some(items.into_iter().filter_map(|item| self.parse(key, item, parse)).collect())
            }
            other => {
                let help =
                    other.as_str().map(|text| format!("write `{key} = [\"{}\"]`", text.escape_debug()));
                let message = format!(
                    "`{}`: expected a list of strings, found one {}",
                    self.path(key),
                    other.type_str()
                );
                self.faults.error(&span, message, help);
                None
            }
        }
    }

    /// A list of strings without duplicates. A duplicate gives a warning and is dropped.
    pub(crate) fn set<T: Clone + Eq + Hash, E: Into<ValueError>>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<Spanned<T>>> {
        let mut values = self.list(key, parse)?;
        let mut seen = HashSet::new();
        values.retain(|value| {
            let first = seen.insert(value.get_ref().clone());
            if !first {
                self.faults.warning(&value.span(), format!("`{}`: duplicate value", self.path(key)), None);
            }
            first
        });
        Some(values)
    }

    /// A set with at least one element.
    pub(crate) fn some<T: Clone + Eq + Hash, E: Into<ValueError>>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<Spanned<T>>> {
        if let Some(value) =
            self.table.get(key).filter(|value| value.get_ref().as_array().is_some_and(|a| a.is_empty()))
        {
            let help = "add at least one, or remove the key".to_owned();
            self.faults.error(
                &value.span(),
                format!("`{}`: at least one value is required", self.path(key)),
                help,
            );
        }
        self.set(key, parse)
    }

    /// Like [`Section::some`], but an absent key is an error, with an example of what to write.
    pub(crate) fn some_required<T: Clone + Eq + Hash, E: Into<ValueError>>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<Spanned<T>>> {
        if !self.table.contains_key(key) {
            let help = format!("add `{key} = [\"{example}\"]` below this line");
            self.faults.structure(&self.span, format!("`{}` is missing", self.path(key)), help);
        }
        self.some(key, parse)
    }

    /// The lists of a table with arbitrary keys.
    pub(crate) fn lists<T, E: Into<ValueError>>(
        mut self,
        is_key: impl Fn(&str) -> Result<(), ValueError>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<(String, Vec<Spanned<T>>)> {
        let entries = std::mem::take(&mut self.table).into_iter();
        let read = entries.filter_map(|(key, value)| {
            if let Err(error) = is_key(key.get_ref()) {
                self.faults.error(&key.span(), error.message, error.help);
            }
            let list = self.parse_list(key.get_ref(), value, &parse)?;
            Some((key.into_inner().into_owned(), list))
        });
        read.collect()
    }

    /// A table within this one; an empty one if absent.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'_, 'i> {
        let (table, span) = match self.take(key).map(|value| (value.span(), value.into_inner())) {
            Some((span, DeValue::Table(table))) => (table, span),
            Some((span, _)) => {
                self.faults.error(&span, format!("`{key}` must be a section"), format!("write `[{key}]`"));
                (DeTable::new(), span)
            }
            None => (DeTable::new(), self.span.clone()),
        };
        Section::new(key, table, span, self.faults)
    }

    /// The tables written `[[key]]`, in the order of the file.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<(DeTable<'i>, Range<usize>)> {
        let value = self.take(key).map(|value| (value.span(), value.into_inner()));
        let mut tables = Vec::new();
        let mut refuse = |span| {
            let help = format!("write `[[{key}]]`, with its keys below, for each entry");
            self.faults.error(&span, format!("`{key}` must be a list of tables"), help);
        };
        match value {
            None => {}
            Some((_, DeValue::Array(items))) => {
                for item in items {
                    match (item.span(), item.into_inner()) {
                        (span, DeValue::Table(table)) => tables.push((table, span)),
                        (span, _) => refuse(span),
                    }
                }
            }
            Some((span, _)) => refuse(span),
        }
        tables
    }

    /// Reports every key that was not read.
    pub(crate) fn finish(self) {
        for (key, value) in &self.table {
            let what = if is_section(value.get_ref()) { "section" } else { "key" };
            let message = format!("unknown {what} `{}`", self.path(key.get_ref()));
            let help = suggest(key.get_ref(), &self.known);
            if self.name.is_empty() {
                self.faults.structure(&key.span(), message, help);
            } else {
                self.faults.error(&key.span(), message, help);
            }
        }
    }
}

/// True for tables and lists of tables. The parser does not record headers, so inline tables count too.
fn is_section(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
        _ => false,
    }
}
