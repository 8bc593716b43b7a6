//! How far a pattern reaches, by the Public Suffix List.

use crate::hazard::{DomainStanding, Reach, reach, standing};
use crate::policy::rule::{Pattern, Scope};
use crate::wire::name::Name;

/// Why a pattern may never be allowed by an import, if so.
pub(super) fn refusal(pattern: &Pattern) -> Option<&'static str> {
    if standing(pattern.name()) == DomainStanding::Registry {
        return Some("it is a public suffix, or a whole top-level domain");
    }
    // `*.kawasaki.jp` on the list makes every name below a public suffix.
    let labels = std::iter::once(&b"example"[..]).chain(pattern.name().labels());
    let below = Name::from_labels(labels).ok()?;
    let opens = pattern.scope() != Scope::Exact && standing(&below) == DomainStanding::Registry;
    opens.then_some("the names below it are public suffixes")
}

/// True for a pattern that opens names of other customers of a provider: all below a suffix that the provider registered,
/// such as `*.blob.core.windows.net`, or what lies above such a suffix.
pub(super) fn is_shared(pattern: &Pattern) -> bool {
    let name = pattern.name().to_string();
    let opens_suffix = match reach(pattern.name()) {
        Reach::OneOwner => false,
        Reach::Registry | Reach::Anyone("", _) => true,
        // What lies below a name that someone took is theirs alone.
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
