//! [`Canary`]: a name, and what must become of it.

use crate::config::ProveSettings;
use crate::wire::name::Name;

/// A name that is asked for to see what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// The name.
    pub name: Name,
    /// What must become of it.
    pub expect: CanaryExpect,
}

/// What must become of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum CanaryExpect {
    /// It has an address.
    Resolve,
    /// It is blocked.
    NotResolve,
}

impl Canary {
    /// The canaries that the settings name.
    pub fn of(settings: &ProveSettings) -> Vec<Self> {
        let canary = |expect| move |name: &Name| Self { name: name.clone(), expect };
        let must = settings.must_resolve.iter().map(canary(CanaryExpect::Resolve));
        must.chain(settings.must_not_resolve.iter().map(canary(CanaryExpect::NotResolve))).collect()
    }
}
