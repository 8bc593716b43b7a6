//! Reads lists of hosts that other programs write: each is detected by its shape and becomes a [`Listing`].
//!
//! A listing keeps the meaning that its entries have in the other program, and keeps entries that are no valid patterns,
//! because an audit reports them. `import` decides what becomes a rule.

mod decode;
pub mod dependencies;
mod domain_list;
mod endpoints;
mod filter_list;
mod firewall;
mod hosts_file;
mod json;
mod lines;
mod order;
mod outbound_rules;
mod resources;
mod rpz;
mod zone_file;

pub use decode::decode;
pub(crate) use json::{Json, parse};
pub(crate) use zone_file::azure_records;

use clap::ValueEnum;

use crate::allowlist::Port;
use crate::diagnostics::{Diagnostic, Report, Source, ValueError};
use crate::policy::rule::{Action, Pattern};
use crate::util::escape::on_one_line;

/// What a list of another program holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum ListFormat {
    /// Workspace dependencies, or outbound rules of a managed network: JSON
    AzureMl,
    /// Azure Firewall rules: JSON of the Azure CLI, or an ARM template
    AzureFirewall,
    /// Response policy zone (RPZ), as a zone file
    Rpz,
    /// Names, domain lists, filter lists, hosts files, or `allowed-endpoints`
    List,
}

/// The entries of a list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// What the list is, for people.
    pub shape: &'static str,
    /// Its entries.
    pub entries: Vec<ListEntry>,
    /// What it holds besides host names.
    pub skipped: Vec<ListRemark>,
    /// What is true of the whole list.
    pub notes: Vec<String>,
}

/// One entry of a list.
#[derive(Clone, Debug)]
pub struct ListEntry {
    /// Allow or deny.
    pub action: Action,
    /// As written.
    pub text: String,
    /// The names that it covers in the other program.
    pub pattern: Result<Pattern, EntryFault>,
    /// Its place.
    pub place: ListPlace,
    /// Its purpose; may be empty.
    pub purpose: String,
    /// The ports that it opens.
    pub ports: Vec<Port>,
    /// The list names a domain, and so means every name below it too.
    pub is_domain: bool,
}

/// Why an entry is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryFault {
    /// It covers every name.
    Everything,
    /// It is no host name.
    Invalid(ValueError),
}

/// A place in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListPlace {
    /// A line, counted from 1.
    Line(usize),
    /// A JSON path.
    Path(String),
}

/// A remark about a place in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRemark {
    /// The place.
    pub place: ListPlace,
    /// The remark.
    pub message: String,
}

impl ListPlace {
    /// The line number or the path.
    fn text(&self) -> String {
        match self {
            Self::Line(line) => line.to_string(),
            Self::Path(path) => path.clone(),
        }
    }

    /// The place with its file: `hosts.txt:3`, or `rules.json: [0].name`.
    pub fn within(&self, file: &str) -> String {
        match self {
            Self::Line(line) => on_one_line(&format!("{file}:{line}")),
            Self::Path(path) if path.is_empty() => on_one_line(file),
            Self::Path(path) => on_one_line(&format!("{file}: {path}")),
        }
    }
}

impl Listing {
    fn new(shape: &'static str) -> Self {
        Self { shape, entries: Vec::new(), skipped: Vec::new(), notes: Vec::new() }
    }

    fn skip(&mut self, place: ListPlace, message: impl Into<String>) {
        self.skipped.push(ListRemark { place, message: message.into() });
    }

    /// All entries that are no host names, as errors.
    pub fn faults(&self, source: &Source) -> Report {
        let faults = self.entries.iter().filter_map(|entry| match &entry.pattern {
            Err(EntryFault::Invalid(error)) => Some(entry.fault(source, error)),
            _ => None,
        });
        Report::new(source.clone(), faults.collect())
    }
}

impl ListEntry {
    /// An entry that allows `text`, which covers what the same pattern covers in a rule.
    fn new(text: &str, place: ListPlace) -> Self {
        let pattern = match text {
            "*" | "." | "*." => Err(EntryFault::Everything),
            _ => Pattern::parse(text).map_err(|error| EntryFault::Invalid(error.into())),
        };
        Self {
            action: Action::Allow,
            text: text.to_owned(),
            pattern,
            place,
            purpose: String::new(),
            ports: Vec::new(),
            is_domain: false,
        }
    }

    fn fault(&self, source: &Source, error: &ValueError) -> Diagnostic {
        let help =
            error.help.clone().unwrap_or_else(|| "write a host name, or `*.` and a host name".to_owned());
        match &self.place {
            ListPlace::Line(line) => {
                let whole = source.line_range(*line);
                let span = error
                    .span
                    .clone()
                    .map_or_else(|| whole.clone(), |span| whole.start + span.start..whole.start + span.end);
                Diagnostic::error(source.file(), error.message.clone()).with_help(help).at(span)
            }
            ListPlace::Path(path) => {
                let message =
                    format!("`{}`: `{}`: {}", on_one_line(path), on_one_line(&self.text), error.message);
                Diagnostic::error(source.file(), message).with_help(help)
            }
        }
    }
}

/// Reads a list. Without `format` its shape decides.
///
/// Errors: it has no known shape, or any fault in its structure. Entries that are no host names are not faults here.
pub fn read(source: &Source, format: Option<ListFormat>) -> Result<Listing, Report> {
    if source.text().trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty()
        && format != Some(ListFormat::AzureMl)
    {
        return Err(Diagnostic::empty(source.file()).into());
    }
    let format = format.unwrap_or_else(|| detect(source));
    if matches!(format, ListFormat::Rpz | ListFormat::List) {
        refuse_cut_off(source)?;
    }
    match format {
        ListFormat::AzureMl => azure_ml(source),
        ListFormat::AzureFirewall => firewall::read(source),
        ListFormat::Rpz => rpz::read(source),
        ListFormat::List => list(source),
    }
}

/// Refuses text whose last line has no line ending: `.contoso.co` may be half of `.contoso.com`. JSON has an end of its own.
fn refuse_cut_off(source: &Source) -> Result<(), Report> {
    let text = source.text();
    let last = text.rsplit(['\n', '\r']).next().unwrap_or_default();
    if is_json(source) || last.trim_start().is_empty() || last.trim_start().starts_with('#') {
        return Ok(());
    }
    let help = "if it is complete, end it with a newline".to_owned();
    let message = "the last line has no line ending: the file may be cut off";
    let at = text.len() - last.len()..text.len();
    let diagnostic = Diagnostic::error(source.file(), message).with_help(help).at(at);
    Err(Report::new(source.clone(), vec![diagnostic]))
}

fn azure_ml(source: &Source) -> Result<Listing, Report> {
    let value = parse(source)?;
    let root = Json::root(&value, source);
    if outbound_rules::is_shape(&root) { outbound_rules::read(&root) } else { dependencies::listing(&root) }
}

fn list(source: &Source) -> Result<Listing, Report> {
    if is_json(source) {
        return domain_list::read(source);
    }
    let readers = [endpoints::read, filter_list::read, hosts_file::read];
    match readers.into_iter().find_map(|read| read(source)) {
        Some(listing) => listing,
        None => lines::read(source),
    }
}

/// The format that the shape of a text stands for.
fn detect(source: &Source) -> ListFormat {
    if !is_json(source) {
        return if rpz::is_shape(source) { ListFormat::Rpz } else { ListFormat::List };
    }
    // What is no JSON is refused by the reader of lists, with the place.
    let Ok(value) = parse(source) else { return ListFormat::List };
    let root = Json::root(&value, source);
    if firewall::is_shape(&root) {
        ListFormat::AzureFirewall
    } else if outbound_rules::is_shape(&root) || dependencies::is_shape(&root) {
        ListFormat::AzureMl
    } else {
        ListFormat::List
    }
}

fn is_json(source: &Source) -> bool {
    source.text().trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with(['[', '{'])
}
