//! [`RequestNotice`]: how a client can request a blocked name, in the Extended DNS Error.
//!
//! A client that asks for structured errors gets JSON (draft-ietf-dnsop-structured-dns-error-27), others get text.

use std::fmt::{self, Display, Write};

use crate::policy::Reason;
use crate::util::url::UrlWriter;
use crate::wire::name::Name;
use crate::wire::reply::Envelope;

/// How to request a blocked name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestNotice {
    url: Box<str>,
    /// The member `c` of the JSON object, with its comma; empty without contacts.
    contacts: Box<str>,
}

/// `s`: the block follows the policy of this server's operator.
const DNS_OPERATOR_POLICY: &str = "{\"s\":6}";

impl RequestNotice {
    /// A notice with the page to request names on, and contact URIs. Neither has characters that JSON escapes.
    pub fn new(url: &str, contacts: &[String]) -> Self {
        let contacts = match contacts {
            [] => String::new(),
            contacts => format!("\"c\":[\"{}\"],", contacts.join("\",\"")),
        };
        Self { url: url.into(), contacts: contacts.into() }
    }
}

/// Calls `write` with the texts for `reason`, best first.
pub(super) fn with_texts<R>(
    envelope: &Envelope<'_>,
    notice: Option<&RequestNotice>,
    reason: &Reason<'_>,
    write: impl FnOnce(&[&dyn Display]) -> R,
) -> R {
    // Bypass names cannot be requested.
    let name = envelope.name().filter(|_| !matches!(reason, Reason::Bypass(_)));
    let link = match (notice, &name) {
        (Some(notice), Some(name)) if !notice.url.is_empty() => Some((&*notice.url, name)),
        _ => None,
    };
    let text = Text { reason, link };
    if !envelope.wants_structured_errors() {
        return write(&[&text, reason]);
    }
    let contacts = notice.map_or("", |notice| &notice.contacts);
    write(&[
        &Structured { text, contacts },
        &Structured { text: Text { reason, link: None }, contacts },
        &DNS_OPERATOR_POLICY,
    ])
}

/// The reason, and where to request the name.
struct Text<'a> {
    reason: &'a Reason<'a>,
    link: Option<(&'a str, &'a Name)>,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        let Some((url, name)) = self.link else { return Ok(()) };
        write!(f, "; request: {url}?name=")?;
        write!(UrlWriter(f), "{name}")
    }
}

/// The same as a minified JSON object.
struct Structured<'a> {
    text: Text<'a>,
    contacts: &'a str,
}

impl Display for Structured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}\"j\":\"", self.contacts)?;
        write!(JsonWriter(f), "{}", self.text)?;
        f.write_str("\",\"s\":6,\"l\":\"en\"}")
    }
}

/// Escapes text for a JSON string.
struct JsonWriter<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for JsonWriter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..b' ')) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|character| match character {
            '"' | '\\' => write!(self.0, "\\{character}"),
            '\0'..' ' => write!(self.0, "\\u{:04x}", u32::from(character)),
            _ => self.0.write_char(character),
        })
    }
}
