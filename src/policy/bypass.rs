//! [`BypassName`]: names by which software finds another resolver than the network's, or asks whether it may.
//!
//! They are answered here in every mode and for every client group, so that what they ask for is not found: a policy that
//! decides on names holds only while clients ask it. The name and all names below it are meant.

use std::sync::LazyLock;

use super::rule::{Action, Pattern, Scope};
use crate::wire::name::Name;

/// A name that is answered here; see the module's head.
#[derive(Debug, PartialEq, Eq)]
pub struct BypassName {
    /// The name, in lower case without the final dot.
    pub name: &'static str,
    /// What is said of it and of the names below it.
    pub answer: BypassAnswer,
    /// A rule that allows just this name is obeyed; wildcards above it, grants and observe mode never are.
    pub may_be_allowed: bool,
    /// What an answer would let clients do, for people.
    pub purpose: &'static str,
}

/// What is said of a name that is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BypassAnswer {
    /// NOERROR without data: the name exists and has nothing.
    NoData,
    /// There is no such name.
    NxDomain,
}

/// All of them, with who says so.
///
/// Looked for and not taken: `mask-canary.icloud.com`, `mask-api.icloud.com` and `mask.apple-dns.net` (in blocklists, not in
/// Apple's page); `_dns.NAME` of RFC 9461, where a client knows the other resolver already; Android's Private DNS and the DoH of
/// Chrome and Edge, which ask the network's own resolver by its address and have no canary.
pub const BYPASS_NAMES: [BypassName; 6] = [
    // RFC 9462 (November 2023), section 4: SVCB of `_dns.resolver.arpa` designates encrypted resolvers. Section 6.1: a forwarder
    // "SHOULD NOT forward" it. Section 6.4: `resolver.arpa` is a locally served zone, NODATA for all that designates nothing.
    // RFC 9606 (June 2024), section 3: RESINFO is a property of the resolver, not subject to recursive resolution.
    BypassName {
        name: "resolver.arpa",
        answer: BypassAnswer::NoData,
        may_be_allowed: false,
        purpose: "it would designate the upstream's encrypted resolver",
    },
    // https://support.mozilla.org/en-US/kb/canary-domain-use-application-dnsnet (read 2026-11): NXDOMAIN, or any answer without
    // A and AAAA, disables DNS over HTTPS where it is on by default.
    BypassName {
        name: "use-application-dns.net",
        answer: BypassAnswer::NxDomain,
        may_be_allowed: true,
        purpose: "Firefox would turn on DNS over HTTPS",
    },
    // Firefox's toolkit/components/doh/DoHHeuristics.sys.mjs, `providerSteering` (read 2026-11): a CNAME of this name selects the
    // DoH server of the network's provider. `test` is nobody's (RFC 6761 section 6.2).
    BypassName {
        name: "doh.test",
        answer: BypassAnswer::NxDomain,
        may_be_allowed: true,
        purpose: "Firefox would be steered to a provider's DNS over HTTPS",
    },
    // https://developer.apple.com/support/prepare-your-network-for-icloud-private-relay/ (read 2026-11), "Allow for network traffic
    // audits": both names, NXDOMAIN or "no error no answer", not a timeout.
    BypassName {
        name: "mask.icloud.com",
        answer: BypassAnswer::NxDomain,
        may_be_allowed: true,
        purpose: "iCloud Private Relay would take over names and traffic",
    },
    BypassName {
        name: "mask-h2.icloud.com",
        answer: BypassAnswer::NxDomain,
        may_be_allowed: true,
        purpose: "iCloud Private Relay would take over names and traffic",
    },
    // https://developer.chrome.com/docs/privacy-security/private-prefetch-proxy-for-network-admins (read 2026-11): without an
    // address Chrome looks up a prefetched page's name here before it shows the page.
    BypassName {
        name: "dns-tunnel-check.googlezip.net",
        answer: BypassAnswer::NxDomain,
        may_be_allowed: true,
        purpose: "Chrome would show prefetched pages without looking up their names",
    },
];

/// The patterns of [`BYPASS_NAMES`], in the same order.
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let name =
        |name: &'static str| Name::from_labels(name.split('.').map(str::as_bytes)).unwrap_or(Name::ROOT);
    BYPASS_NAMES.iter().map(|bypass| Pattern::new(Scope::Subtree, name(bypass.name))).collect()
});

impl BypassName {
    /// All of them with what they cover.
    pub fn all() -> impl Iterator<Item = (&'static Self, &'static Pattern)> {
        BYPASS_NAMES.iter().zip(&*PATTERNS)
    }

    /// The one that `name` is or lies below.
    pub fn covering(name: &Name) -> Option<&'static Self> {
        place(name).and_then(|place| BYPASS_NAMES.get(place))
    }

    /// True where a rule has no say about its names, as they are all among these: all rules but those that allow one name which
    /// may be allowed.
    pub(super) fn overrules(action: Action, pattern: &Pattern) -> bool {
        let is_explicit = action == Action::Allow && pattern.scope() == Scope::Exact;
        Self::covering(pattern.name()).is_some_and(|bypass| !(is_explicit && bypass.may_be_allowed))
    }
}

/// False for nearly all names that [`place`] has none for: it costs next to nothing.
#[inline]
pub(super) fn may_cover(name: &Name) -> bool {
    let end = name.as_bytes().last_chunk().map(|end| u64::from_ne_bytes(*end));
    end.is_some_and(|end| ENDS.map(u64::from_ne_bytes).contains(&end))
}

/// The last bytes of all names in wire format.
const ENDS: [[u8; 8]; 5] =
    [*b"er\x04arpa\0", *b"dns\x03net\0", *b"oh\x04test\0", *b"oud\x03com\0", *b"zip\x03net\0"];

/// Place of the one that `name` is or lies below.
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
