//! What the JSON pages show; `namegate top` reads the same types back.

use serde::{Deserialize, Serialize};

/// `/api/v1/status`: what runs and how it fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusJson {
    /// The running version.
    pub version: String,
    /// When the process started (RFC 3339).
    pub started: String,
    /// Seconds since then.
    pub uptime_seconds: f64,
    /// The policy in force.
    pub policy: PolicyJson,
    /// Queries by what became of them, since the start.
    pub totals: TotalsJson,
    /// The same per second, for the last minutes.
    pub rates: RatesJson,
    /// The cache.
    pub cache: CacheJson,
    /// The upstreams, in the order they are preferred.
    pub upstreams: Vec<UpstreamJson>,
    /// Lookups missing in the query log: a queue was full, or the line could not be written.
    pub log_lost: u64,
}

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyJson {
    /// First digits of its hash.
    pub hash: String,
    /// `enforce` or `observe`.
    pub mode: String,
    /// Rules in force.
    pub rules: usize,
    /// Where they come from.
    pub zones: Vec<AllowlistJson>,
    /// When it was loaded (RFC 3339).
    pub loaded: String,
    /// False where a later reload failed.
    pub last_reload_succeeded: bool,
}

/// A source of rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowlistJson {
    /// Its name; `settings` for rules written inline.
    pub name: String,
    /// The file.
    pub file: String,
    /// Rules in force.
    pub rules: usize,
}

/// Counts of queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsJson {
    /// All messages received.
    pub queries: u64,
    /// Allowed by a rule, or answered from a local zone.
    pub allowed: u64,
    /// Blocked.
    pub blocked: u64,
    /// Of the names not allowed, those asked only because of search suffixes, whether blocked or observed.
    pub noise: u64,
    /// Forwarded by observe mode though not allowed.
    pub observed: u64,
    /// Refused: client, class or type.
    pub refused: u64,
    /// No proper query.
    pub errors: u64,
    /// Left without a reply.
    pub dropped: u64,
}

/// Queries in each second, oldest first; all lists are equally long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatesJson {
    /// Allowed by a rule, or answered from a local zone.
    pub allowed: Vec<u64>,
    /// Blocked, with noise, and what observe mode would block.
    pub blocked: Vec<u64>,
    /// Everything else.
    pub other: Vec<u64>,
}

/// The cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheJson {
    /// Answers kept.
    pub entries: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes allowed.
    pub max_bytes: u64,
    /// Answers found.
    pub hits: u64,
    /// Answers not found.
    pub misses: u64,
}

/// An upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamJson {
    /// Its address.
    pub name: String,
    /// False after too many failures in a row.
    pub up: bool,
    /// False while it is asked without EDNS, because it answered only so.
    pub edns: bool,
    /// Seconds since its last reply; absent where there was none.
    pub seconds_since_reply: Option<f64>,
    /// Exchanges under way.
    pub in_flight: usize,
    /// Exchanges allowed at once.
    pub max_in_flight: usize,
    /// Exchanges allowed per second; 0: no limit.
    pub max_qps: u32,
    /// Exchanges that brought an answer, since the start.
    pub answered: u64,
    /// Exchanges that did not.
    pub failed: u64,
    /// Queries not asked for want of budget.
    pub shed: u64,
    /// Mean time to an answer in seconds, since the start.
    pub mean_seconds: Option<f64>,
}

/// `/api/v1/top`: the most blocked names and the clients that asked for them, noise left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopJson {
    /// Seconds looked back.
    pub window_seconds: u64,
    /// Names, most blocked first.
    pub names: Vec<CountJson>,
    /// Clients, most blocked first.
    pub clients: Vec<CountJson>,
}

/// One of the most frequent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountJson {
    /// The name or the client's address.
    pub key: String,
    /// Blocked lookups within the window.
    pub count: u64,
}

/// `/api/v1/blocked`: the names that are not allowed and were asked for since the start, noise left out. Of very many
/// those asked for most are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedJson {
    /// When the gate began to take note (RFC 3339).
    pub since: String,
    /// The names, most asked for first.
    pub names: Vec<BlockedNameJson>,
    /// How often a name was forgotten to make room for another.
    pub forgotten: u64,
    /// Lookups of names that no rule can be written for: they are no host names.
    pub no_hosts: u64,
}

/// A name that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedNameJson {
    /// The name.
    pub name: String,
    /// Lookups told of; in a flood (over 5,000 blocked a second on one worker) that is a part of all.
    pub count: u64,
    /// Its first lookup (RFC 3339).
    pub first: String,
    /// Its last lookup (RFC 3339).
    pub last: String,
    /// At its last lookup a rule denied it.
    pub denied: bool,
    /// Up to eight who asked, as far as the settings let them be shown.
    pub clients: Vec<String>,
    /// More than those asked.
    pub more_clients: bool,
    /// Types asked for.
    pub types: Vec<String>,
}

/// `/api/v1/recent`: blocked lookups, oldest first; among different threads, to some milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecentJson {
    /// What to ask for next with `after`.
    pub next: u64,
    /// The lookups.
    pub lookups: Vec<LookupJson>,
}

/// A blocked lookup, or one that enforcing would block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookupJson {
    /// Number within the process, upwards.
    pub sequence: u64,
    /// When it was asked (RFC 3339).
    pub time: String,
    /// Who asked, as far as the settings let it be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    #[serde(rename = "type")]
    pub qtype: String,
    /// `blocked` or `observed`.
    pub decision: String,
    /// A reason of `namegate_blocked_total`.
    pub reason: String,
    /// The rule that denies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `file:line` of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// `/api/v1/explain`: what would become of a lookup. Nothing is sent for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplanationJson {
    /// The name, folded.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub qtype: String,
    /// `allowed`, `blocked`, `observed`, `local` or `refused`.
    pub verdict: String,
    /// Why, in one sentence for people.
    pub because: String,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `file:line` of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The zone the rule is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Settings that would allow the name, where it is not allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<String>,
}

/// Where a policy to come would decide otherwise than the one in force, since it was loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShadowJson {
    /// First digits of the hash of its rules for clients without a group.
    pub hash: String,
    /// How many those are.
    pub rules: usize,
    /// Lookups that are answered and would be blocked.
    pub would_block: u64,
    /// Lookups that are blocked and would be answered.
    pub would_allow: u64,
    /// Their names, the most asked first; some thousand at most.
    pub differences: Vec<DifferenceJson>,
}

/// A name about which two policies differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceJson {
    /// The name, in presentation form.
    pub name: String,
    /// `would_block` or `would_allow`.
    pub change: String,
    /// Lookups.
    pub count: u64,
    /// Time of the first, RFC 3339.
    pub first: String,
    /// Time of the last, RFC 3339.
    pub last: String,
    /// Who asked last; none where clients are not shown.
    pub client: Option<String>,
}

/// Clients that ask for many new names below one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelGuardJson {
    /// Names beyond the budget are blocked.
    pub enforced: bool,
    /// The window, in seconds.
    pub window_seconds: u64,
    /// New names that one client may ask for below one rule within it.
    pub new_names: u32,
    /// Bytes of those.
    pub name_bytes: u64,
    /// Who went beyond within the present window, the worst first.
    pub suspects: Vec<SuspectJson>,
}

/// A client beyond its budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuspectJson {
    /// Who; an IPv6 client is shown by its /64. None where clients are not shown.
    pub client: Option<String>,
    /// The name below which it asks.
    pub below: String,
    /// New names within the budget, in the present window.
    pub names: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Names beyond.
    pub exceeded: u64,
}
