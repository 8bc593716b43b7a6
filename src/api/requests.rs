//! Bodies of `/api/v1/requests`: requests for grants.

use serde::{Deserialize, Serialize};

/// A request for a grant: the body of `POST /api/v1/requests`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRequestJson {
    /// A name or pattern, written as in a rule.
    pub name: String,
    /// Why it is needed.
    pub reason: String,
    /// Duration, such as `4h`.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Who files it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// The requests, newest first: `GET /api/v1/requests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestsJson {
    /// The requests.
    pub requests: Vec<RequestJson>,
}

/// A filed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestJson {
    /// Identifies it.
    pub id: String,
    /// The name or pattern.
    pub name: String,
    /// Why it is needed.
    pub reason: String,
    /// The address that filed it.
    pub client: String,
    /// The client's group.
    pub group: String,
    /// Duration of the grant, in seconds.
    pub for_seconds: u64,
    /// When it was filed (RFC 3339).
    pub filed: String,
    /// Who filed it, as they say.
    pub author: String,
    /// `pending`, `approved`, `denied` or `expired`.
    pub state: String,
    /// When it was decided (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
    /// Who decided it, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Why it was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// When the grant ends (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The clients of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeJson>,
}

/// The clients that an approval is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeJson {
    /// The client that filed the request.
    #[default]
    Client,
    /// Its client group.
    Group,
    /// All clients.
    All,
}

/// The body of `POST /api/v1/requests/{id}/approve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveJson {
    /// Duration of the grant; absent: as requested.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// The clients of the grant.
    #[serde(default)]
    pub scope: ScopeJson,
    /// Who approves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// The body of `POST /api/v1/requests/{id}/deny`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenyJson {
    /// Why it is denied.
    pub reason: String,
    /// Who denies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// An allowlist entry: `GET /api/v1/requests/{id}/rule`, and `entry` of an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleEntryJson {
    /// The file where it belongs; `FILE:LINE` if a rule there is to be changed.
    pub file: String,
    /// The entry, in the format of the file.
    pub text: String,
}
