//! Checks how many names a pattern covers, using the Public Suffix List.

use crate::hazard::{DomainStanding, Reach, reach, standing};
use crate::policy::rule::{Pattern, Scope};
use crate::wire::name::Name;

/// The reason why an import never allows a pattern, if any.
pub(super) fn refusal(pattern: &Pattern) -> Option<&'static str> {
    if standing(pattern.name()) == DomainStanding::Registry {
        return Some("it is a public suffix or a top-level domain");
    }
    // The list has wildcards, such as `*.kawasaki.jp`: every name below is a public suffix.
    let labels = std::iter::once(&b"example"[..]).chain(pattern.name().labels());
    let below = Name::from_labels(labels).ok()?;
    let opens = pattern.scope() != Scope::Exact && standing(&below) == DomainStanding::Registry;
    opens.then_some("the names below it are public suffixes")
}

/// True for a wildcard that allows names of a provider's other customers: at or above a suffix such as
/// `blob.core.windows.net`.
pub(super) fn is_shared(pattern: &Pattern) -> bool {
    let name = pattern.name().to_string();
    let opens_suffix = match reach(pattern.name()) {
        Reach::OneOwner => false,
        Reach::Registry | Reach::Anyone("", _) => true,
        // Names below a customer's name belong to that customer.
        Reach::Anyone(suffix, _) => suffix == name || suffix.ends_with(&format!(".{name}")),
    };
    pattern.scope() != Scope::Exact && opens_suffix
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn knows_whole_domains_from_hosts() {
        for (text, refused, shared) in [
            ("ml.azure.com", false, false),
            ("*.azureml.ms", false, false),
            (".co.uk", true, true),
            ("co.uk", true, false),
            ("*.com", true, true),
            ("localhost", true, false),
            ("*.blob.core.windows.net", false, true),
            ("account.blob.core.windows.net", false, false),
            ("*.account.blob.core.windows.net", false, false),
            ("*.kawasaki.jp", true, false),
            ("*.core.windows.net", false, true),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!((refusal(&pattern).is_some(), is_shared(&pattern)), (refused, shared), "{text}");
        }
    }
}
