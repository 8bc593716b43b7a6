//! The pages about the candidate policy and the tunnel guard.

use std::time::{Instant, SystemTime};

use axum::Json;
use axum::extract::State as Shared;

use super::Admin;
use super::api::time;
use crate::api::pages::{DifferenceJson, ShadowJson, SuspectJson, TunnelGuardJson};
use crate::observe::client::ShownClient;
use crate::util::label::Label;

/// Lookups that the candidate policy would decide differently; null without one.
pub(super) async fn shadow(Shared(admin): Shared<Admin>) -> Json<Option<ShadowJson>> {
    let state = admin.state.load();
    let shown = |difference: crate::policy::shadow::ShadowDifference| DifferenceJson {
        name: difference.name.to_string(),
        change: difference.change.label().to_owned(),
        count: difference.count,
        first: time(SystemTime::now() - difference.first.elapsed()),
        last: time(SystemTime::now() - difference.last.elapsed()),
        client: ShownClient::of(difference.client, admin.live.client()).map(|client| client.to_string()),
    };
    Json(state.shadow.as_ref().map(|shadow| ShadowJson {
        hash: shadow.policies().default().hash(),
        rules: shadow.policies().default().rules(),
        would_block: shadow.lookups(crate::policy::shadow::ShadowChange::WouldBlock),
        would_allow: shadow.lookups(crate::policy::shadow::ShadowChange::WouldAllow),
        differences: shadow.differences().into_iter().map(shown).collect(),
    }))
}

/// Clients that look up many new names below one rule; null if the tunnel guard is off.
pub(super) async fn tunnel_guard(Shared(admin): Shared<Admin>) -> Json<Option<TunnelGuardJson>> {
    let state = admin.state.load();
    let shown = |suspect: crate::policy::tunnel_guard::Suspect| SuspectJson {
        client: ShownClient::of(suspect.client, admin.live.client()).map(|client| client.to_string()),
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
