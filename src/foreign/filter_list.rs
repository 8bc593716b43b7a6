//! AdGuard filter lists. `||host^` denies a name and the names below it, `@@||host^` allows them. A host alone or after an
//! address denies that name. An exception wins over every rule that is not `$important`. `!` and `#` begin comments.

use std::net::IpAddr;

use super::order::{Overridden, add_in_order};
use super::{ListEntry, ListPlace, Listing};
use crate::diagnostics::{Report, Source};
use crate::policy::rule::Action;

/// `None` if the text has no line of a filter list.
pub(super) fn read(source: &Source) -> Option<Result<Listing, Report>> {
    let text = source.text().trim_start_matches('\u{feff}');
    text.lines().any(|line| line.starts_with("||") || line.starts_with("@@||")).then_some(())?;
    let mut listing = Listing::new("filter list");
    let mut ranked = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with(['!', '#']) {
            continue;
        }
        let place = ListPlace::Line(number);
        let (action, rest) = match line.strip_prefix("@@") {
            Some(rest) => (Action::Allow, rest),
            None => (Action::Deny, line),
        };
        let (rest, is_important) = match rest.strip_suffix("$important") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let rank = (if is_important { 0 } else { 1 }, if action == Action::Allow { 0 } else { 1 });
        match host(rest).map(|host| ListEntry { action, ..ListEntry::new(&host, place.clone()) }) {
            Some(entry) if entry.pattern.is_ok() => ranked.push((rank, entry)),
            _ => listing.skip(place, format!("`{line}`: no rule can express it")),
        }
    }
    add_in_order(&mut listing, ranked, Overridden::LeaveOut);
    Some(Ok(listing))
}

fn host(rest: &str) -> Option<String> {
    if let Some(rest) = rest.strip_prefix("||") {
        return rest.strip_suffix('^').map(|host| format!(".{host}"));
    }
    let mut words = rest.split('#').next().unwrap_or_default().split_whitespace();
    match (words.next()?, words.next(), words.next()) {
        (host, None, _) => Some(host.to_owned()),
        (address, Some(host), None) if address.parse::<IpAddr>().is_ok() => Some(host.to_owned()),
        _ => None,
    }
}
