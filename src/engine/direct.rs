//! Replies that need neither cache nor upstream: denials, refusals, errors, and the server's identity.

use std::fmt::Display;
use std::time::Instant;

use super::{Outcome, State, notice};
use crate::address::client::Client;
use crate::events::counters::{Counters, Dropped, Limited};
use crate::events::outcome::{AnswerSource, Decision, QueryOutcome};
use crate::policy::Reason;
use crate::policy::bypass::BypassAnswer;
use crate::policy::clients::GroupId;
use crate::wire::code::{ErrorCode, Rcode, Type};
use crate::wire::denial;
use crate::wire::query::{Malformed, Query, Question};
use crate::wire::reply::{self, Envelope, ExtendedError};

/// Replies to a malformed request with the matching error code, or drops it where no reply is allowed.
pub(super) fn answer_malformed(
    state: &State,
    counters: &Counters,
    limited: &mut u32,
    malformed: &Malformed<'_>,
    (client, now): (Client, Instant),
    out: &mut Vec<u8>,
) -> Outcome {
    counters.query(client.transport, None);
    let (envelope, rcode) = match malformed {
        Malformed::Short => return silence(counters, Dropped::Short),
        Malformed::Response => return silence(counters, Dropped::Response),
        Malformed::Opcode(header) => (Envelope::of_header(*header, None), Rcode::NOTIMP),
        Malformed::Format(header, question) => (Envelope::of_header(*header, *question), Rcode::FORMERR),
        Malformed::Version(query) => (envelope_of(state, query, client, now), Rcode::BADVERS),
    };
    let is_stranger = state.policies.group(client.address.ip()).is_none();
    if is_stranger && state.drops_others {
        return silence(counters, Dropped::NotAllowed);
    }
    if !state.admits(client, now) {
        return limit(state, counters, limited, &envelope, out);
    }
    if is_stranger {
        return refuse_client(out, &envelope);
    }
    match malformed {
        Malformed::Opcode(header) => reply::not_implemented(out, *header),
        _ => reply::error(out, &envelope, rcode, None),
    }
    replied(Decision::Error, AnswerSource::Policy, rcode)
}

fn envelope_of<'q>(state: &State, query: &Query<'q>, client: Client, now: Instant) -> Envelope<'q> {
    let cookie = state.cookie(query.edns, client, now);
    Envelope::of(query, client.transport, state.udp_payload).with_cookie(cookie.map(|given| given.option))
}

/// Handles a query over the client's reply limit: drops it, or for one in `slip` sends a short reply that lets a real
/// client prove its address. `limited` counts such queries.
pub(super) fn limit(
    state: &State,
    counters: &Counters,
    limited: &mut u32,
    envelope: &Envelope<'_>,
    out: &mut Vec<u8>,
) -> Outcome {
    *limited = limited.wrapping_add(1);
    if !state.rate_limit.as_ref().is_some_and(|limit| limit.slips(*limited)) {
        counters.rate_limited(Limited::Dropped);
        counters.dropped(Dropped::RateLimit);
        return Outcome::Silence;
    }
    // RFC 7873 section 5.2.3: a client that sent a cookie gets a server cookie, which proves its address next time.
    let (kind, rcode) = match envelope.has_cookie() {
        true => (Limited::BadCookie, Rcode::BADCOOKIE),
        false => (Limited::Truncated, Rcode::NOERROR),
    };
    counters.rate_limited(kind);
    match kind {
        Limited::BadCookie => reply::error(out, envelope, rcode, None),
        _ => reply::truncated(out, envelope, rcode),
    }
    replied(Decision::Refused, AnswerSource::Policy, rcode)
}

/// True for the reasons whose text is not the one of the prepared denial.
fn is_unusual(reason: &Reason<'_>) -> bool {
    match reason {
        Reason::NotListed | Reason::Noise => false,
        Reason::Denied(_)
        | Reason::Ancestor(_)
        | Reason::Bypass(_)
        | Reason::Alias(_)
        | Reason::Tunnel(_)
        | Reason::Unexpected(_) => true,
    }
}

/// Calls `write` with the texts of the Extended DNS Error for `reason`, best first; with none for the prepared text.
#[inline]
fn with_texts<R>(
    envelope: &Envelope<'_>,
    state: &State,
    reason: &Reason<'_>,
    write: impl FnOnce(&[&dyn Display]) -> R,
) -> R {
    if state.notice.is_some() || envelope.wants_structured_errors() {
        return notice::with_texts(envelope, state.notice.as_deref(), reason, write);
    }
    if is_unusual(reason) { write(&[reason]) } else { write(&[]) }
}

/// Writes the reply that blocks a query of `group` for `reason`.
pub(super) fn block(
    out: &mut Vec<u8>,
    envelope: &Envelope<'_>,
    state: &State,
    counters: &Counters,
    group: GroupId,
    reason: &Reason<'_>,
) -> QueryOutcome {
    counters.blocked(reason.kind());
    let rcode = match reason {
        Reason::NotListed | Reason::Noise | Reason::Denied(_) | Reason::Alias(_) => {
            with_texts(envelope, state, reason, |texts| denial::blocked(out, envelope, &state.denial, texts));
            state.denial.rcode()
        }
        Reason::Ancestor(_) => {
            with_texts(envelope, state, reason, |texts| {
                denial::ancestor(out, envelope, &state.denial, texts);
            });
            state.denial.ancestor_rcode()
        }
        // Software expects exactly these answers, whatever other blocked names get.
        Reason::Bypass(bypass) => {
            let denial = match bypass.answer {
                BypassAnswer::NoData => &state.no_data,
                BypassAnswer::NxDomain => &state.no_name,
            };
            with_texts(envelope, state, reason, |texts| denial::blocked(out, envelope, denial, texts));
            denial.rcode()
        }
        // The name itself is allowed. A cached NXDOMAIN for it would be wrong.
        Reason::Tunnel(_) | Reason::Unexpected(_) => {
            with_texts(envelope, state, reason, |texts| {
                reply::failure(out, envelope, ErrorCode::BLOCKED, texts);
            });
            Rcode::SERVFAIL
        }
    };
    QueryOutcome::new(Decision::Blocked, AnswerSource::Policy, rcode).because(reason, group, &state.policies)
}

/// Drops a message and counts it.
pub(super) fn silence(counters: &Counters, reason: Dropped) -> Outcome {
    counters.dropped(reason);
    Outcome::Silence
}

pub(super) fn replied(decision: Decision, source: AnswerSource, rcode: Rcode) -> Outcome {
    Outcome::Reply(QueryOutcome::new(decision, source, rcode))
}

pub(super) fn refuse_client(out: &mut Vec<u8>, envelope: &Envelope<'_>) -> Outcome {
    let error = ExtendedError { code: ErrorCode::PROHIBITED, text: &"client not permitted by allow_clients" };
    reply::error(out, envelope, Rcode::REFUSED, Some(error));
    replied(Decision::Refused, AnswerSource::Policy, Rcode::REFUSED)
}

/// Answers `id.server` and `hostname.bind` TXT in class CH, if an identity is set (RFC 4892).
pub(super) fn answer_identity(
    out: &mut Vec<u8>,
    envelope: &Envelope<'_>,
    question: &Question,
    state: &State,
) -> bool {
    let Some(identity) = &state.identity else { return false };
    let name = question.name.as_bytes();
    let asked = name == b"\x02id\x06server\0" || name == b"\x08hostname\x04bind\0";
    if asked && question.qtype == Type::TXT {
        reply::identity(out, envelope, identity);
    }
    asked && question.qtype == Type::TXT
}
