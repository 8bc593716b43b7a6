//! Services that tunnel any traffic between machines.

use std::sync::LazyLock;

use super::suffix_table::{SuffixRow, SuffixTable};
use crate::wire::name::Name;

/// Suffixes of well-known tunnel services, as of 2026-11. The list is not complete.
#[rustfmt::skip]
const ROWS: &[SuffixRow] = &[
    ("ngrok.com", "ngrok tunnels"),
    ("ngrok.io", "ngrok tunnels"),
    ("ngrok.app", "ngrok tunnels"),
    ("ngrok.dev", "ngrok tunnels"),
    ("ngrok-free.app", "ngrok tunnels"),
    ("ngrok-free.dev", "ngrok tunnels"),
    ("ngrok-agent.com", "ngrok tunnels"),
    ("trycloudflare.com", "Cloudflare tunnels"),
    ("argotunnel.com", "Cloudflare tunnels"),
    ("cfargotunnel.com", "Cloudflare tunnels"),
    ("devtunnels.ms", "dev tunnels"),
    ("tunnels.api.visualstudio.com", "dev tunnels"),
    ("loca.lt", "localtunnel"),
    ("localtunnel.me", "localtunnel"),
    ("localhost.run", "localhost.run tunnels"),
    ("lhr.life", "localhost.run tunnels"),
    ("serveo.net", "Serveo tunnels"),
    ("pinggy.io", "Pinggy tunnels"),
    ("pinggy.link", "Pinggy tunnels"),
    ("bore.pub", "bore tunnels"),
    ("zrok.io", "zrok tunnels"),
    ("playit.gg", "playit tunnels"),
    ("telebit.io", "Telebit tunnels"),
    ("tailscale.com", "Tailscale networks"),
    ("tailscale.io", "Tailscale networks"),
    ("ts.net", "Tailscale networks"),
    ("zerotier.com", "ZeroTier networks"),
    ("tmate.io", "terminals shared through tmate"),
    ("sshx.io", "terminals shared through sshx"),
    ("torproject.org", "the Tor network"),
];

static TABLE: LazyLock<SuffixTable> = LazyLock::new(|| SuffixTable::new(ROWS.iter().copied()));

/// The tunnel service that a rule for `name` allows: at or above the name or, for a wildcard, below it.
pub fn tunnel(name: &Name, is_wildcard: bool) -> Option<(&'static str, &'static str)> {
    TABLE.at_or_above(name).or_else(|| TABLE.below(name).filter(|_| is_wildcard && name.labels().count() > 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::rule::Pattern;

    #[test]
    fn tunnels_are_found_at_above_and_below_their_suffix() {
        for (suffix, _) in ROWS {
            assert_eq!(Pattern::parse(suffix).unwrap().to_string(), *suffix);
            assert_eq!(ROWS.iter().filter(|(other, _)| other == suffix).count(), 1, "{suffix}");
        }
        let found = |text: &str, wildcard| {
            tunnel(Pattern::parse(text).unwrap().name(), wildcard).map(|(suffix, _)| suffix)
        };
        assert_eq!(found("abc.ngrok.io", false), Some("ngrok.io"));
        assert_eq!(found("visualstudio.com", true), Some("tunnels.api.visualstudio.com"));
        assert_eq!(found("visualstudio.com", false), None);
        assert_eq!(found("com", true), None);
    }
}
