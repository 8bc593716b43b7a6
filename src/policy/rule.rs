//! [`Pattern`]: one host pattern as written in a rule, read strictly.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use crate::wire::name::{MAX_LABEL, MAX_NAME, Name, NameError};

/// Which names a pattern covers, seen from the name it is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `ml.azure.com`: that name alone.
    Exact,
    /// `*.azureml.ms`: every name below, at any depth, not the name itself.
    Below,
    /// `.azurecr.io`: the name and every name below.
    Subtree,
}

/// What a rule does with the names it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Forward them.
    Allow,
    /// Block them, even where an equally specific rule allows them.
    Deny,
}

/// A host pattern: a name and what of its neighbourhood is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    scope: Scope,
    name: Name,
}

/// Why a text is no pattern: which part, what is wrong with it, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Byte range within the text that was read.
    pub span: Range<usize>,
    /// What is wrong, for people.
    pub message: String,
    /// What to write instead, where that can be known.
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

    /// Reads a pattern: `ml.azure.com`, `*.azureml.ms` or `.azurecr.io`.
    ///
    /// A final dot is accepted; letters may be of either case; names beyond ASCII are converted to A-labels
    /// (RFC 5891). Only letters, digits, `-` and `_` may stand in a label.
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
        let host = host.strip_suffix('.').unwrap_or(host);
        let whole = 0..text.len();
        if host.is_empty() {
            return Err(PatternError::new(
                whole,
                "this would match every name",
                "to forward everything and only count, set `mode = \"observe\"` in [policy]".to_owned(),
            ));
        }
        check_labels(host, start, scope)?;
        let ascii = to_ascii(host).ok_or_else(|| {
            PatternError::new(
                start..start + host.len(),
                "this is no valid internationalised name",
                "write its A-label form, `xn--…`".to_owned(),
            )
        })?;
        let name = Name::from_labels(ascii.split('.').map(str::as_bytes))
            .map_err(|error| PatternError::new(start..start + host.len(), describe(error), None))?;
        Ok(Self { scope, name })
    }

    /// Which names are covered.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The name the scope is counted from.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// True where the pattern covers `name`. Plain comparison: the trie's oracle.
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
        write!(f, "{prefix}{}", self.name)
    }
}

/// True for a host that needs no closer look once its labels have the right lengths, as nearly all have.
fn is_plain(host: &str) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let may_be_address = host.trim_end_matches('.').ends_with(|last: char| last.is_ascii_digit());
    !may_be_address && host.as_bytes().iter().fold(true, |all, byte| all & is_plain(byte))
}

/// Things people paste where a host name belongs.
fn refuse_what_is_no_name(text: &str) -> Result<(), PatternError> {
    let whole = 0..text.len();
    if text.is_empty() {
        return Err(PatternError::new(whole, "the host is empty", None));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or(rest);
        return Err(PatternError::new(
            0..scheme.len() + 3,
            "a rule names a host, not a URL",
            format!("write `{host}`"),
        ));
    }
    // A dot at the end makes no name of it.
    if text.strip_suffix('.').unwrap_or(text).parse::<IpAddr>().is_ok() {
        return Err(PatternError::new(
            whole,
            "this is an address; DNS rules match names",
            "open addresses in the firewall instead".to_owned(),
        ));
    }
    if let Some(at) = text.find(['/', ':']) {
        return Err(PatternError::new(
            at..text.len(),
            "a rule names a host, without port or path",
            format!("write `{}`, and ports as `ports = [\"tcp/443\"]`", &text[..at]),
        ));
    }
    if let Some((at, space)) =
        text.char_indices().find(|(_, c)| c.is_whitespace() || c.is_control() || *c == '\u{feff}')
    {
        return Err(PatternError::new(
            at..at + space.len_utf8(),
            format!("`{}` has no place in a host name", space.escape_unicode()),
            format!(
                "write `{}`",
                text.replace(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}', "")
            ),
        ));
    }
    Ok(())
}

/// Checks each label where it stands, so that the error can point at it.
fn check_labels(host: &str, start: usize, scope: Scope) -> Result<(), PatternError> {
    let mut at = start;
    for (index, label) in host.split('.').enumerate() {
        let span = at..at + label.len();
        at = span.end + 1;
        if label.is_empty() {
            let dot = span.start.saturating_sub(1)..span.end + 1;
            return Err(PatternError::new(dot, "two dots with nothing between them", None));
        }
        if label.contains('*') {
            let rest: Vec<&str> = host.split('.').skip(index + 1).collect();
            let tail = label.trim_start_matches('*');
            let help = match (index, tail) {
                (0, "") if scope == Scope::Exact => Some(format!("write `*.{}`", rest.join("."))),
                (0, tail) if scope == Scope::Exact => {
                    let name = std::iter::once(tail).chain(rest).collect::<Vec<_>>().join(".");
                    Some(format!("write `*.{name}` for the names below it, `.{name}` for it and them"))
                }
                _ => Some(format!("write `*.{}`", rest.join("."))),
            };
            let help = help.filter(|help| !help.contains("`*.`"));
            return Err(PatternError::new(span, "`*` may stand only as the whole first label", help));
        }
        if label.is_ascii() && label.len() > MAX_LABEL {
            let message = format!("a label is at most {MAX_LABEL} bytes long; this one has {}", label.len());
            return Err(PatternError::new(span, message, None));
        }
        let bad = label
            .char_indices()
            .find(|(_, c)| c.is_ascii() && !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
        if let Some((offset, bad)) = bad {
            let at = span.start + offset;
            let help = matches!(bad, '{' | '}' | '<' | '>')
                .then(|| "parameters are written `{name}` with a value in [parameters]".to_owned());
            return Err(PatternError::new(
                at..at + 1,
                format!("`{bad}` has no place in a host name; letters, digits, `-` and `_` have"),
                help,
            ));
        }
    }
    Ok(())
}

/// A-label form of a host that may hold characters beyond ASCII; ASCII passes as it is (underscores included).
fn to_ascii(host: &str) -> Option<String> {
    if host.is_ascii() { Some(host.to_owned()) } else { idna::domain_to_ascii_strict(host).ok() }
}

fn describe(error: NameError) -> String {
    match error {
        NameError::Long => format!("a name is at most {MAX_NAME} bytes long"),
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
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!((pattern.scope(), pattern.to_string().as_str()), (scope, shown), "{text}");
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
            ("*", 0..1, "whole first label", ""),
            ("*pytorch.org", 0..8, "whole first label", "`.pytorch.org`"),
            ("**.pytorch.org", 0..2, "whole first label", "`*.pytorch.org`"),
            ("a.*.pytorch.org", 2..3, "whole first label", "`*.pytorch.org`"),
            ("*.*.pytorch.org", 2..3, "whole first label", "`*.pytorch.org`"),
            ("a..b", 1..3, "two dots", ""),
            ("a b.example", 1..2, "no place", "`ab.example`"),
            ("\u{feff}a.example", 0..3, "no place", "`a.example`"),
            ("https://pypi.org/simple", 0..8, "not a URL", "`pypi.org`"),
            ("pypi.org:443", 8..12, "without port", "tcp/443"),
            ("10.0.0.4", 0..8, "address", "firewall"),
            ("10.0.0.4.", 0..9, "address", "firewall"),
            ("::1", 0..3, "address", "firewall"),
            ("{acr}.azurecr.io", 0..1, "no place", "[parameters]"),
            ("a\\.b", 1..2, "no place", ""),
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
