//! [`RateLimitSettings`]: limits UDP replies per client.

use ipnet::IpNet;
use serde::Serialize;

use crate::config::values::plain;
use crate::config::{limits, value};
use crate::diagnostics::Section;

/// Limits UDP replies per client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateLimitSettings {
    /// UDP replies per second to one client, up to 1000000; 0 means no limit. Set it where client addresses can be
    /// forged, well above what the busiest client needs. Clients with a DNS cookie, and TCP, are not limited.
    pub responses_per_second: u32,
    /// Send one in this many replies above the limit, truncated, so that a genuine client retries over TCP; 0 to 10; 0:
    /// send none.
    pub slip: u32,
    /// Subnets without a limit, such as those of forwarders with many clients.
    pub exempt: Vec<IpNet>,
}

impl Default for RateLimitSettings {
    fn default() -> Self {
        Self {
            responses_per_second: limits::RESPONSES_PER_SECOND.default,
            slip: limits::SLIP.default,
            exempt: Vec::new(),
        }
    }
}

/// Reads `[rate_limit]`.
pub(super) fn rate_limit(mut section: Section<'_, '_>) -> RateLimitSettings {
    let rate_limit = RateLimitSettings {
        responses_per_second: section.limited("responses_per_second", limits::RESPONSES_PER_SECOND),
        slip: section.limited("slip", limits::SLIP),
        exempt: section.set("exempt", value::subnet).map(plain).unwrap_or_default(),
    };
    section.finish();
    rate_limit
}
