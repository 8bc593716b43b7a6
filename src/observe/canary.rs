//! [`Canary`]: a name and the expected result of looking it up.

use crate::config::ProveSettings;
use crate::wire::name::Name;

/// A name that is queried to check the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// The name.
    pub name: Name,
    /// The expected result.
    pub expect: CanaryExpect,
}

/// Expected result of a canary query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum CanaryExpect {
    /// The name has an address.
    Resolve,
    /// The name is blocked.
    NotResolve,
}

impl Canary {
    /// The canaries in the settings.
    pub fn of(settings: &ProveSettings) -> Vec<Self> {
        let canary = |expect| move |name: &Name| Self { name: name.clone(), expect };
        let must = settings.must_resolve.iter().map(canary(CanaryExpect::Resolve));
        must.chain(settings.must_not_resolve.iter().map(canary(CanaryExpect::NotResolve))).collect()
    }
}
