//! Settings of `[block]`: how blocked names are answered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::inline_rule::{InlineRule, inline_rules};
use crate::config::{limits, serializers, value};
use crate::diagnostics::Section;

/// How blocked names are answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockSettings {
    /// "nxdomain"; or "nodata" for clients that treat NXDOMAIN for one name as NXDOMAIN for all names below it (rarely
    /// needed: names above allowed names never get NXDOMAIN); or "refused" for clients that should try their next
    /// server.
    pub answer: BlockAnswer,
    /// How long clients cache the answer for a blocked name, 0s to 1h. Lower it while you are still adding rules.
    #[serde(serialize_with = "serializers::quantity")]
    pub ttl: Duration,
    /// Names that machines query by themselves, mostly because the stub resolver appends a search suffix. They stay
    /// blocked, but count as reason "noise" and are left out of the most blocked names. Add the search suffix of your
    /// DHCP server.
    pub noise: Vec<InlineRule>,
    /// Treat names of a single label, such as "wpad", as noise too.
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

/// Suffixes that stub resolvers append to names: Azure's placeholder for networks with custom DNS servers and its
/// default zone (Microsoft Learn, "Name resolution for resources in Azure virtual networks"), and those of home
/// routers, mDNS (RFC 6762) and private networks (RFC 8375).
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
    /// The name exists, but has no record of this type.
    Nodata,
    /// REFUSED: clients may try their next server.
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
