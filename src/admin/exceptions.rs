//! The pages about what is decided, or watched, besides the rules.

use std::time::{Instant, SystemTime};

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::api::time;
use crate::observe::client::ShownClient;

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

/// Where a policy to come would decide otherwise.
pub(super) async fn shadow(Shared(admin): Shared<Admin>) -> Json<Option<ShadowJson>> {
    let state = admin.state.load();
    let shown = |difference: crate::policy::shadow::ShadowDifference| DifferenceJson {
        name: difference.name.to_string(),
        change: difference.change.label().to_owned(),
        count: difference.count,
        first: time(SystemTime::now() - difference.first.elapsed()),
        last: time(SystemTime::now() - difference.last.elapsed()),
        client: ShownClient::of(difference.client, admin.board.client()).map(|client| client.to_string()),
    };
    Json(state.shadow.as_ref().map(|shadow| ShadowJson {
        hash: shadow.policies().default().hash(),
        rules: shadow.policies().default().rules(),
        would_block: shadow.lookups(crate::policy::shadow::ShadowChange::WouldBlock),
        would_allow: shadow.lookups(crate::policy::shadow::ShadowChange::WouldAllow),
        differences: shadow.differences().into_iter().map(shown).collect(),
    }))
}

/// Clients that ask for many new names below one rule.
pub(super) async fn tunnel_guard(Shared(admin): Shared<Admin>) -> Json<Option<TunnelGuardJson>> {
    let state = admin.state.load();
    let shown = |suspect: crate::policy::tunnel_guard::Suspect| SuspectJson {
        client: ShownClient::of(suspect.client, admin.board.client()).map(|client| client.to_string()),
        below: suspect.suffix.to_string(),
        names: suspect.names,
        bytes: suspect.bytes,
        exceeded: suspect.exceeded,
    };
    Json(state.tunnel_guard.as_ref().map(|guard| TunnelGuardJson {
        enforced: guard.enforces(),
        window_seconds: guard.budget().window.as_secs(),
        new_names: guard.budget().names,
        name_bytes: guard.budget().bytes,
        suspects: guard.suspects(Instant::now()).into_iter().map(shown).collect(),
    }))
}
