//! Reads an [`Allowlist`] from the text of a TOML file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rapidhash::RapidHashMap;
use toml::Spanned;
use toml::de::DeTable;
use toml::value::Datetime;

use crate::address::upstream::UpstreamAddress;
use crate::allowlist::edition::{Editions, date};
use crate::allowlist::host::HostPattern;
use crate::allowlist::port::Port;
use crate::allowlist::zone::{Allowlist, AllowlistRule, KnownAlias};
use crate::config::word;
use crate::diagnostics::{Diagnostic, Faults, Section, Source, ValueError};
use crate::policy::expect::Expect;
use crate::policy::rule::Action;
use crate::policy::until::{Until, UntilError};

/// Bytes of text that the TOML parser gets at once. Its tables take twenty times the memory of their text: 3.5 GB for a
/// file of a million rules in one piece.
const PIECE: usize = 1 << 16;

/// Reads the allowlist `name` from `source` and adds the parameters that it uses to `used`.
///
/// Use the allowlist only if no diagnostic is an error.
pub fn zone(
    name: &str,
    source: &Source,
    parameters: &BTreeMap<String, Vec<String>>,
    used: &mut BTreeSet<String>,
) -> (Allowlist, Vec<Diagnostic>) {
    let mut faults = Faults::new(source);
    let mut zone = Allowlist {
        name: name.to_owned(),
        title: name.to_owned(),
        source: String::new(),
        revised: None,
        editions: Vec::new(),
        aliases: Vec::new(),
        file: source.file().to_owned(),
        cname: None,
        servers: Vec::new(),
        shipped: false,
        rules: Vec::new(),
        count: 0,
    };
    let mut editions = Editions::default();
    for piece in pieces(source.text()) {
        faults.set_base(piece.start);
        let (table, errors) = DeTable::parse_recoverable(&source.text()[piece.clone()]);
        errors.iter().for_each(|error| faults.syntax(error));
        let mut root = Section::new("", table.into_inner(), 0..0, &mut faults);
        if piece.start == 0 {
            zone.title = root.or("title", zone.title);
            zone.source = root.or("source", zone.source);
            zone.revised = date(&mut root, "revised");
            zone.cname = root.parsed("cname", word).map(Spanned::into_inner);
            zone.servers = root.some("servers", str::parse::<UpstreamAddress>).map(plain).unwrap_or_default();
        }
        for (table, span) in root.sections("edition") {
            editions.read(Section::new("edition", table, span, root.faults));
        }
        for (key, action) in [("allow", Action::Allow), ("deny", Action::Deny)] {
            for (table, span) in root.sections(key) {
                let section = Section::new(key, table, span, root.faults);
                zone.rules.extend(rule(section, action, &editions, parameters, used));
            }
        }
        for (table, span) in root.sections("alias") {
            let section = Section::new("alias", table, span, root.faults);
            zone.aliases.extend(alias(section, &editions, parameters, used));
        }
        root.finish();
    }
    zone.revised = zone.revised.or_else(|| editions.newest());
    if zone.source.is_empty() {
        zone.source = editions.pages();
    }
    zone.editions = editions.into_list();
    zone.rules.sort_by_key(|rule| rule.line);
    zone.count = zone.rules.len();
    warn_of_duplicates(&zone.rules, source, &mut faults);
    (zone, faults.into_found())
}

/// Splits a long text into pieces of about [`PIECE`] bytes, each starting at a rule's header.
///
/// A line that starts with `[[allow]]` or `[[deny]]` is a header unless it is within a multi-line string, since no TOML
/// value looks like that. A text with such strings is therefore not split.
fn pieces(text: &str) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    if !text.contains("\"\"\"") && !text.contains("'''") {
        while let Some(end) = next_header(text, start + PIECE) {
            pieces.push(start..end);
            start = end;
        }
    }
    pieces.push(start..text.len());
    pieces
}

/// Offset of the first rule's header at or after `from`, if any.
fn next_header(text: &str, from: usize) -> Option<usize> {
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at))?;
    let mut tables = text[from..].match_indices("\n[[").map(|(at, _)| from + at + 1);
    let is_header =
        |at: &usize| ["[[allow]]", "[[deny]]"].iter().any(|header| text[*at..].starts_with(header));
    tables.find(is_header)
}

fn rule(
    mut section: Section<'_, '_>,
    action: Action,
    editions: &Editions,
    parameters: &BTreeMap<String, Vec<String>>,
    used: &mut BTreeSet<String>,
) -> Option<AllowlistRule> {
    let host = section.required("host", |text| HostPattern::parse(text, parameters));
    let purpose = section.field("purpose").map_or_else(String::new, Spanned::into_inner);
    let listed = editions.listed(&mut section);
    let ports = section.list("ports", str::parse::<Port>).map_or_else(Vec::new, plain);
    let as_listed = section.field("as_listed").map(Spanned::into_inner);
    let expect = section.parsed("expect", expected);
    let broad = section.field("broad");
    let legacy = section.or("legacy", false);
    let owner = section.field("owner").map(Spanned::into_inner);
    let ticket = section.field("ticket").map(Spanned::into_inner);
    let until = until(&mut section);
    let reason = section.field("reason").map(Spanned::into_inner);
    if let (Action::Deny, Some(broad)) = (action, &broad) {
        let help = "remove it; `strict` would leave the rule out and so allow the names".to_owned();
        section.faults.error(&broad.span(), "`deny.broad`: only allow rules can be broad", help);
    }
    if let (Action::Deny, Some(expect)) = (action, &expect) {
        let help = "remove it; a denied name has no addresses to check".to_owned();
        section.faults.error(&expect.span(), "`deny.expect`: only allow rules can have it", help);
    }
    let line = host.as_ref().map_or(0, |host| section.faults.line(host.span().start));
    section.finish();

    let HostPattern { text, patterns, parameters, missing } = host?.into_inner();
    used.extend(parameters);
    let broad = broad.is_some_and(Spanned::into_inner);
    Some(AllowlistRule {
        action,
        host: text,
        line,
        patterns,
        missing,
        purpose,
        listed,
        ports,
        as_listed,
        expect: expect.map_or(Expect::Any, Spanned::into_inner),
        broad,
        legacy,
        owner,
        ticket,
        until,
        reason,
    })
}

/// When a rule ends.
fn until(section: &mut Section<'_, '_>) -> Option<Until> {
    let (datetime, span) = section.field::<Datetime>("until").map(|at| (*at.get_ref(), at.span()))?;
    let until = datetime.to_string().parse();
    until
        .map_err(|error: UntilError| {
            let message = format!("`{}`: invalid end `{datetime}`", section.path("until"));
            section.faults.error(&span, message, error.to_string());
        })
        .ok()
}

fn alias(
    mut section: Section<'_, '_>,
    editions: &Editions,
    parameters: &BTreeMap<String, Vec<String>>,
    used: &mut BTreeSet<String>,
) -> Option<KnownAlias> {
    let pattern = |text: &str| HostPattern::parse(text, parameters);
    let host = section.required("host", pattern);
    let to = section.some_required("to", "name.example", pattern).map_or_else(Vec::new, plain);
    let listed = editions.listed(&mut section);
    let line = host.as_ref().map_or(0, |host| section.faults.line(host.span().start));
    section.finish();

    let HostPattern { text, patterns, parameters, .. } = host?.into_inner();
    used.extend(parameters);
    let to = to.into_iter().flat_map(|to| to.patterns).collect();
    Some(KnownAlias { host: text, line, patterns, to, listed })
}

/// The kind of address that answers should have.
fn expected(text: &str) -> Result<Expect, ValueError> {
    text.parse()
        .map_err(|help: &str| ValueError::new(format!("invalid value `{}`", text.escape_debug()), help))
}

/// Warns of hosts that occur twice with the same action: the second may be a typing error for another name.
fn warn_of_duplicates(rules: &[AllowlistRule], source: &Source, faults: &mut Faults<'_>) {
    let mut first_lines: RapidHashMap<(Action, Cow<'_, str>), u32> = RapidHashMap::default();
    faults.set_base(0);
    for rule in rules {
        let mut host = Cow::Borrowed(rule.host.strip_suffix('.').unwrap_or(&rule.host));
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            host = Cow::Owned(host.to_ascii_lowercase());
        }
        let first = *first_lines.entry((rule.action, host)).or_insert(rule.line);
        if first != rule.line {
            let message = format!("`{}` is already on line {first}", rule.host);
            faults.warning(
                &source.line_range(rule.line as usize),
                message,
                "remove one of the two".to_owned(),
            );
        }
    }
}

fn plain<T>(values: Vec<Spanned<T>>) -> Vec<T> {
    values.into_iter().map(Spanned::into_inner).collect()
}
