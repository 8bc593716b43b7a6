//! How far a pattern reaches, by the Public Suffix List.

use crate::hazard::{Reach, reach};
use crate::policy::rule::{Pattern, Scope};

/// Why a pattern may never be allowed by an import, if so.
pub(super) fn refusal(pattern: &Pattern) -> Option<&'static str> {
    let name = pattern.name().to_string();
    if pattern.name().labels().count() == 1 {
        return Some("a single label is a whole top-level domain");
    }
    let suffix = psl::suffix(name.as_bytes())?;
    let is_whole = suffix.as_bytes() == name.as_bytes();
    if is_whole && suffix.typ() == Some(psl::Type::Icann) {
        return Some("it is a public suffix");
    }
    // `*.kawasaki.jp` on the list makes every name below a public suffix.
    let below = format!("example.{name}");
    let is_suffix = |suffix: psl::Suffix<'_>| {
        suffix.as_bytes() == below.as_bytes() && suffix.typ() == Some(psl::Type::Icann)
    };
    let opens = pattern.scope() != Scope::Exact && psl::suffix(below.as_bytes()).is_some_and(is_suffix);
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
