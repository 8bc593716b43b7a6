//! Whether clients get answers: the judgement behind `/readyz`, and `ready` in the status.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::State;
use crate::upstream::server::{LATELY, Server};

/// Why the upstreams of names without a route answer no query, if none of them replied recently.
pub fn silent_upstreams(state: &State) -> Option<String> {
    let servers = state.upstreams.default().servers();
    let answers = |since: Option<Duration>| since.is_some_and(|since| since <= LATELY);
    let (looping, others): (Vec<_>, Vec<_>) =
        servers.iter().partition(|server| server.stats.loops.is_looping());
    if others.iter().any(|server| answers(server.stats.since_last_reply())) {
        return None;
    }
    let names = |servers: Vec<&Arc<Server>>| {
        servers.iter().map(|server| &**server.name()).collect::<Vec<_>>().join(", ")
    };
    let mut reasons = Vec::new();
    if !looping.is_empty() {
        reasons.push(format!("forwarding loop through {}", names(looping)));
    }
    if !others.is_empty() {
        reasons.push(format!("no reply from {} in the last {} s", names(others), LATELY.as_secs()));
    }
    Some(reasons.join("; "))
}
