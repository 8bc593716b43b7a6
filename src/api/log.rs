//! Response bodies of `/api/v1/log` and the pages below it; `namegate log` and `namegate learn` read the same types.

use serde::{Deserialize, Serialize};

/// `/api/v1/log`: past lookups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogJson {
    /// Where the history of the wanted clients begins (RFC 3339); absent if it has no lookup of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Some lookups of this time are counted without their name, or are missing: there were too many.
    pub sampled: bool,
    /// There may be more lookups: pass `next` as `before`.
    pub truncated: bool,
    /// Where to continue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
    /// The lookups, newest first.
    pub lookups: Vec<LoggedLookupJson>,
}

/// Equal lookups within a minute, allowed ones within five.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedLookupJson {
    /// Time of the first (RFC 3339).
    pub time: String,
    /// Time of the last.
    pub last: String,
    /// Their number.
    pub count: u64,
    /// The client as `log.client` shows it; absent if it is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The client's group, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The name; `*` for further names of a client that looked up too many.
    pub name: String,
    /// The type; `*` in the same case.
    #[serde(rename = "type")]
    pub qtype: String,
    /// The decision, as in the query log.
    pub decision: String,
    /// Why the name is not allowed; empty if it is.
    pub reason: String,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// File and line of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The response code.
    pub rcode: String,
    /// Source of the reply.
    pub source: String,
    /// The upstream that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

/// `/api/v1/log/graph`: numbers of lookups over time; all lists have the same length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogGraphJson {
    /// As in [`LogJson`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// As in [`LogJson`].
    pub sampled: bool,
    /// The time limit was reached: the oldest lookups are not counted.
    pub truncated: bool,
    /// Start of the first step (RFC 3339).
    pub start: String,
    /// Length of a step in seconds.
    pub step_seconds: u64,
    /// Allowed by a rule, or answered from a local zone.
    pub allowed: Vec<u64>,
    /// Blocked, or not allowed but forwarded by observe mode.
    pub blocked: Vec<u64>,
    /// Answered with SERVFAIL, or malformed.
    pub errors: Vec<u64>,
    /// Refused.
    pub other: Vec<u64>,
}

/// `/api/v1/log/clients` and `/api/v1/log/names`: who and what has most lookups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCountsJson {
    /// As in [`LogJson`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// As in [`LogJson`].
    pub sampled: bool,
    /// The time limit was reached: the oldest lookups are not counted.
    pub truncated: bool,
    /// Most lookups first.
    pub items: Vec<LogCountJson>,
}

/// A client or name with its lookups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCountJson {
    /// The client or name; `-` for hidden clients, `*` for further names of clients that looked up too many.
    pub key: String,
    /// Its allowed lookups.
    pub allowed: u64,
    /// Its blocked lookups.
    pub blocked: u64,
    /// Its failed lookups.
    pub errors: u64,
    /// Its refused lookups.
    pub other: u64,
    /// Time of the last one.
    pub last: String,
}
