//! `allowed-endpoints` of step-security/harden-runner: in a workflow, or its lines alone. Each is `HOST:PORT` or `HOST`.

use super::{EntryFault, ListEntry, ListPlace, Listing};
use crate::allowlist::{Port, Protocol};
use crate::diagnostics::{Diagnostic, Report, Source, ValueError};

const KEY: &str = "allowed-endpoints:";

/// `None` if the text is neither a workflow with `allowed-endpoints` nor a list of endpoints.
pub(super) fn read(source: &Source) -> Option<Result<Listing, Report>> {
    let text = source.text().trim_start_matches('\u{feff}');
    let lines: Vec<(usize, &str)> = (1..).zip(text.lines()).collect();
    let mut listing = Listing::new("allowed-endpoints of harden-runner");
    if lines.iter().any(|(_, line)| is_key(line)) {
        return Some(workflow(source, &lines, &mut listing).map(|()| listing));
    }
    let mut written =
        lines.iter().filter(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with('#')).peekable();
    written.peek()?;
    written.clone().all(|(_, line)| line.split_whitespace().all(|word| port(word).is_some())).then_some(())?;
    written.for_each(|(number, line)| add(&mut listing, *number, line));
    Some(Ok(listing))
}

fn is_key(line: &str) -> bool {
    line.trim_start().trim_start_matches("- ").starts_with(KEY)
}

fn workflow(source: &Source, lines: &[(usize, &str)], listing: &mut Listing) -> Result<(), Report> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut rest = lines.iter().peekable();
    while let Some((number, line)) = rest.next() {
        if !is_key(line) {
            continue;
        }
        let value = line.split_once(KEY).map_or("", |(_, value)| value.trim());
        let is_block = value.is_empty() || value.starts_with(['>', '|']);
        if !is_block {
            add(listing, *number, value.trim_matches(['"', '\'']));
        }
        while let Some((number, line)) =
            rest.next_if(|(_, next)| next.trim().is_empty() || indent(next) > indent(line))
        {
            if !is_block {
                let help = "write the endpoints as a block: `allowed-endpoints: >` and one endpoint on each line below";
                let diagnostic =
                    Diagnostic::error(source.file(), "a value over several lines that is no block");
                let diagnostic = diagnostic.with_help(help.to_owned()).at(source.line_range(*number));
                return Err(Report::new(source.clone(), vec![diagnostic]));
            }
            add(listing, *number, line);
        }
    }
    Ok(())
}

fn add(listing: &mut Listing, number: usize, line: &str) {
    let expression = line.contains("${{");
    let words: Vec<&str> = if expression { vec![line.trim()] } else { line.split_whitespace().collect() };
    for word in words {
        let (host, port) = port(word).unwrap_or((word, 443));
        let mut entry = ListEntry::new(host, ListPlace::Line(number));
        entry.ports = vec![Port { protocol: Protocol::Tcp, number: port }];
        if expression {
            let error = ValueError::new("an expression of GitHub Actions", "write its value");
            entry.pattern = Err(EntryFault::Invalid(error));
        }
        listing.entries.push(entry);
    }
}

/// The host and the port of `HOST:PORT`.
fn port(word: &str) -> Option<(&str, u16)> {
    let (host, port) = word.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.contains(['/', ':'])).then_some((host, port))
}
