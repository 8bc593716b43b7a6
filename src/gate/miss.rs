//! [`Miss`]: a query whose answer is somewhere else, and the reply to it once the answer is there.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::{Client, Gate, State, ageing, flags_of, unusual};
use crate::policy::{Policy, Verdict};
use crate::telemetry::counters::Counters;
use crate::telemetry::lookup::Exchange;
use crate::telemetry::record::{Decision, Record, Source};
use crate::upstream::Fetched;
use crate::wire::answer::AnswerRef;
use crate::wire::code::{ErrorCode, Rcode};
use crate::wire::denial;
use crate::wire::edns::Edns;
use crate::wire::header::{HEADER, Header};
use crate::wire::query::{Query, Question};
use crate::wire::reply::{self, Ageing, Envelope, ExtendedError};

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
    /// Number of the policy that decided, and what it said.
    generation: u64,
    record: Record,
}

impl Miss {
    /// `request`, which is `query` and was decided on by `policy` as `record` says.
    pub(super) fn new(
        client: Client,
        request: &[u8],
        query: &Query<'_>,
        record: Record,
        policy: &Policy,
        received: Instant,
    ) -> Self {
        Self {
            client,
            received,
            request: request.into(),
            header: query.header,
            question_end: HEADER + query.question_bytes.len(),
            edns: query.edns,
            generation: policy.generation(),
            record,
        }
    }

    /// The request as received.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// The miss with its reply, made `elapsed` after it came.
    pub fn exchange<'a>(&'a self, record: &'a Record, reply: &'a [u8], elapsed: Duration) -> Exchange<'a> {
        let Self { client, received, .. } = *self;
        Exchange { client, request: &self.request, reply, record, received, elapsed }
    }

    fn envelope(&self, state: &State) -> Envelope<'_> {
        let question = &self.request[HEADER..self.question_end];
        Envelope::new(self.header, question, self.edns, self.client.transport, state.udp_payload)
    }
}

impl Gate {
    /// Writes the reply to a miss once its answer is there, at `now`.
    ///
    /// Where the policy has changed the verdict is taken again, so that no answer about a name leaves after a reload that
    /// blocks it.
    pub fn finish(&mut self, miss: &Miss, fetched: &Fetched, now: Instant, out: &mut Vec<u8>) -> Record {
        let state = self.state.load();
        let envelope = miss.envelope(state);
        let record = match miss.generation == state.policy.generation() {
            true => miss.record.clone(),
            false => match judge_again(miss, state, &self.counters, &envelope, out) {
                Ok(record) => record,
                Err(replied) => return replied,
            },
        };
        let answer = fetched.answer.as_ref().as_ref();
        let age = now.saturating_duration_since(fetched.received);
        reply::answer(out, &envelope, answer, ageing(state, answer, age, fetched.is_stale), false);
        let upstream = fetched.upstream.clone();
        let source = if fetched.is_stale { Source::Cache } else { Source::Upstream };
        Record { source, rcode: answer.rcode(), upstream, ..record }
    }

    /// Writes the reply to a query that a local zone has the answer to.
    pub fn finish_local(&mut self, miss: &Miss, answer: AnswerRef<'_>, out: &mut Vec<u8>) -> Record {
        let authoritative = answer.rcode() != Rcode::SERVFAIL;
        reply::answer(out, &miss.envelope(self.state.load()), answer, Ageing::NONE, authoritative);
        Record::new(Decision::Local, Source::Local, answer.rcode())
    }
}

/// Takes the verdict on a miss again; where it is not to be answered any more the reply that says so is written.
fn judge_again(
    miss: &Miss,
    state: &State,
    counters: &Counters,
    envelope: &Envelope<'_>,
    out: &mut Vec<u8>,
) -> Result<Record, Record> {
    let mut question = Question::empty();
    let Ok(query) = Query::parse(&miss.request, &mut question) else {
        reply::error(out, envelope, Rcode::SERVFAIL, None);
        return Err(Record::new(Decision::Error, Source::Policy, Rcode::SERVFAIL));
    };
    match state.policy.decide(query.question, flags_of(&query)) {
        Verdict::Allowed(allowed) => {
            let rule = state.policy.rule_of(&allowed);
            Ok(Record::from(Decision::Allowed).by_rule(rule, &state.policy))
        }
        Verdict::Observed(_, reason) => Ok(Record::from(Decision::Observed).because(&reason, &state.policy)),
        Verdict::Blocked(reason) => {
            counters.blocked(reason.label());
            denial::blocked(out, envelope, &state.denial, unusual(&reason));
            let record = Record::new(Decision::Blocked, Source::Policy, state.denial.rcode());
            Err(record.because(&reason, &state.policy))
        }
        // What it has become is answered here; the client asks again and gets that.
        Verdict::Local | Verdict::MinimalAny | Verdict::Refused => {
            let error = ExtendedError { code: ErrorCode::NOT_READY, text: &"the policy has changed" };
            reply::error(out, envelope, Rcode::SERVFAIL, Some(error));
            Err(Record::new(Decision::Blocked, Source::Policy, Rcode::SERVFAIL))
        }
    }
}
