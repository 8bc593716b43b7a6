//! Response bodies of the JSON pages; `namegate top` reads the same types.

use serde::{Deserialize, Serialize};

use super::requests::RuleEntryJson;

/// `/api/v1/status`: version, policy, counts, cache and upstreams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusJson {
    /// The running version.
    pub version: String,
    /// When the process started (RFC 3339).
    pub started: String,
    /// Seconds since the start.
    pub uptime_seconds: f64,
    /// The policy in force.
    pub policy: PolicyJson,
    /// True if `/readyz` succeeds.
    pub ready: bool,
    /// What is wrong, most severe first; empty if all is well.
    pub problems: Vec<ProblemJson>,
    /// Queries by result, since the start.
    pub totals: TotalsJson,
    /// Queries per second, for the last 5 minutes.
    pub rates: RatesJson,
    /// The cache.
    pub cache: CacheJson,
    /// The upstreams, in order of preference.
    pub upstreams: Vec<UpstreamJson>,
    /// Lookups missing from the query log: a queue was full, or the line could not be written.
    pub log_lost: u64,
}

/// A problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemJson {
    /// Its kind, such as `upstreams_down`.
    pub kind: String,
    /// `error` or `warning`.
    pub severity: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// Since when (RFC 3339), if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyJson {
    /// First digits of the policy's hash.
    pub hash: String,
    /// `enforce` or `observe`.
    pub mode: String,
    /// Rules in force.
    pub rules: usize,
    /// The allowlists the rules come from.
    pub zones: Vec<AllowlistJson>,
    /// When the policy was loaded (RFC 3339).
    pub loaded: String,
    /// False if a later reload failed.
    pub last_reload_succeeded: bool,
}

/// A source of rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowlistJson {
    /// Name of the allowlist; `settings` for rules written inline.
    pub name: String,
    /// The file.
    pub file: String,
    /// Rules in force.
    pub rules: usize,
}

/// Counts of queries of clients; namegate's own queries are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsJson {
    /// All messages received.
    pub queries: u64,
    /// Allowed, or answered from a local zone; without SERVFAIL.
    pub allowed: u64,
    /// Blocked.
    pub blocked: u64,
    /// Noise: lookups caused only by search suffixes; part of `blocked` or `observed`.
    pub noise: u64,
    /// Not allowed, but forwarded by observe mode; without SERVFAIL.
    pub observed: u64,
    /// Refused because of client, class or type.
    pub refused: u64,
    /// Not resolved (SERVFAIL), malformed or unsupported.
    pub errors: u64,
    /// Dropped without a reply.
    pub dropped: u64,
}

/// Queries in each second, oldest first; all lists have the same length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatesJson {
    /// Allowed, or answered from a local zone; without SERVFAIL.
    pub allowed: Vec<u64>,
    /// Blocked, or not allowed but forwarded by observe mode; noise included.
    pub blocked: Vec<u64>,
    /// Not resolved (SERVFAIL), malformed or unsupported.
    pub errors: Vec<u64>,
    /// Refused, or dropped without a reply.
    pub other: Vec<u64>,
}

/// The cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheJson {
    /// Cache entries.
    pub entries: usize,
    /// Bytes used.
    pub bytes: u64,
    /// Byte limit.
    pub max_bytes: u64,
    /// Cache hits.
    pub hits: u64,
    /// Cache misses.
    pub misses: u64,
}

/// An upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamJson {
    /// The upstream's address.
    pub name: String,
    /// False after too many failures in a row.
    pub up: bool,
    /// False while namegate sends it queries without EDNS, because it answered only those.
    pub edns: bool,
    /// Seconds since its last reply; null if there was none.
    pub seconds_since_reply: Option<f64>,
    /// Queries waiting for its reply.
    pub in_flight: usize,
    /// Most queries that may wait at once.
    pub max_in_flight: usize,
    /// Most queries per second; 0: no limit.
    pub max_qps: u32,
    /// Queries answered, since the start.
    pub answered: u64,
    /// Queries without an answer, since the start.
    pub failed: u64,
    /// Queries not sent because a limit was reached.
    pub shed: u64,
    /// Mean time to a reply in seconds, since the start.
    pub mean_seconds: Option<f64>,
}

/// `/api/v1/top`: the names and clients with the most blocked lookups, noise excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopJson {
    /// Period covered, in seconds.
    pub window_seconds: u64,
    /// Names, most blocked first.
    pub names: Vec<CountJson>,
    /// Clients, most blocked first.
    pub clients: Vec<CountJson>,
}

/// One name or client with its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountJson {
    /// The name or the client's address.
    pub key: String,
    /// Blocked lookups in the window.
    pub count: u64,
}

/// `/api/v1/blocked`: names blocked since the start, noise excluded. When there are too many, the most frequent are
/// stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedJson {
    /// Start of the record (RFC 3339).
    pub since: String,
    /// The names, most lookups first.
    pub names: Vec<BlockedNameJson>,
    /// Number of names dropped to make room.
    pub forgotten: u64,
    /// Lookups of names that are not host names, so that no rule can express them.
    pub no_hosts: u64,
}

/// A blocked name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedNameJson {
    /// The name.
    pub name: String,
    /// Lookups seen; in a flood (over 5,000 blocked lookups a second on one worker) only a sample of all.
    pub count: u64,
    /// Its first lookup (RFC 3339).
    pub first: String,
    /// Its last lookup (RFC 3339).
    pub last: String,
    /// True if a deny rule blocked the last lookup.
    pub denied: bool,
    /// Up to eight clients, as far as `log.client` lets them be shown.
    pub clients: Vec<String>,
    /// True if there were more clients.
    pub more_clients: bool,
    /// Query types.
    pub types: Vec<String>,
}

/// `/api/v1/recent`: recent blocked lookups, oldest first; across threads the order is exact to a few milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecentJson {
    /// Value of `after` for the next request.
    pub next: u64,
    /// The lookups.
    pub lookups: Vec<LookupJson>,
}

/// A blocked lookup, or one that enforce mode would block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookupJson {
    /// Sequence number, counted from the start of the process.
    pub sequence: u64,
    /// Time of the query (RFC 3339).
    pub time: String,
    /// The client, as far as `log.client` lets it be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The name queried.
    pub name: String,
    /// The query type.
    #[serde(rename = "type")]
    pub qtype: String,
    /// `blocked` or `observed`.
    pub decision: String,
    /// Reason, as in `namegate_blocked_total`.
    pub reason: String,
    /// The rule that blocks the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `file:line` of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What people wrote about the rule.
    #[serde(flatten)]
    pub text: RuleTextJson,
}

/// What people wrote about a rule; empty texts are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleTextJson {
    /// What the names are for; for a deny rule, why they are denied.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// Who asked for the rule.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// The request or change that introduced it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ticket: String,
    /// Its last day (UTC), or the time (RFC 3339) when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// `/api/v1/rules`: the rules in force, and their uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesJson {
    /// The rules, in the order of their allowlists; with `unused`, only those that decided nothing for that time.
    pub rules: Vec<RuleJson>,
    /// Number of further rules that are left out, because the page has at most 10,000.
    pub more: usize,
}

/// One rule and its use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleJson {
    /// The first client group that has it.
    pub group: String,
    /// The allowlist that contains it.
    pub zone: String,
    /// `allow` or `deny`.
    pub action: String,
    /// Its pattern.
    pub rule: String,
    /// `file:line` of the rule.
    pub place: String,
    /// What people wrote about it.
    #[serde(flatten)]
    pub text: RuleTextJson,
    /// True if it has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// Queries that it decided; absent if the policy has too many rules to count each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hits: Option<u64>,
    /// Time of the last of them (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// Since when they are counted (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_since: Option<String>,
}

/// `/api/v1/explain`: how namegate would decide a lookup. Sends no query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplanationJson {
    /// The name, in lower case.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub qtype: String,
    /// The client asked about; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The client's group, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Mode of the group: `enforce` or `observe`; absent for a client that may not query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `allowed`, `blocked`, `observed`, `local` or `refused`.
    pub verdict: String,
    /// The reason, as a sentence.
    pub because: String,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `file:line` of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The allowlist that contains the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What people wrote about the rule.
    #[serde(flatten)]
    pub text: RuleTextJson,
    /// Queries that the rule decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hits: Option<u64>,
    /// Time of the last of them (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// The servers that the query would go to, in order of preference; absent if it would not be forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The grants that cover the name.
    pub grants: Vec<GrantJson>,
    /// Settings that would allow the name, if it is not allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<String>,
    /// The entry that would allow the name for this client, if it is not allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<RuleEntryJson>,
}

/// A grant that covers a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantJson {
    /// Its pattern.
    pub pattern: String,
    /// The client or prefix that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The client group that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// When it expires (RFC 3339).
    pub until: String,
    /// Its reason.
    pub reason: String,
    /// Who asked for it.
    pub author: String,
}

/// `/api/v1/shadow`: lookups that the candidate policy would decide differently, since it was loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShadowJson {
    /// First digits of the hash of the candidate's rules for clients in no group.
    pub hash: String,
    /// Number of those rules.
    pub rules: usize,
    /// Lookups answered now that would be blocked.
    pub would_block: u64,
    /// Lookups blocked now that would be answered.
    pub would_allow: u64,
    /// Names of these lookups, most lookups first; a few thousand at most.
    pub differences: Vec<DifferenceJson>,
}

/// A name that the two policies decide differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceJson {
    /// The name, in presentation form.
    pub name: String,
    /// `would_block` or `would_allow`.
    pub change: String,
    /// Number of lookups.
    pub count: u64,
    /// Time of the first lookup (RFC 3339).
    pub first: String,
    /// Time of the last lookup (RFC 3339).
    pub last: String,
    /// Client of the last lookup; null if clients are hidden.
    pub client: Option<String>,
}

/// `/api/v1/tunnel-guard`: clients that look up many new names below one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelGuardJson {
    /// True if names over the budget are blocked.
    pub enforced: bool,
    /// The window, in seconds.
    pub window_seconds: u64,
    /// Most new names per client, rule and window.
    pub new_names: u32,
    /// Most bytes of new names per client, rule and window.
    pub name_bytes: u64,
    /// Clients over the budget in the current window, worst first.
    pub suspects: Vec<SuspectJson>,
}

/// A client over its budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuspectJson {
    /// The client (for IPv6 its /64); null if clients are hidden.
    pub client: Option<String>,
    /// The name below which the client looks up names.
    pub below: String,
    /// New names within the budget, in the current window.
    pub names: u32,
    /// Bytes of these names.
    pub bytes: u64,
    /// Names over the budget.
    pub exceeded: u64,
}
