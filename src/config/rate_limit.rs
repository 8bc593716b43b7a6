//! [`RateLimitSettings`]: how many replies one client may have over UDP.

use ipnet::IpNet;
use serde::Serialize;

use crate::config::values::plain;
use crate::config::{limits, value};
use crate::diagnostics::Section;

/// How many replies one client may have over UDP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateLimitSettings {
    /// [`limits::RESPONSES_PER_SECOND`]; 0: no limit.
    pub responses_per_second: u32,
    /// [`limits::SLIP`]
    pub slip: u32,
    /// Clients without a limit.
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
