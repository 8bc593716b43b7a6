//! `allowed-endpoints` of step-security/harden-runner: in a workflow, or its lines alone. Each is `HOST:PORT` or `HOST`.

use std::net::IpAddr;

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
    let is_endpoint = |word: &str| port(word).is_some() || is_address(word);
    let words = written.clone().flat_map(|(_, line)| without_comment(line).split_whitespace());
    (words.clone().any(|word| port(word).is_some()) && words.clone().all(is_endpoint)).then_some(())?;
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
        let value = line.split_once(KEY).map_or("", |(_, value)| without_comment(value));
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

/// The text before a comment. In YAML a comment begins with `#` after white space.
fn without_comment(text: &str) -> &str {
    let is_comment = |(at, _): &(usize, &str)| text[..*at].ends_with(char::is_whitespace) || *at == 0;
    let comment = text.match_indices('#').find(is_comment);
    comment.map_or(text, |(at, _)| &text[..at]).trim()
}

fn add(listing: &mut Listing, number: usize, line: &str) {
    // Within a block `#` begins no comment for YAML, but no endpoint has it.
    let line = without_comment(line);
    let expression = line.contains("${{");
    let words: Vec<&str> = if expression { vec![line.trim()] } else { line.split_whitespace().collect() };
    for word in words {
        let (host, port) = port(word).unwrap_or((word, 443));
        if is_address(word) || is_address(host) {
            listing.skip(ListPlace::Line(number), format!("`{word}`: an address, and no name"));
            continue;
        }
        let mut entry = ListEntry::new(host, ListPlace::Line(number));
        entry.ports = vec![Port { protocol: Protocol::Tcp, number: port }];
        if expression {
            let error = ValueError::new("an expression of GitHub Actions", "write its value");
            entry.pattern = Err(EntryFault::Invalid(error));
        }
        listing.entries.push(entry);
    }
}

/// True for an address, a network, or an IPv6 address in brackets with its port.
fn is_address(word: &str) -> bool {
    let word = match word.strip_prefix('[').and_then(|word| word.split_once(']')) {
        Some((address, _)) => address,
        None => word,
    };
    word.split('/').next().is_some_and(|address| address.parse::<IpAddr>().is_ok())
}

/// The host and the port of `HOST:PORT`.
fn port(word: &str) -> Option<(&str, u16)> {
    let (host, port) = word.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.contains(['/', ':'])).then_some((host, port))
}
