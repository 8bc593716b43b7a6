//! [`BypassName`]: names that software queries to find, or be allowed to use, another resolver.
//!
//! They get a negative answer in every mode, unless an exact rule
//! allows the name and may do so (`may_be_allowed`): an allowlist works only while clients use this resolver. Each entry covers the name and all names below it.

use std::sync::LazyLock;

use super::rule::{Action, Pattern, Scope};
use crate::wire::name::Name;

/// A name with a built-in negative answer; see the module documentation.
#[derive(Debug, PartialEq, Eq)]
pub struct BypassName {
    /// The name, in lower case, without the final dot.
    pub name: &'static str,
    /// The answer for the name and all names below it.
    pub answer: BypassAnswer,
    /// True if an exact rule may allow this name, or one name below it. Wildcards, grants and observe mode never do.
    pub may_be_allowed: bool,
    /// What a positive answer would cause; part of the EDE text.
    pub purpose: &'static str,
}

/// The built-in answer for a [`BypassName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BypassAnswer {
    /// NOERROR without data: the name exists and has no records.
    NoData,
    /// The name does not exist.
    NxDomain,
}

/// All bypass names, with their sources.
///
/// Considered and left out: `mask-canary.icloud.com`, `mask-api.icloud.com` and `mask.apple-dns.net` (in blocklists,
/// but not on Apple's page); `_dns.NAME` of RFC 9461, whose client already knows the other resolver; Android's Private
/// DNS and the DoH of Chrome and Edge, which query the network's own resolver by its address and have no canary.
pub const BYPASS_NAMES: [BypassName; 6] = [
    // RFC 9462 (November 2023), section 4: SVCB of `_dns.resolver.arpa` designates encrypted resolvers. Section 6.1: a
    // forwarder "SHOULD NOT forward" it. Section 6.4: `resolver.arpa` is a locally served zone, NODATA if there is
    // nothing to designate. RFC 9606 (June 2024), section 3: RESINFO is a property of the resolver, not subject to
    // recursive resolution.
    BypassName {
        name: "resolver.arpa",
        answer: BypassAnswer::NoData,
        may_be_allowed: false,
        purpose: "clients would discover the upstream's encrypted resolver",
    },
    // https://support.mozilla.org/en-US/kb/canary-domain-use-application-dnsnet (read 2026-11): NXDOMAIN, or any answer
    // without A and AAAA, disables DNS over HTTPS if it is on by default.
    BypassName {
        name: "use-application-dns.net",
        answer: BypassAnswer::NxDomain,
        may_be_allowed: true,
        purpose: "Firefox would turn on DNS over HTTPS",
    },
    // Firefox's toolkit/components/doh/DoHHeuristics.sys.mjs, `providerSteering` (read 2026-11): a CNAME of this name
    // selects the DoH server of the network's provider. `test` is reserved (RFC 6761 section 6.2).
    BypassName {
        name: "doh.test",
        answer: BypassAnswer::NxDomain,
        may_be_allowed: true,
        purpose: "Firefox would use the provider's DNS over HTTPS server",
    },
    // https://developer.apple.com/support/prepare-your-network-for-icloud-private-relay/ (read 2026-11), "Allow for
    // network traffic audits": both names, NXDOMAIN or "no error no answer", not a timeout.
    BypassName {
        name: "mask.icloud.com",
        answer: BypassAnswer::NxDomain,
        may_be_allowed: true,
        purpose: "iCloud Private Relay would bypass this resolver",
    },
    BypassName {
        name: "mask-h2.icloud.com",
        answer: BypassAnswer::NxDomain,
        may_be_allowed: true,
        purpose: "iCloud Private Relay would bypass this resolver",
    },
    // https://developer.chrome.com/docs/privacy-security/private-prefetch-proxy-for-network-admins (read 2026-11):
    // if this name has no address, Chrome looks up the name of a prefetched page with this resolver before it shows
    // the page.
    BypassName {
        name: "dns-tunnel-check.googlezip.net",
        answer: BypassAnswer::NxDomain,
        may_be_allowed: true,
        purpose: "Chrome would show prefetched pages without a DNS lookup",
    },
];

/// The patterns of [`BYPASS_NAMES`], in the same order.
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let name =
        |name: &'static str| Name::from_labels(name.split('.').map(str::as_bytes)).unwrap_or(Name::ROOT);
    BYPASS_NAMES.iter().map(|bypass| Pattern::new(Scope::Subtree, name(bypass.name))).collect()
});

impl BypassName {
    /// All bypass names with their patterns.
    pub fn all() -> impl Iterator<Item = (&'static Self, &'static Pattern)> {
        BYPASS_NAMES.iter().zip(&*PATTERNS)
    }

    /// The bypass name that `name` equals or lies below.
    pub fn covering(name: &Name) -> Option<&'static Self> {
        place(name).and_then(|place| BYPASS_NAMES.get(place))
    }

    /// True if the built-in answer overrides this rule: the rule's names are bypass names, and the rule is not an exact
    /// allow of a name that may be allowed.
    pub(super) fn overrules(action: Action, pattern: &Pattern) -> bool {
        let is_explicit = action == Action::Allow && pattern.scope() == Scope::Exact;
        Self::covering(pattern.name()).is_some_and(|bypass| !(is_explicit && bypass.may_be_allowed))
    }
}

/// A cheap filter: false for nearly all names that [`place`] does not find.
#[inline]
pub(super) fn may_cover(name: &Name) -> bool {
    let end = name.as_bytes().last_chunk().map(|end| u64::from_ne_bytes(*end));
    end.is_some_and(|end| ENDS.map(u64::from_ne_bytes).contains(&end))
}

/// The last eight bytes of all bypass names in wire format.
const ENDS: [[u8; 8]; 5] =
    [*b"er\x04arpa\0", *b"dns\x03net\0", *b"oh\x04test\0", *b"oud\x03com\0", *b"zip\x03net\0"];

/// Index of the bypass name that `name` equals or lies below.
pub(super) fn place(name: &Name) -> Option<usize> {
    PATTERNS.iter().position(|own| name.is_within(own.name()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_written_as_they_are_compared() {
        for (bypass, pattern) in BypassName::all() {
            assert_eq!(Pattern::parse(bypass.name).unwrap().name(), pattern.name());
            assert!(!pattern.name().is_root() && may_cover(pattern.name()));
        }
    }

    #[test]
    fn only_a_rule_for_one_name_overrules_and_not_every_name() {
        for (action, pattern, has_a_say) in [
            (Action::Allow, "mask.icloud.com", true),
            (Action::Allow, "x.mask.icloud.com", true),
            (Action::Allow, ".mask.icloud.com", false),
            (Action::Allow, "*.mask.icloud.com", false),
            (Action::Deny, "mask.icloud.com", false),
            (Action::Allow, "resolver.arpa", false),
            (Action::Allow, "_dns.resolver.arpa", false),
            (Action::Deny, ".resolver.arpa", false),
            (Action::Allow, ".icloud.com", true),
            (Action::Allow, "xresolver.arpa", true),
            (Action::Deny, "arpa", true),
        ] {
            let overruled = BypassName::overrules(action, &Pattern::parse(pattern).unwrap());
            assert_eq!(overruled, !has_a_say, "{action:?} {pattern}");
        }
    }
}
