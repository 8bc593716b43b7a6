//! [`AllowRequestJson`]: what the pages about names allowed for a while are sent, and what they say where they do not obey.

use serde::{Deserialize, Serialize};

/// What is to be allowed for a while: the body of `POST /api/v1/allowed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowRequestJson {
    /// A name or pattern, as a rule has it.
    pub name: String,
    /// For how long, such as `1h`.
    #[serde(rename = "for")]
    pub duration: String,
    /// Why.
    pub reason: String,
    /// Who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Everything below a registry's suffix is meant.
    #[serde(default)]
    pub wide: bool,
}

/// Why a request was not obeyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorJson {
    /// What is wrong, and what to do.
    pub error: String,
}
