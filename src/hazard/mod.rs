//! Names that are dangerous or useless to allow for any client: public resolvers, tunnels, suffixes below which anyone can
//! create a name, placeholders. `check` and `audit` report rules that allow them, and `learn` does not suggest any.

mod alias_only;
mod placeholder;
mod public_resolver;
mod registration;
mod shared_suffix;
mod subdomains;
mod suffix_table;
mod tunnel;

pub use alias_only::alias_only;
pub use placeholder::placeholder;
pub use public_resolver::{public_resolver, public_resolvers};
pub use registration::{DomainStanding, standing};
pub use shared_suffix::{shared_suffix, shared_suffixes};
pub use subdomains::{SubdomainOwner, is_name_of_others, names_of_others, subdomain_owner, tunnel_below};
pub use tunnel::tunnel;

use crate::wire::name::Name;

/// What a wildcard at a name allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only names of the domain's owner.
    OneOwner,
    /// Also names that anyone can create: the suffix, and what those names are.
    Anyone(&'static str, &'static str),
    /// Every domain that a registry sells below a suffix, such as `com`.
    Registry,
}

/// What a wildcard at `name` allows, by our own table and the Public Suffix List.
pub fn reach(name: &Name) -> Reach {
    let standing = standing(name);
    if standing == DomainStanding::Registry {
        return Reach::Registry;
    }
    match shared_suffix::touching(name) {
        Some((suffix, what)) => Reach::Anyone(suffix, what),
        None if standing == DomainStanding::Provider => Reach::Anyone("", "names of a provider's customers"),
        None => Reach::OneOwner,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn wildcards_reach_as_far_as_names_are_given_away() {
        let reached = |text: &str| {
            let name = Name::from_labels(text.split('.').map(str::as_bytes)).unwrap();
            match reach(&name) {
                Reach::OneOwner => "owner".to_owned(),
                Reach::Anyone(suffix, _) => format!("anyone {suffix}"),
                Reach::Registry => "registry".to_owned(),
            }
        };
        for (name, expected) in [
            ("com", "registry"),
            ("co.uk", "registry"),
            ("corp", "registry"),
            ("example.co.uk", "owner"),
            ("corp.example", "owner"),
            ("azureml.ms", "owner"),
            ("workspace.westeurope.api.azureml.ms", "owner"),
            ("pythonhosted.org", "owner"),
            // At a shared suffix, below it, and above it.
            ("blob.core.windows.net", "anyone blob.core.windows.net"),
            ("privatelink.blob.core.windows.net", "anyone blob.core.windows.net"),
            ("windows.net", "anyone"),
            ("azure.com", "anyone"),
            ("westeurope.cloudapp.azure.com", "anyone cloudapp.azure.com"),
            ("azurewebsites.net", "anyone azurewebsites.net"),
            ("scm.azurewebsites.net", "anyone azurewebsites.net"),
            ("s3.eu-west-1.amazonaws.com", "anyone amazonaws.com"),
            // In the Public Suffix List alone.
            ("blogspot.com", "anyone "),
        ] {
            assert!(reached(name).starts_with(expected), "{name}: {}", reached(name));
        }
    }
}
