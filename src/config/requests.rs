//! Settings of `[requests]`: requests for grants.

use serde::Serialize;

use crate::config::values::plain;
use crate::diagnostics::{Section, ValueError};

/// Longest URL and contact in bytes: with the longest name, the reply still fits into 1232 bytes.
const MAX_BYTES: usize = 200;

/// Most contacts.
const MAX_CONTACTS: usize = 3;

/// Requests for grants: clients whose names are blocked file them, and holders of the admin token decide them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestSettings {
    /// Accept requests for grants on the admin listener, without a token (`namegate request`). The client is the address
    /// that connects: behind a proxy or source NAT, all its clients count as one. A change needs a restart.
    pub enabled: bool,
    /// Page where people request a name, such as `https://gate-1.corp.example:9153/request`. The Extended DNS Error of a
    /// blocked name then ends in `; request: URL?name=NAME`, if it fits into the reply. Empty: it does not.
    pub url: String,
    /// How to reach the people who decide: up to 3 URIs with the scheme mailto, tel or sips. Clients that ask for
    /// structured errors (EDNS option 26) get them.
    pub contact: Vec<String>,
}

/// Reads `[requests]`.
pub(super) fn requests(mut section: Section<'_, '_>) -> RequestSettings {
    let default = RequestSettings::default();
    let requests = RequestSettings {
        enabled: section.or("enabled", default.enabled),
        url: section.parsed_or("url", url, default.url),
        contact: contacts(&mut section),
    };
    section.finish();
    requests
}

fn contacts(section: &mut Section<'_, '_>) -> Vec<String> {
    let Some(contacts) = section.set("contact", contact) else { return Vec::new() };
    if let Some(beyond) = contacts.get(MAX_CONTACTS) {
        let message = format!("`requests.contact`: too many contacts, at most {MAX_CONTACTS} are allowed");
        section.faults.error(&beyond.span(), message, "keep the most important ones".to_owned());
    }
    plain(contacts)
}

/// True for text that JSON and URLs contain as it is.
fn is_plain(text: &str) -> bool {
    text.len() <= MAX_BYTES
        && text.bytes().all(|byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\' | b'<' | b'>'))
}

fn url(text: &str) -> Result<String, ValueError> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_url = rest.is_some_and(|rest| !rest.is_empty()) && is_plain(text) && !text.contains(['?', '#']);
    match is_url || text.is_empty() {
        true => Ok(text.to_owned()),
        false => Err(ValueError::new(
            format!("invalid URL `{}`", text.escape_debug()),
            format!(
                "write https://HOST:PORT/PATH without `?` and `#`, at most {MAX_BYTES} bytes of ASCII without spaces"
            ),
        )),
    }
}

/// The schemes are those of the registry that draft-ietf-dnsop-structured-dns-error creates.
fn contact(text: &str) -> Result<String, ValueError> {
    let rest = ["mailto:", "tel:", "sips:"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match rest.is_some_and(|rest| !rest.is_empty()) && is_plain(text) {
        true => Ok(text.to_owned()),
        false => Err(ValueError::new(
            format!("invalid contact `{}`", text.escape_debug()),
            "write a URI such as `mailto:dns@corp.example`, `tel:+1-555-0100` or `sips:dns@corp.example`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fits_into_a_reply_is_accepted() {
        for (text, is_good) in [
            ("", true),
            ("https://gate-1.corp.example:9153/request", true),
            ("http://10.0.0.4:9153/request", true),
            ("https://", false),
            ("ftp://gate-1.corp.example/", false),
            ("https://gate-1.corp.example/?a=b", false),
            ("https://gate-1.corp.example/a b", false),
            ("https://gate-1.corp.example/\"", false),
            ("https://gate-1.corp.example/\u{fc}", false),
        ] {
            assert_eq!(url(text).is_ok(), is_good, "{text}");
        }
        assert!(url(&format!("https://{}", "x".repeat(MAX_BYTES))).is_err());
        for (text, is_good) in [
            ("mailto:dns@corp.example", true),
            ("tel:+1-555-0100", true),
            ("https://corp.example/", false),
            ("mailto:", false),
            ("mailto:a@b\"", false),
        ] {
            assert_eq!(contact(text).is_ok(), is_good, "{text}");
        }
    }
}
