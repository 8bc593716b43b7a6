//! Plain lists, as [`crate::allowlist`] reads them, JSON lists and filter lists of other programs.

use std::io::Read;

use super::draft::{Candidate, Draft};
use super::json::{self, Json};
use super::{ImportOptions, Imported};
use crate::allowlist::{ListRule, read_list};
use crate::diagnostics::{Report, Source};
use crate::policy::rule::{Action, Pattern, Scope};

const SHAPE: &str = "use a JSON array of names, or an Azure DNS resolver domain list with `domains`";

pub(super) fn import(source: &Source, options: ImportOptions) -> Result<Imported, Report> {
    let mut draft = Draft::new(options);
    let text = source.text().trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    if text.starts_with(['[', '{']) {
        from_json(source, options, &mut draft)?;
    } else if text.lines().any(|line| line.starts_with("||") || line.starts_with("@@||")) {
        from_filters(source, &mut draft);
    } else {
        from_lines(source, &mut draft)?;
    }
    draft.finish("Imported list", source.file(), source.file())
}

fn candidate(action: Action, pattern: Pattern, place: String) -> Candidate {
    Candidate { action, pattern, place, purpose: String::new(), ports: Vec::new() }
}

fn from_lines(source: &Source, draft: &mut Draft) -> Result<(), Report> {
    // Pasted text may lack the final line ending.
    let bytes = source.text().as_bytes().chain(&b"\n"[..]);
    read_list(source.file(), bytes, |ListRule { action, pattern, line, .. }| {
        draft.add(candidate(action, pattern.clone(), format!("{}:{line}", source.file())));
    })?;
    Ok(())
}

/// An array of patterns, or one or more domain lists of an Azure DNS resolver.
fn from_json(source: &Source, options: ImportOptions, draft: &mut Draft) -> Result<(), Report> {
    let value = json::parse(source)?;
    let root = Json::root(&value, source);
    let all = match root.field("value") {
        Some(lists) => lists.elements(SHAPE)?,
        None if root.is_array() => root.elements(SHAPE)?,
        None => vec![root],
    };
    for element in all {
        if element.keys().next().is_none() {
            let pattern = pattern(&element)?;
            draft.add(candidate(Action::Allow, pattern, place(source, &element)));
            continue;
        }
        let domains =
            element.property("domains").ok_or_else(|| element.fault("`domains` is missing", SHAPE))?;
        for domain in domains.elements(SHAPE)? {
            let (pattern, place) = (pattern(&domain)?, place(source, &domain));
            // A domain in such a list covers every name below it (Microsoft Learn, "DNS security policy", 2026-08-11).
            let (pattern, scope) = match pattern.scope() {
                Scope::Exact => (pattern.name().clone(), Scope::Subtree),
                scope => (pattern.name().clone(), scope),
            };
            if scope == Scope::Subtree && !options.wildcards {
                let message = format!(
                    "`{pattern}` is imported without the names below it: use --wildcards to add them"
                );
                draft.leave_out(&place, message);
                draft.add(candidate(Action::Allow, Pattern::new(Scope::Exact, pattern), place));
            } else {
                draft.add(candidate(Action::Allow, Pattern::new(scope, pattern), place));
            }
        }
    }
    Ok(())
}

fn pattern(element: &Json<'_>) -> Result<Pattern, Report> {
    Pattern::parse(element.text(SHAPE)?)
        .map_err(|error| element.fault(error.message, error.help.as_deref().unwrap_or(SHAPE)))
}

fn place(source: &Source, element: &Json<'_>) -> String {
    format!("{}: `{}`", source.file(), element.path())
}

/// AdGuard filter lists. `||host^` denies a name and the names below it, `@@||host^` allows them. A host alone or after
/// an address denies that name. `!` and `#` begin comments.
fn from_filters(source: &Source, draft: &mut Draft) {
    for (line, number) in source.text().lines().zip(1..) {
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with(['!', '#']) {
            continue;
        }
        let place = format!("{}:{number}", source.file());
        let (action, rest) = match line.strip_prefix("@@") {
            Some(rest) => (Action::Allow, rest),
            None => (Action::Deny, line),
        };
        let host = match rest.strip_prefix("||") {
            Some(rest) => rest.strip_suffix('^').map(|host| format!(".{host}")),
            None => {
                let words: Vec<&str> =
                    rest.split('#').next().unwrap_or_default().split_whitespace().collect();
                match words[..] {
                    [host] => Some(host.to_owned()),
                    [address, host] if address.parse::<std::net::IpAddr>().is_ok() => Some(host.to_owned()),
                    _ => None,
                }
            }
        };
        match host.as_deref().map(Pattern::parse) {
            Some(Ok(pattern)) => draft.add(candidate(action, pattern, place)),
            Some(Err(_)) | None => {
                draft.leave_out(&place, format!("`{line}` is not imported: no rule can express it"));
            }
        }
    }
}
