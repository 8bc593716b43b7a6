//! [`Pattern`]: a host pattern as written in a rule, parsed strictly.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::wire::name::{MAX_LABEL, MAX_NAME, Name, NameError};
use crate::wire::presentation::{label, written_labels};

/// Which names a pattern covers, relative to the name it is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `ml.azure.com`: that name alone.
    Exact,
    /// `*.azureml.ms`: every name below, at any depth, but not the name itself.
    Below,
    /// `.azurecr.io`: the name and every name below.
    Subtree,
}

/// What a rule does with the names it covers.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    /// Forward them.
    Allow,
    /// Block them, even if an equally specific rule allows them.
    Deny,
}

/// A host pattern: a name and a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    scope: Scope,
    name: Name,
}

/// A parse error: where, what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Byte range within the parsed text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead, if known.
    pub help: Option<String>,
}

impl PatternError {
    fn new(span: Range<usize>, message: impl Into<String>, help: impl Into<Option<String>>) -> Self {
        Self { span, message: message.into(), help: help.into() }
    }
}

impl Pattern {
    /// The pattern for `name` in `scope`.
    pub fn new(scope: Scope, name: Name) -> Self {
        Self { scope, name }
    }

    /// Parses a pattern: `ml.azure.com`, `*.azureml.ms` or `.azurecr.io`.
    ///
    /// A final dot and upper case are accepted. Non-ASCII names become A-labels (RFC 5891). A label may contain any
    /// byte (RFC 2181 section 11); `\.` and `\DDD` are escapes as in a master file. Characters that are usually a
    /// mistake need a backslash.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (scope, start) = match text {
            _ if text.starts_with("*.") => (Scope::Below, 2),
            _ if text.starts_with('.') => (Scope::Subtree, 1),
            _ => (Scope::Exact, 0),
        };
        let host = &text[start..];
        if is_plain(host)
            && let Ok(name) = Name::from_labels(host.as_bytes().split(|byte| *byte == b'.'))
        {
            return Ok(Self { scope, name });
        }
        refuse_what_is_no_name(text)?;
        let host = if host.ends_with("\\.") { host } else { host.strip_suffix('.').unwrap_or(host) };
        let whole = 0..text.len();
        if host.is_empty() || host == "*" {
            return Err(PatternError::new(
                whole,
                "this would match every name",
                "set `policy.mode = \"observe\"` to forward what would be blocked and only count it"
                    .to_owned(),
            ));
        }
        let labels = read_labels(host, start, scope)?;
        let name = Name::from_labels(labels.iter().map(Vec::as_slice))
            .map_err(|error| PatternError::new(start..start + host.len(), describe(error), None))?;
        Ok(Self { scope, name })
    }

    /// Which names are covered.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The name that the scope is relative to.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// True if the pattern covers `name`. A plain comparison, used as the trie's oracle.
    pub fn matches(&self, name: &Name) -> bool {
        match self.scope {
            Scope::Exact => *name == self.name,
            Scope::Below => *name != self.name && name.is_within(&self.name),
            Scope::Subtree => name.is_within(&self.name),
        }
    }
}

/// As written in a rule, in the shortest form.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.scope {
            Scope::Exact => "",
            Scope::Below => "*.",
            Scope::Subtree => ".",
        };
        if self.name.labels().all(|label| label.iter().all(|byte| is_plain_byte(*byte))) {
            return write!(f, "{prefix}{}", self.name);
        }
        f.write_str(prefix)?;
        for (index, label) in self.name.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for &byte in label {
                match byte {
                    byte if is_plain_byte(byte) || byte == b'+' => write!(f, "{}", char::from(byte))?,
                    // `{` begins a parameter even after a backslash.
                    b'{' | b'}' => write!(f, "\\{byte:03}")?,
                    0x21..=0x7e => write!(f, "\\{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

/// True if only the label lengths remain to be checked. True for nearly all hosts.
fn is_plain(host: &str) -> bool {
    let is_plain = |byte: &u8| is_plain_byte(*byte) || *byte == b'.';
    let may_be_address = host.trim_end_matches('.').ends_with(|last: char| last.is_ascii_digit());
    !may_be_address && host.as_bytes().iter().fold(true, |all, byte| all & is_plain(byte))
}

/// True for the common bytes that never need a backslash.
fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Refuses text that people paste instead of a host name: URLs, addresses, ports.
fn refuse_what_is_no_name(text: &str) -> Result<(), PatternError> {
    let whole = 0..text.len();
    if text.is_empty() {
        return Err(PatternError::new(whole, "the host is empty", None));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or(rest);
        return Err(PatternError::new(
            0..scheme.len() + 3,
            "expected a host name, not a URL",
            format!("write `{host}`"),
        ));
    }
    // An address with a final dot is still an address.
    if text.strip_suffix('.').unwrap_or(text).parse::<IpAddr>().is_ok() {
        return Err(PatternError::new(
            whole,
            "rules match names, not IP addresses",
            "allow addresses in the firewall instead".to_owned(),
        ));
    }
    if let Some((address, _)) = text.split_once('/')
        && address.parse::<IpAddr>().is_ok()
    {
        return Err(PatternError::new(
            whole,
            "rules match names, not subnets",
            "allow addresses in the firewall instead".to_owned(),
        ));
    }
    if let Some(at) = port_or_path(text) {
        return Err(PatternError::new(
            at..text.len(),
            "expected a host name without port or path",
            format!("write `{}`, and list ports as `ports = [\"tcp/443\"]`", &text[..at]),
        ));
    }
    let is_space = |c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}';
    if let Some((at, space)) = text.char_indices().find(|(_, c)| is_space(*c)) {
        let message = match space {
            ' ' => "host name contains a space".to_owned(),
            other => {
                let code = other.escape_unicode();
                format!("host name contains the white space or invisible character `{code}`")
            }
        };
        return Err(PatternError::new(
            at..at + space.len_utf8(),
            message,
            format!(
                "write `{}` if this is one name, else one entry for each name",
                text.replace(is_space, "")
            ),
        ));
    }
    Ok(())
}

/// Offset of a port or a path: in the last label, which never contains `:` or `/` in a real name, or after text that
/// looks like the last label of a host. `0/25.2.0.192.in-addr.arpa` (RFC 2317) has neither.
fn port_or_path(text: &str) -> Option<usize> {
    let last = written_labels(text.strip_suffix('.').unwrap_or(text)).last().map_or(0, |(start, _)| start);
    written_labels(text).find_map(|(start, written)| {
        let mut escaped = false;
        let at = written.find(|c| {
            let found = matches!(c, '/' | ':') && !escaped;
            escaped = c == '\\' && !escaped;
            found
        })?;
        let looks_like_host = start > 0 && at > 0 && !written[..at].contains(|c: char| c.is_ascii_digit());
        (start >= last || looks_like_host || at == 0).then_some(start + at)
    })
}

/// Parses the labels; an error points at its label.
fn read_labels(host: &str, start: usize, scope: Scope) -> Result<Vec<Vec<u8>>, PatternError> {
    let written: Vec<(usize, &str)> = written_labels(host).collect();
    let mut labels = Vec::with_capacity(written.len());
    for (index, &(at, text)) in written.iter().enumerate() {
        let span = start + at..start + at + text.len();
        if text.is_empty() {
            let dot = span.start.saturating_sub(1)..span.end + 1;
            return Err(PatternError::new(dot, "empty label: two dots in a row", None));
        }
        if let Some((offset, bad)) = suspicious(text) {
            if bad == '*' {
                let rest: Vec<&str> = written[index + 1..].iter().map(|(_, label)| *label).collect();
                return Err(misplaced_wildcard(span, index, text, &rest, scope));
            }
            let at = span.start + offset;
            let help = match bad {
                '{' | '}' | '<' | '>' => {
                    "write a parameter as `{name}` and set its value in [parameters]".to_owned()
                }
                bad => format!("write `\\{bad}` if the label contains this character"),
            };
            return Err(PatternError::new(
                at..at + 1,
                format!("invalid character `{bad}` in host name"),
                help,
            ));
        }
        let Some(label) = label(text) else {
            return Err(match text.is_ascii() {
                true => PatternError::new(
                    span,
                    "invalid escape: a backslash needs a character or three digits up to 255 after it",
                    "write `\\\\` for a literal backslash".to_owned(),
                ),
                false => PatternError::new(
                    start..start + host.len(),
                    "invalid internationalised name",
                    "write the A-label form: `xn--…`".to_owned(),
                ),
            });
        };
        if text.is_ascii() && label.len() > MAX_LABEL {
            let message = format!("label has {} bytes, at most {MAX_LABEL} are allowed", label.len());
            return Err(PatternError::new(span, message, None));
        }
        labels.push(label);
    }
    Ok(labels)
}

/// The first unescaped character that is usually a mistake: leftovers of quoting, templates and other list formats.
fn suspicious(label: &str) -> Option<(usize, char)> {
    let mut escaped = false;
    label.char_indices().find(|(_, c)| {
        let found = !escaped && "*{}<>()[]|^,;\"'`@$!#?&%".contains(*c);
        escaped = *c == '\\' && !escaped;
        found
    })
}

fn misplaced_wildcard(
    span: Range<usize>,
    index: usize,
    label: &str,
    rest: &[&str],
    scope: Scope,
) -> PatternError {
    let tail = label.trim_start_matches('*');
    let help = match (index, tail) {
        (0, "") if scope == Scope::Exact => Some(format!("write `*.{}`", rest.join("."))),
        (0, tail) if scope == Scope::Exact => {
            let name = std::iter::once(tail).chain(rest.iter().copied()).collect::<Vec<_>>().join(".");
            Some(format!("write `*.{name}` for all subdomains, `.{name}` to include the name itself"))
        }
        _ => Some(format!("write `*.{}`", rest.join("."))),
    };
    let help = help.filter(|help| !help.contains("`*.`"));
    PatternError::new(span, "`*` must be the whole first label, with a domain after it", help)
}

fn describe(error: NameError) -> String {
    match error {
        NameError::Long => format!("name is too long, at most {MAX_NAME} bytes are allowed"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_the_three_scopes() {
        for (text, scope, shown) in [
            ("ml.azure.com", Scope::Exact, "ml.azure.com"),
            ("ML.Azure.COM.", Scope::Exact, "ml.azure.com"),
            ("*.azureml.ms", Scope::Below, "*.azureml.ms"),
            (".azurecr.io", Scope::Subtree, ".azurecr.io"),
            ("_dns.resolver.arpa", Scope::Exact, "_dns.resolver.arpa"),
            ("bücher.example", Scope::Exact, "xn--bcher-kva.example"),
            ("*.Bücher.example", Scope::Below, "*.xn--bcher-kva.example"),
            ("sql_server01.corp.example", Scope::Exact, "sql_server01.corp.example"),
            ("0/25.2.0.192.in-addr.arpa", Scope::Exact, r"0\/25.2.0.192.in-addr.arpa"),
            ("1.0/25.2.0.192.in-addr.arpa.", Scope::Exact, r"1.0\/25.2.0.192.in-addr.arpa"),
            ("*.A+B.example", Scope::Below, "*.a+b.example"),
            (r"a\.b.example", Scope::Exact, r"a\.b.example"),
            (r".x\032\123y\125.example", Scope::Subtree, r".x\032\123y\125.example"),
            (r"\*.example", Scope::Exact, r"\*.example"),
            (r"x.example\.", Scope::Exact, r"x.example\."),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!((pattern.scope(), pattern.to_string().as_str()), (scope, shown), "{text}");
            assert_eq!(Pattern::parse(shown).unwrap(), pattern, "{text}");
        }
    }

    #[test]
    fn errors_point_and_help() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = vec!["a".repeat(60); 5].join(".");
        for (text, span, message, help) in [
            ("", 0..0, "empty", ""),
            (".", 0..1, "every name", "observe"),
            ("*.", 0..2, "every name", "observe"),
            ("*", 0..1, "would match every name", "policy.mode = \"observe\""),
            ("*pytorch.org", 0..8, "whole first label", "`.pytorch.org`"),
            ("**.pytorch.org", 0..2, "whole first label", "`*.pytorch.org`"),
            ("a.*.pytorch.org", 2..3, "whole first label", "`*.pytorch.org`"),
            ("*.*.pytorch.org", 2..3, "whole first label", "`*.pytorch.org`"),
            ("a..b", 1..3, "two dots", ""),
            ("a b.example", 1..2, "contains a space", "`ab.example`"),
            ("\u{feff}a.example", 0..3, "invisible character `\\u{feff}`", "`a.example`"),
            ("https://pypi.org/simple", 0..8, "not a URL", "`pypi.org`"),
            ("pypi.org:443", 8..12, "without port", "tcp/443"),
            ("10.0.0.4", 0..8, "address", "firewall"),
            ("10.0.0.4.", 0..9, "address", "firewall"),
            ("::1", 0..3, "address", "firewall"),
            ("{acr}.azurecr.io", 0..1, "invalid character", "[parameters]"),
            ("10.0.0.0/8", 0..10, "subnet", "firewall"),
            ("localhost/x", 9..11, "without port", "tcp/443"),
            ("pypi.org/simple/x.html", 8..22, "without port", "tcp/443"),
            ("a|b.example", 1..2, "invalid character", "`\\|`"),
            ("a\\", 0..2, "backslash", "`\\\\`"),
            ("a\\300.b", 0..5, "backslash", "`\\\\`"),
            (&long, 0..64, "at most 63", ""),
            (&longer, 0..304, "at most 255", ""),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert_eq!(error.span, span, "{text}");
            assert!(error.message.contains(message), "{text}: {}", error.message);
            assert!(error.help.as_deref().unwrap_or_default().contains(help), "{text}: {:?}", error.help);
            assert_eq!(error.help.is_some(), !help.is_empty(), "{text}: {:?}", error.help);
        }
    }
}
