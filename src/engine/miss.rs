//! [`Miss`]: a query whose answer must be fetched, and the reply once the answer has arrived.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::direct::block;
use super::{Engine, State, ageing, flags_of, vet};
use crate::address::client::Client;
use crate::events::counters::Counters;
use crate::events::event::AnsweredQuery;
use crate::events::outcome::{AnswerSource, Decision, QueryOutcome};
use crate::policy::clients::GroupId;
use crate::policy::route::RouteId;
use crate::policy::{AllowReason, AllowedQuery, Policies, Verdict};
use crate::upstream::Fetched;
use crate::wire::answer::{Answer, AnswerHead, AnswerRef, Lifetime};
use crate::wire::code::{ErrorCode, Rcode};
use crate::wire::edns::Edns;
use crate::wire::header::{Flags, HEADER, Header};
use crate::wire::name::Name;
use crate::wire::query::{Query, Question, parse_question};
use crate::wire::reply::{self, Ageing, Envelope, ExtendedError};
use crate::wire::request::{self, AnswerFlags};

/// Bytes of a request stored inline: a question of 50 bytes with an OPT and a cookie.
const USUAL_REQUEST: usize = 104;

/// A query that waits for an upstream or a local zone.
#[derive(Debug)]
pub struct Miss {
    /// The client.
    pub client: Client,
    /// When the query arrived.
    pub received: Instant,
    /// The request as received; the reply needs its id, letter case and EDNS.
    request: SmallVec<[u8; USUAL_REQUEST]>,
    header: Header,
    question_end: usize,
    edns: Option<Edns>,
    /// Generation of the policies that decided.
    generation: u64,
    /// Their decision, for counters and logs.
    record: QueryOutcome,
    /// The route whose upstreams answer; `None` for local zones.
    route: Option<RouteId>,
}

impl Miss {
    /// A miss for `request`, which is parsed as `query`; `policies` decided it with the outcome `record`.
    pub(super) fn new(
        client: Client,
        request: &[u8],
        query: &Query<'_>,
        record: QueryOutcome,
        policies: &Policies,
        received: Instant,
    ) -> Self {
        Self {
            client,
            received,
            request: request.into(),
            header: query.header,
            question_end: HEADER + query.question_bytes.len(),
            edns: query.edns,
            generation: policies.generation(),
            record,
            route: None,
        }
    }

    /// Sets the route whose upstreams answer.
    pub(super) fn by_route(self, route: RouteId) -> Self {
        Self { route: Some(route), ..self }
    }

    /// The request as received.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// A request of the same client for the CNAME target `target`; `None` if the client did not set RD.
    pub fn request_for(&self, target: &Name) -> Option<Vec<u8>> {
        if !self.header.flags.has(Flags::RD) {
            return None;
        }
        let (asked, _) = parse_question(&self.request)?;
        let flags = AnswerFlags {
            dnssec_ok: self.edns.is_some_and(|edns| edns.dnssec_ok),
            checking_disabled: self.header.flags.has(Flags::CD),
        };
        let mut request = Vec::new();
        request::write(&mut request, self.header.id, &Question { name: target.clone(), ..asked }, flags);
        Some(request)
    }

    /// The event for this miss and its reply; `elapsed` is the time since the query arrived.
    pub fn exchange<'a>(
        &'a self,
        record: &'a QueryOutcome,
        reply: &'a [u8],
        elapsed: Duration,
    ) -> AnsweredQuery<'a> {
        let Self { client, received, .. } = *self;
        AnsweredQuery { client, request: &self.request, reply, record, received, elapsed }
    }

    fn envelope(&self, state: &State) -> Envelope<'_> {
        let question = &self.request[HEADER..self.question_end];
        let cookie = state.cookie(self.edns, self.client, self.received);
        Envelope::new(self.header, question, self.edns, self.client.transport, state.udp_payload)
            .with_cookie(cookie.map(|given| given.option))
    }
}

impl Miss {
    /// Writes the reply through `engine` when the answer has arrived, at `now`.
    ///
    /// If the policy has changed, it decides again, so that no client gets an answer for a name that a reload has
    /// blocked.
    pub fn finish(
        &self,
        engine: &mut Engine,
        fetched: &Fetched,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> QueryOutcome {
        let Engine { state, counters, question, .. } = engine;
        let (state, counters) = (state.load(), counters.of(self.client));
        let envelope = self.envelope(state);
        let answer = fetched.answer.as_ref().as_ref();
        let write = |out: &mut Vec<u8>| {
            let age = now.saturating_duration_since(fetched.received);
            reply::answer(out, &envelope, answer, ageing(state, answer, age, fetched.is_stale), false);
        };
        let made = |record| {
            let upstream = fetched.upstream.clone();
            let source = if fetched.is_stale { AnswerSource::Cache } else { AnswerSource::Upstream };
            QueryOutcome { source, rcode: answer.rcode(), upstream, ..record }
        };
        if self.generation == state.policies.generation() && !needs_vetting(&self.record, &state.policies) {
            write(out);
            return made(self.record.clone());
        }
        let (allowed, group, allow_reason, record) =
            match judge_again(self, state, counters, question, &envelope, out, now) {
                Ok(judged) => judged,
                Err(replied) => return replied,
            };
        write(out);
        let record = made(record);
        match allow_reason {
            Some(allow_reason) if vet::is_needed(allow_reason) => {
                vet::reply(out, &envelope, state, counters, (&allowed, group, allow_reason), record, now)
            }
            _ => record,
        }
    }

    /// Writes the reply to a query that a local zone answers.
    pub fn finish_local(
        &self,
        engine: &mut Engine,
        fetched: &LocalFetched,
        out: &mut Vec<u8>,
    ) -> QueryOutcome {
        let state = engine.state.load();
        let (envelope, answer) = (self.envelope(state), fetched.answer.as_ref());
        // `Lifetime::Unknown` leaves the TTLs unchanged. Otherwise those of CNAMEs would be capped at the negative TTL.
        let head = AnswerHead { lifetime: Lifetime::Unknown, ..*answer.head() };
        let answer = AnswerRef::new(head, answer.bytes()).unwrap_or(answer);
        let record = match &fetched.target {
            // The policy has changed, and the new one may block the target.
            Some(target) if target.generation != state.policies.generation() => {
                let text = &"the policy changed during this query; retry";
                let error = ExtendedError { code: ErrorCode::NOT_READY, text };
                reply::error(out, &envelope, Rcode::SERVFAIL, Some(error));
                return QueryOutcome::new(Decision::Local, AnswerSource::Policy, Rcode::SERVFAIL);
            }
            Some(target) => QueryOutcome { decision: Decision::Local, ..target.record.clone() },
            None => QueryOutcome::new(Decision::Local, AnswerSource::Local, answer.rcode()),
        };
        let authoritative = matches!(answer.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN);
        reply::answer(out, &envelope, answer, Ageing::NONE, authoritative);
        QueryOutcome { rcode: answer.rcode(), ..record }
    }
}

/// The answer to a query for a local zone.
#[derive(Debug)]
pub struct LocalFetched {
    /// The answer.
    pub answer: Answer,
    /// The lookup of a CNAME target outside all local zones; `None` if there is no such target.
    pub target: Option<TargetLookup>,
}

impl From<Answer> for LocalFetched {
    fn from(answer: Answer) -> Self {
        Self { answer, target: None }
    }
}

/// The lookup of a CNAME target outside the local zones.
#[derive(Debug)]
pub struct TargetLookup {
    /// Its outcome, for counters and logs.
    pub record: QueryOutcome,
    /// Generation of the policies, read no later than the decision; an outdated one only makes the client retry.
    pub generation: u64,
}

/// The result of a target lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetOutcome {
    /// There is an answer, with or without data.
    Answered,
    /// The target is blocked for this client.
    Blocked,
    /// There is no answer.
    Failed,
}

impl TargetLookup {
    /// The result of the lookup.
    pub fn outcome(&self) -> TargetOutcome {
        match (self.record.decision, self.record.rcode) {
            // Also for `Blocked`: the target is allowed, but its answer is not (`expect`, `tunnel_guard`).
            (_, Rcode::SERVFAIL) => TargetOutcome::Failed,
            (Decision::Blocked, _) => TargetOutcome::Blocked,
            (_, Rcode::NOERROR | Rcode::NXDOMAIN) => TargetOutcome::Answered,
            _ => TargetOutcome::Failed,
        }
    }
}

/// True if the answer to the query of `record` must be checked before it is sent.
fn needs_vetting(record: &QueryOutcome, policies: &Policies) -> bool {
    match record.rule.and_then(|rule| rule.find(policies)) {
        Some(rule) => record.decision == Decision::Allowed && vet::is_needed(AllowReason::Rule(rule)),
        // Allowed without a rule (grant, followed name or ancestor): the permission may have expired.
        None => record.decision == Decision::Allowed,
    }
}

type Judged<'q, 'p> = (AllowedQuery<'q>, GroupId, Option<AllowReason<'p>>, QueryOutcome);

/// Decides a miss again. If its answer must not be sent any more, writes a denial or SERVFAIL instead.
fn judge_again<'q, 'p>(
    miss: &'q Miss,
    state: &'p State,
    counters: &Counters,
    question: &'q mut Question,
    envelope: &Envelope<'_>,
    out: &mut Vec<u8>,
    now: Instant,
) -> Result<Judged<'q, 'p>, QueryOutcome> {
    let fail = |out: &mut Vec<u8>, decision| {
        let text = &"the policy changed during this query; retry";
        let error = ExtendedError { code: ErrorCode::NOT_READY, text };
        reply::error(out, envelope, Rcode::SERVFAIL, Some(error));
        Err(QueryOutcome::new(decision, AnswerSource::Policy, Rcode::SERVFAIL))
    };
    let address = miss.client.address.ip();
    let (Ok(query), Some(group)) = (Query::parse(&miss.request, question), state.policies.group(address))
    else {
        return fail(out, Decision::Refused);
    };
    match state.policies.decide((address, group), query.question, flags_of(&query), now) {
        // Do not send an answer from another route than the name's current one.
        Verdict::Allowed(query, _) | Verdict::Observed(query, _) if miss.route != Some(query.route()) => {
            fail(out, Decision::Blocked)
        }
        Verdict::Allowed(query, allow_reason) => {
            let record =
                QueryOutcome::from(Decision::Allowed).by_rule(allow_reason.rule(), group, &state.policies);
            Ok((query, group, Some(allow_reason), record))
        }
        Verdict::Observed(query, reason) => {
            let record = QueryOutcome::from(Decision::Observed).because(&reason, group, &state.policies);
            Ok((query, group, None, record))
        }
        Verdict::Blocked(reason) => Err(block(out, envelope, state, counters, group, &reason)),
        // The new policy replies to such queries without an upstream. SERVFAIL makes the client retry and get that
        // reply.
        Verdict::Local | Verdict::MinimalAny(_) | Verdict::Refused => fail(out, Decision::Blocked),
    }
}
