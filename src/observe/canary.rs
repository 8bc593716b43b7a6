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

/// A random label for names below a canary, which no cache holds.
pub fn random_label() -> String {
    format!("n{:016x}", rand::random::<u64>())
}

/// True for a label in the form of [`random_label`].
pub fn is_random_label(label: &[u8]) -> bool {
    matches!(label.split_first(), Some((b'n', digits)) if digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_labels_are_recognized() {
        assert!(is_random_label(random_label().as_bytes()));
        for label in
            ["", "n", "n0123456789abcde", "n0123456789abcdef0", "x0123456789abcdef", "n0123456789abcdeg"]
        {
            assert!(!is_random_label(label.as_bytes()), "{label}");
        }
    }
}
