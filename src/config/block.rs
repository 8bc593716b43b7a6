//! Settings of `[block]`: how a blocked name is answered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::inline_rule::{InlineRule, inline_rules};
use crate::config::{limits, value, write};
use crate::diagnostics::Section;

/// How a blocked name is answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockSettings {
    /// The kind of answer.
    pub answer: BlockAnswer,
    /// [`limits::BLOCK_TTL`], whole seconds.
    #[serde(serialize_with = "write::quantity")]
    pub ttl: Duration,
    /// Blocked names that machines ask on their own, counted apart.
    pub noise: Vec<InlineRule>,
    /// Names of one label are noise.
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
