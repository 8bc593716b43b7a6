//! Fuzzes allowlist files, as TOML tables and as plain lists: every error has a position inside the file, and an
//! accepted rule reads the same after being written again.

use std::collections::{BTreeMap, BTreeSet};

use namegate::allowlist::{Allowlist, read_list, zone};
use namegate::diagnostics::{Diagnostic, Report, Source};

use super::{Action, Pattern};

/// `data` is a file of either form.
pub fn run(data: &[u8]) {
    list(data);
    if let Ok(text) = std::str::from_utf8(data) {
        tables(text);
    }
}

fn list(data: &[u8]) {
    let rules = match read_rules(data) {
        Ok(rules) => rules,
        Err(report) => return check_report(&report, data),
    };
    let line = |(action, pattern): &(Action, Pattern)| match action {
        Action::Allow => format!("{pattern}\n"),
        Action::Deny => format!("!{pattern}\n"),
    };
    // A file without rules needs a comment, or it counts as truncated.
    let written: String = std::iter::once("# rules\n".to_owned()).chain(rules.iter().map(line)).collect();
    assert_eq!(read_rules(written.as_bytes()).unwrap(), rules, "{written}");
}

fn read_rules(data: &[u8]) -> Result<Vec<(Action, Pattern)>, Report> {
    let mut rules = Vec::new();
    read_list("fuzz.list", data, |rule| rules.push((rule.action, rule.pattern.clone())))?;
    Ok(rules)
}

fn tables(text: &str) {
    let source = Source::new("fuzz.toml", text);
    let (zone, found) = read_zone(&source);
    check_places(&source, &found);
    for rule in &zone.rules {
        assert!((1..=lines(text.as_bytes())).contains(&(rule.line as usize)), "a rule on line {}", rule.line);
        for pattern in &rule.patterns {
            assert_eq!(Pattern::parse(&pattern.to_string()).as_ref(), Ok(pattern));
        }
    }
    check_report(&Report::new(source, found), text.as_bytes());
}

/// Reads a text as an allowlist; returns it with its errors.
pub(super) fn read_zone(source: &Source) -> (Allowlist, Vec<Diagnostic>) {
    let values = ["one", "two", "x.y"].map(str::to_owned).to_vec();
    let parameters =
        BTreeMap::from([("acr".to_owned(), values), ("region".to_owned(), vec!["eastus".to_owned()])]);
    zone("fuzz", source, &parameters, &mut BTreeSet::new())
}

/// Every error points at bytes of its source.
pub(super) fn check_places(source: &Source, found: &[Diagnostic]) {
    for one in found {
        if let Some(span) = &one.span {
            let is_inside = span.start <= span.end && source.text().get(span.clone()).is_some();
            assert!(is_inside, "{span:?} of {} bytes: {}", source.text().len(), one.message);
        }
    }
}

/// Every error with a position has one inside the file, and can be rendered.
pub(super) fn check_report(report: &Report, data: &[u8]) {
    for one in report.diagnostics() {
        assert_eq!(one.message.lines().count(), 1, "{:?}", one.message);
        if let Some((line, column)) = report.place(one) {
            assert!((1..=lines(data)).contains(&line) && column > 0, "{line}:{column}: {}", one.message);
        }
    }
    assert!(!report.render(false).contains('\u{1b}'), "{report}");
    report.render(true);
}

/// Number of lines as an editor counts them.
pub(super) fn lines(data: &[u8]) -> usize {
    data.iter().filter(|byte| **byte == b'\n').count() + 1
}
