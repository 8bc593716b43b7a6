//! The page about the names that the gate asks itself for.

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;

use super::Admin;
use super::api::time;
use crate::observe::canary_results::CanaryOutcome;
use crate::util::label::Label;

/// `/api/v1/canaries`: how the names of `[prove]` fared when the gate last asked itself for all of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Canaries {
    /// When that ended (RFC 3339); absent where there was no round that could tell anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<String>,
    /// The names, in the order of the settings.
    canaries: Vec<Canary>,
}

/// A name that must resolve, or one that must not.
#[derive(Clone, Debug, Serialize)]
struct Canary {
    name: String,
    /// `resolve` or `not_resolve`.
    expect: &'static str,
    /// It does as it must.
    ok: bool,
    /// The first reply that was not as it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// How the names fare.
pub(super) async fn canaries(Shared(admin): Shared<Admin>) -> Json<Canaries> {
    let round = admin.catalogue.standing().last();
    let shown = |CanaryOutcome { canary, fault }: &CanaryOutcome| Canary {
        name: canary.name.to_string(),
        expect: canary.expect.label(),
        ok: fault.is_none(),
        fault: fault.clone(),
    };
    Json(Canaries {
        last_run: round.as_ref().map(|round| time(round.ended)),
        canaries: round.iter().flat_map(|round| &round.canaries).map(shown).collect(),
    })
}
