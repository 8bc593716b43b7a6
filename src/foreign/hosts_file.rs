//! Hosts files as block lists: a name with an address that leads nowhere is denied.

use std::net::IpAddr;

use super::{EntryFault, ListEntry, ListPlace, Listing};
use crate::diagnostics::{Report, Source, ValueError};
use crate::policy::rule::Action;

/// Names that hosts files have for this machine and its network.
const OWN: [&str; 9] = [
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
];

/// `None` if the first line with more than an address is not an address and a name.
pub(super) fn read(source: &Source) -> Option<Result<Listing, Report>> {
    let text = source.text().trim_start_matches('\u{feff}');
    let lines = (1..).zip(text.lines().map(|line| line.split('#').next().unwrap_or_default()));
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let first = lines.clone().find(|(_, line)| !is_bare(line));
    first.is_some_and(|(_, line)| address(line).is_some()).then_some(())?;
    let mut listing = Listing::new("hosts file");
    for (number, line) in lines {
        let place = ListPlace::Line(number);
        if is_bare(line) {
            listing.skip(place, format!("`{}`: an address without a name", line.trim()));
            continue;
        }
        let Some((address, names)) = address(line) else {
            let error = ValueError::new(
                "a hosts file has an address on every line",
                "remove the line, or save it in a list of its own",
            );
            let entry = ListEntry::new(line.trim(), place);
            listing.entries.push(ListEntry { pattern: Err(EntryFault::Invalid(error)), ..entry });
            continue;
        };
        for name in names.filter(|name| {
            !OWN.contains(name) && !name.starts_with("ip6-") && name.parse::<IpAddr>().is_err()
        }) {
            if address.is_unspecified() || address.is_loopback() {
                listing
                    .entries
                    .push(ListEntry { action: Action::Deny, ..ListEntry::new(name, place.clone()) });
            } else {
                listing.skip(place.clone(), format!("`{name}`: has the address {address}; use a local zone"));
            }
        }
    }
    Some(Ok(listing))
}

/// True for a line with an address and no name.
fn is_bare(line: &str) -> bool {
    line.split('%').next().is_some_and(|address| address.trim().parse::<IpAddr>().is_ok())
}

/// The address of a line and its names, at least one.
fn address(line: &str) -> Option<(IpAddr, impl Iterator<Item = &str>)> {
    let mut words = line.split_whitespace();
    let address = words.next()?.split('%').next()?.parse().ok()?;
    words.clone().next()?;
    Some((address, words))
}
