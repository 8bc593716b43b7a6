//! [`Miss`]: a query whose answer is somewhere else, and the reply to it once the answer is there.

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

/// Bytes of a request that need no memory of their own: a question of 50 bytes with an OPT and a cookie.
const USUAL_REQUEST: usize = 104;

/// A query on its way to someone who can answer it.
#[derive(Debug)]
pub struct Miss {
    /// Who asked.
    pub client: Client,
    /// When it came.
    pub received: Instant,
    /// The request as received: its id, case and EDNS are needed again for the reply.
    request: SmallVec<[u8; USUAL_REQUEST]>,
    header: Header,
    question_end: usize,
    edns: Option<Edns>,
    /// Number of the policies that decided, and what they said.
    generation: u64,
    record: QueryOutcome,
    /// Where the answer comes from; none from an upstream.
    route: Option<RouteId>,
}

impl Miss {
    /// `request`, which is `query` and was decided on by `policies` as `record` says.
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

    /// The same, to be answered by the upstreams of `route`.
    pub(super) fn by_route(self, route: RouteId) -> Self {
        Self { route: Some(route), ..self }
    }

    /// The request as received.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// The same client's request for `target`, to which an alias leads; none where recursion was not desired.
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

    /// The miss with its reply, made `elapsed` after it came.
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

impl Engine {
    /// Writes the reply to a miss once its answer is there, at `now`.
    ///
    /// Where the policy has changed the verdict is taken again, so that no answer about a name leaves after a reload that
    /// blocks it.
    pub fn finish(
        &mut self,
        miss: &Miss,
        fetched: &Fetched,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> QueryOutcome {
        let Self { state, counters, question, .. } = self;
        let state = state.load();
        let envelope = miss.envelope(state);
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
        if miss.generation == state.policies.generation() && !needs_vetting(&miss.record, &state.policies) {
            write(out);
            return made(miss.record.clone());
        }
        let (allowed, group, ground, record) =
            match judge_again(miss, state, counters, question, &envelope, out, now) {
                Ok(judged) => judged,
                Err(replied) => return replied,
            };
        write(out);
        let record = made(record);
        match ground {
            Some(ground) if vet::is_needed(ground) => {
                vet::reply(out, &envelope, state, counters, (&allowed, group, ground), record, now)
            }
            _ => record,
        }
    }

    /// Writes the reply to a query that a local zone has the answer to.
    pub fn finish_local(&mut self, miss: &Miss, fetched: &LocalFetched, out: &mut Vec<u8>) -> QueryOutcome {
        let state = self.state.load();
        let (envelope, answer) = (miss.envelope(state), fetched.answer.as_ref());
        // Its TTLs are right as they stand: a negative answer's aliases live longer than what it denies.
        let head = AnswerHead { lifetime: Lifetime::Unknown, ..*answer.head() };
        let answer = AnswerRef::new(head, answer.bytes()).unwrap_or(answer);
        let record = match &fetched.target {
            // No answer about a name leaves after a reload that blocks it.
            Some(target) if target.generation != state.policies.generation() => {
                let error = ExtendedError { code: ErrorCode::NOT_READY, text: &"the policy has changed" };
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

/// What there is to say to a query for a local zone.
#[derive(Debug)]
pub struct LocalFetched {
    /// The answer.
    pub answer: Answer,
    /// How the target of an alias was looked up that leads out of all local zones; none where no alias does.
    pub target: Option<TargetLookup>,
}

impl From<Answer> for LocalFetched {
    fn from(answer: Answer) -> Self {
        Self { answer, target: None }
    }
}

/// How the target of an alias out of the local zones was looked up.
#[derive(Debug)]
pub struct TargetLookup {
    /// What is told of it.
    pub record: QueryOutcome,
    /// Number of the policies that decided, or of those before them.
    pub generation: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetOutcome {
    /// There is an answer, with data or without.
    Answered,
    /// The client may not have an answer about this name.
    Blocked,
    /// There is no answer.
    Failed,
}

impl TargetLookup {
    /// What came of it.
    pub fn outcome(&self) -> TargetOutcome {
        match (self.record.decision, self.record.rcode) {
            // The name may be asked for, and this one answer is not given.
            (_, Rcode::SERVFAIL) => TargetOutcome::Failed,
            (Decision::Blocked, _) => TargetOutcome::Blocked,
            (_, Rcode::NOERROR | Rcode::NXDOMAIN) => TargetOutcome::Answered,
            _ => TargetOutcome::Failed,
        }
    }
}

/// True where the answer to what `record` tells of is to be looked at before it is given.
fn needs_vetting(record: &QueryOutcome, policies: &Policies) -> bool {
    match record.rule.and_then(|rule| rule.find(policies)) {
        Some(rule) => record.decision == Decision::Allowed && vet::is_needed(AllowReason::Rule(rule)),
        // Allowed for a time, or by what an answer led to: either may be over.
        None => record.decision == Decision::Allowed,
    }
}

type Judged<'q, 'p> = (AllowedQuery<'q>, GroupId, Option<AllowReason<'p>>, QueryOutcome);

/// Takes the verdict on a miss again; where it is not to be answered any more the reply that says so is written.
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
        let error = ExtendedError { code: ErrorCode::NOT_READY, text: &"the policy has changed" };
        reply::error(out, envelope, Rcode::SERVFAIL, Some(error));
        Err(QueryOutcome::new(decision, AnswerSource::Policy, Rcode::SERVFAIL))
    };
    let address = miss.client.address.ip();
    let (Ok(query), Some(group)) = (Query::parse(&miss.request, question), state.policies.group(address))
    else {
        return fail(out, Decision::Refused);
    };
    match state.policies.decide((address, group), query.question, flags_of(&query), now) {
        // An answer that came another way than the name now goes is no answer to it.
        Verdict::Allowed(query, _) | Verdict::Observed(query, _) if miss.route != Some(query.route()) => {
            fail(out, Decision::Blocked)
        }
        Verdict::Allowed(query, ground) => {
            let record = QueryOutcome::from(Decision::Allowed).by_rule(ground.rule(), group, &state.policies);
            Ok((query, group, Some(ground), record))
        }
        Verdict::Observed(query, reason) => {
            let record = QueryOutcome::from(Decision::Observed).because(&reason, group, &state.policies);
            Ok((query, group, None, record))
        }
        Verdict::Blocked(reason) => Err(block(out, envelope, state, counters, group, &reason)),
        // What it has become is answered here; the client asks again and gets that.
        Verdict::Local | Verdict::MinimalAny(_) | Verdict::Refused => fail(out, Decision::Blocked),
    }
}
