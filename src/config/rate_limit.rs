//! [`RateLimitSettings`]: how many replies one client may have over UDP.

use ipnet::IpNet;
use serde::Serialize;

use crate::config::values::plain;
use crate::config::{limits, value};
use crate::diagnostics::Section;

/// How many replies one client may have over UDP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateLimitSettings {
    /// Replies over UDP that one client may have in a second, up to 1000000; 0 is no limit. Set it where clients'
    /// addresses can be forged, well above what the busiest client needs; clients with a DNS cookie, and TCP, are not
    /// limited.
    pub responses_per_second: u32,
    /// Of the replies beyond, one in this many is sent truncated, so that a true client asks over TCP; 0 to 10, 0 is
    /// none.
    pub slip: u32,
    /// Subnets without a limit, such as those of resolvers that ask for many clients.
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
