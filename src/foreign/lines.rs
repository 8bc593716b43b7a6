//! Plain lists: one pattern per line, as [`crate::allowlist`] reads them.

use super::{EntryFault, ListEntry, ListPlace, Listing};
use crate::allowlist::list_line;
use crate::diagnostics::{Report, Source};
use crate::policy::rule::Action;

pub(super) fn read(source: &Source) -> Result<Listing, Report> {
    let mut listing = Listing::new("names, one per line");
    let lines = source.text().trim_start_matches('\u{feff}').lines();
    for (number, line) in (1..).zip(lines) {
        let place = ListPlace::Line(number);
        match list_line(line) {
            Ok(None) => {}
            Ok(Some((action, pattern, purpose))) => {
                let entry = ListEntry { action, ..ListEntry::new(&pattern.to_string(), place) };
                listing.entries.push(ListEntry {
                    pattern: Ok(pattern),
                    purpose: purpose.to_owned(),
                    ..entry
                });
            }
            Err(error) => {
                let written = line.split('#').next().unwrap_or_default().trim();
                let action = if written.starts_with('!') { Action::Deny } else { Action::Allow };
                let entry = ListEntry { action, ..ListEntry::new(written, place) };
                listing.entries.push(ListEntry { pattern: Err(EntryFault::Invalid(error)), ..entry });
            }
        }
    }
    Ok(listing)
}
