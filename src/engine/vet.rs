//! The checks that some rules require before an answer is sent: CNAME targets and expected addresses.

use std::time::Instant;

use super::State;
use super::direct::block;
use crate::events::counters::Counters;
use crate::events::outcome::{Decision, QueryOutcome};
use crate::policy::clients::GroupId;
use crate::policy::cname::CnamePolicy;
use crate::policy::expect::Expect;
use crate::policy::{AllowReason, AllowedQuery, Mode, Reason, RuleRef};
use crate::wire::reply::Envelope;
use crate::wire::section;

/// True if an answer must be checked before it is sent. Most need no check.
pub(super) fn is_needed(allow_reason: AllowReason<'_>) -> bool {
    match allow_reason {
        AllowReason::Rule(rule) => rule.cname() != CnamePolicy::Trust || rule.expect() != Expect::Any,
        AllowReason::Temporary(_) | AllowReason::Ancestor => false,
        AllowReason::Followed => true,
    }
}

/// Checks `out`, the reply to `query` of a client of `group`, which is allowed because of `allow_reason`. Replaces a
/// reply that must not be sent. Returns the outcome to use instead of `record`.
pub(super) fn reply(
    out: &mut Vec<u8>,
    envelope: &Envelope<'_>,
    state: &State,
    counters: &Counters,
    (query, group, allow_reason): (&AllowedQuery<'_>, GroupId, AllowReason<'_>),
    record: QueryOutcome,
    now: Instant,
) -> QueryOutcome {
    let policies = &state.policies;
    // A followed name must meet the `expect` of the rule that led to it, so that a CNAME cannot bypass it.
    let is_followed = matches!(allow_reason, AllowReason::Followed);
    let Some(rule) = policies.opening_rule(group, allow_reason, query.question(), now) else {
        // The followed name has expired or its rule is gone.
        return match allow_reason {
            AllowReason::Followed => block(out, envelope, state, counters, group, &Reason::NotListed),
            AllowReason::Rule(_) | AllowReason::Temporary(_) | AllowReason::Ancestor => record,
        };
    };
    let policy = policies.policy(group);
    let asker = (query.client(), group);
    if !is_followed && rule.cname() == CnamePolicy::Inspect && !policies.admits_aliases(asker, out, now) {
        let reason = Reason::Alias(rule);
        return match policy.mode() {
            Mode::Enforce => block(out, envelope, state, counters, group, &reason),
            Mode::Observe => {
                counters.blocked(reason.kind());
                QueryOutcome { decision: Decision::Observed, ..record }.because(&reason, group, policies)
            }
        };
    }
    if !has_expected_addresses(out, rule) {
        counters.unexpected(rule.expect());
        let reason = Reason::Unexpected(rule);
        if policy.enforces_expect() && policy.mode() == Mode::Enforce {
            return block(out, envelope, state, counters, group, &reason);
        }
        return record.because(&reason, group, policies);
    }
    if is_followed || rule.cname() == CnamePolicy::Follow {
        policies.follow(group, query, out, now);
    }
    record
}

fn has_expected_addresses(reply: &[u8], rule: RuleRef<'_>) -> bool {
    let expect = rule.expect();
    let mut all = true;
    expect == Expect::Any
        || section::records(reply)
            .all(|record| record.addresses(|address| all &= expect.admits(address)).is_ok())
            && all
}
