//! [`DomainStanding`]: whether somebody registered a name, or names below it are for anyone to register.

use psl::Type;

use crate::wire::name::Name;

/// What the Public Suffix List (publicsuffix.org) says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainStanding {
    /// A suffix of a registry, such as `com` and `co.uk`, or a label on its own.
    Registry,
    /// A suffix of a provider whose customers get names below it, such as `github.io`.
    Provider,
    /// Somebody's: the domain that was registered has this many labels, and the name is that or is below it.
    Registered(usize),
}

/// Where `name`, which is made of host labels, stands. A top-level domain that the list does not know counts as a
/// registry's, as the list's own algorithm says.
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
