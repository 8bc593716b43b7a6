//! `/api/v1/reload`: reloads settings and allowlists.

use axum::Json;

use super::access::Approver;
use super::refusal::Refusal;
use crate::api::reload::ReloadJson;
use crate::control::ReloadOutcome;

/// Reloads, and answers when the reload has ended.
pub(super) async fn reload(approver: Approver) -> Result<Json<ReloadJson>, Refusal> {
    let ReloadOutcome { succeeded, message, policy } = approver.orders.reload_and_wait().await?;
    Ok(Json(ReloadJson { succeeded, message, policy }))
}
