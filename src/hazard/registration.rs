//! [`DomainStanding`]: whether a name is registered, or is a suffix below which anyone can register names.

use psl::Type;

use crate::wire::name::Name;

/// The status of a name in the Public Suffix List (publicsuffix.org).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainStanding {
    /// A registry's suffix, such as `com` or `co.uk`, or a single label.
    Registry,
    /// A provider's suffix below which customers get names, such as `github.io`.
    Provider,
    /// At or below a registered domain, which has this many labels.
    Registered(usize),
}

/// The standing of `name`, which consists of host labels. A top-level domain that is not on the list counts as a
/// registry's, as in the list's own algorithm.
pub fn standing(name: &Name) -> DomainStanding {
    let text = name.to_string();
    let Some(suffix) = psl::suffix(text.as_bytes()) else { return DomainStanding::Registry };
    if suffix.as_bytes().len() < text.len() {
        return DomainStanding::Registered(suffix.as_bytes().split(|byte| *byte == b'.').count() + 1);
    }
    match suffix.typ() {
        Some(Type::Private) => DomainStanding::Provider,
        Some(Type::Icann) | None => DomainStanding::Registry,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_list_tells_registries_from_providers() {
        for (text, expected) in [
            ("com", DomainStanding::Registry),
            ("co.uk", DomainStanding::Registry),
            ("nosuchtld", DomainStanding::Registry),
            ("github.io", DomainStanding::Provider),
            ("azurewebsites.net", DomainStanding::Provider),
            ("example.com", DomainStanding::Registered(2)),
            ("a.b.example.co.uk", DomainStanding::Registered(3)),
            ("app.azurewebsites.net", DomainStanding::Registered(3)),
            ("a.b.corp.example", DomainStanding::Registered(2)),
        ] {
            let name = Name::from_labels(text.split('.').map(str::as_bytes)).unwrap();
            assert_eq!(standing(&name), expected, "{text}");
        }
    }
}
