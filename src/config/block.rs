//! Settings of `[block]`: how a blocked name is answered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::inline_rule::{InlineRule, inline_rules};
use crate::config::{limits, serializers, value};
use crate::diagnostics::Section;

/// How a blocked name is answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockSettings {
    /// "nxdomain", or "nodata" for clients that take a missing name for the end of everything below it, or "refused"
    /// for clients that are to go on to their next server.
    pub answer: BlockAnswer,
    /// How long clients remember that a name was blocked, 0s to 1h. Lower it while you still add rules.
    #[serde(serialize_with = "serializers::quantity")]
    pub ttl: Duration,
    /// Names that machines ask by themselves: search suffixes put behind other names. They stay blocked, but are
    /// counted as reason "noise" and kept out of the most blocked names. Add the suffix your DHCP hands out.
    pub noise: Vec<InlineRule>,
    /// Names of a single label, such as "wpad", are noise as well.
    pub noise_single_labels: bool,
}

impl Default for BlockSettings {
    fn default() -> Self {
        Self {
            answer: BlockAnswer::Nxdomain,
            ttl: limits::BLOCK_TTL.default,
            noise: NOISE.iter().filter_map(|text| InlineRule::shipped(text)).collect(),
            noise_single_labels: true,
        }
    }
}

/// Suffixes that stub resolvers put behind names: Azure's placeholder for networks with DNS servers of their own and its
/// default zone (Microsoft Learn, "Name resolution for resources in Azure virtual networks"), and what home routers, mDNS
/// (RFC 6762) and private networks use (RFC 8375).
const NOISE: [&str; 7] = [
    ".reddog.microsoft.com",
    ".internal.cloudapp.net",
    ".local",
    ".localdomain",
    ".lan",
    ".home",
    ".home.arpa",
];

/// The answer to a blocked name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockAnswer {
    /// The name does not exist.
    Nxdomain,
    /// The name exists and has no such record.
    Nodata,
    /// REFUSED: clients may go on to their next server.
    Refused,
}

pub(super) fn block(mut section: Section<'_, '_>) -> BlockSettings {
    let default = BlockSettings::default();
    let block = BlockSettings {
        answer: section.parsed_or("answer", value::word, default.answer),
        ttl: section.limited("ttl", limits::BLOCK_TTL),
        noise: inline_rules(&mut section, "noise").unwrap_or(default.noise),
        noise_single_labels: section.or("noise_single_labels", default.noise_single_labels),
    };
    section.finish();
    block
}
