//! The page with the results of canary queries.

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;

use super::Admin;
use super::api::time;
use crate::observe::canary_results::{CanaryOutcome, CanaryResult};
use crate::util::label::Label;

/// `/api/v1/canaries`: results of the last round of queries for the names in `[prove]`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Canaries {
    /// End of the round (RFC 3339); absent if there was no conclusive round.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<String>,
    /// The names, in the order of the settings.
    canaries: Vec<Canary>,
}

/// Result for one name.
#[derive(Clone, Debug, Serialize)]
struct Canary {
    name: String,
    /// `resolve` or `not_resolve`.
    expect: &'static str,
    /// True if all replies were as expected.
    ok: bool,
    /// True if the name was not queried, because observe mode forwards it.
    observed: bool,
    /// The first unexpected reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// Results of the canary queries.
pub(super) async fn canaries(Shared(admin): Shared<Admin>) -> Json<Canaries> {
    let round = admin.metrics.standing().last();
    let shown = |CanaryOutcome { canary, result }: &CanaryOutcome| Canary {
        name: canary.name.to_string(),
        expect: canary.expect.label(),
        ok: *result == CanaryResult::Passed,
        observed: *result == CanaryResult::Observed,
        fault: match result {
            CanaryResult::Failed(fault) => Some(fault.clone()),
            CanaryResult::Passed | CanaryResult::Observed => None,
        },
    };
    Json(Canaries {
        last_run: round.as_ref().map(|round| time(round.ended)),
        canaries: round.iter().flat_map(|round| &round.canaries).map(shown).collect(),
    })
}
