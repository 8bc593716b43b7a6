//! [`AllowRequestJson`] and [`ErrorJson`]: request and error bodies of `/api/v1/allowed`.

use serde::{Deserialize, Serialize};

/// A request for a grant (a temporary allow): the body of `POST /api/v1/allowed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowRequestJson {
    /// A name or pattern, written as in a rule.
    pub name: String,
    /// Duration, such as `1h`.
    #[serde(rename = "for")]
    pub duration: String,
    /// The reason.
    pub reason: String,
    /// The author.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Only for this client: an address or a prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Only for the clients of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Confirms a pattern that covers every domain under a public suffix, such as `*.com`.
    #[serde(default)]
    pub wide: bool,
    /// Confirms a pattern that covers a name of `prove.must_not_resolve`.
    #[serde(default)]
    pub force: bool,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorJson {
    /// The error, with a hint after `; help: `.
    pub error: String,
}
