//! The whole journey of one query: request bytes in, a reply, a miss or silence out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use arc_swap::cache::Cache as SwapCache;

use crate::cache::Cache;
use crate::local::LocalZones;
use crate::policy::clients::Clients;
use crate::policy::{AllowedQuery, Policy, Verdict};
use crate::telemetry::counters::{Counters, Dropped};
use crate::telemetry::lookup::Exchange;
use crate::telemetry::record::{Decision, Record, Source};
use crate::upstream::{Fetched, Upstream};
use crate::wire::code::{Class, ErrorCode, Rcode, Type};
use crate::wire::header::Flags;
use crate::wire::query::{Malformed, Query, Question};
use crate::wire::reply::{self, Ageing, Denial, Envelope, ExtendedError, Transport};
use crate::wire::request::AnswerFlags;

/// Everything a query is judged by. A reload makes a new one and swaps it in whole.
pub struct State {
    /// The rules.
    pub policy: Policy,
    /// Who may ask.
    pub clients: Clients,
    /// How blocked names are answered.
    pub denial: Denial,
    /// What the server calls itself in class CH; none keeps it quiet.
    pub identity: Option<Box<str>>,
    /// Largest UDP reply in bytes.
    pub udp_payload: u16,
    /// Kept answers.
    pub cache: Arc<Cache>,
    /// Zones answered here.
    pub local: Arc<LocalZones>,
    /// Who is asked for the rest.
    pub upstream: Arc<Upstream>,
    /// Place of each of the policy's sources among the counters' zones.
    pub zones: Box<[usize]>,
}

/// One thread's door to the state, with its own counters.
#[derive(Clone)]
pub struct Gate {
    state: SwapCache<Arc<ArcSwap<State>>, Arc<State>>,
    counters: Arc<Counters>,
}

/// Where a query came from.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Source address.
    pub address: SocketAddr,
    /// How it came.
    pub transport: Transport,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// The reply is written.
    Reply(Record),
    /// The answer has to be fetched; [`Gate::finish`] then writes the reply.
    Miss(Box<Miss>),
    /// Nothing is sent.
    Silence,
}

/// A query on its way to someone who can answer it.
#[derive(Debug)]
pub struct Miss {
    /// Who answers.
    pub target: Target,
    /// Who asked.
    pub client: Client,
    /// The request as received: its id, case and EDNS are needed again for the reply.
    pub request: Box<[u8]>,
    /// When it came.
    pub received: Instant,
}

impl Miss {
    /// The miss with its reply, made `elapsed` after it came.
    pub fn exchange<'a>(&'a self, record: &'a Record, reply: &'a [u8], elapsed: Duration) -> Exchange<'a> {
        let Self { client, received, .. } = *self;
        Exchange { client, request: &self.request, reply, record, received, elapsed }
    }
}

/// Who answers a miss.
#[derive(Debug)]
pub enum Target {
    /// An upstream.
    Upstream(Box<AllowedQuery>),
    /// A local zone.
    Local,
}

impl Gate {
    /// A door to `state` for one thread, or for tasks that share `counters`.
    pub fn new(state: &Arc<ArcSwap<State>>, counters: Arc<Counters>) -> Self {
        Self { state: SwapCache::new(Arc::clone(state)), counters }
    }

    /// Judges one request received at `now` and, where it can, writes the reply into `out`.
    pub fn answer(&mut self, request: &[u8], client: Client, now: Instant, out: &mut Vec<u8>) -> Outcome {
        let state = self.state.load();
        let query = match Query::parse(request) {
            Ok(query) => query,
            Err(malformed) => return self.answer_malformed(&malformed, client, out),
        };
        self.counters.query(client.transport, Some(query.question.qtype));
        let envelope = Envelope::of(&query, client.transport, state.udp_payload);
        if !state.clients.contains(client.address.ip()) {
            return refuse_client(out, &envelope);
        }
        if query.question.class == Class::CH && answer_identity(out, &envelope, &query.question, state) {
            return replied(Decision::Local, Source::Local, Rcode::NOERROR);
        }
        let flags = AnswerFlags {
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: query.header.flags.has(Flags::CD),
        };
        let (allowed, record) = match state.policy.decide(&query.question, flags) {
            Verdict::Blocked(reason) => {
                self.counters.blocked(reason.label());
                reply::blocked(out, &envelope, &state.denial, &reason);
                let record = Record::new(Decision::Blocked, Source::Policy, state.denial.rcode());
                return Outcome::Reply(record.because(&reason, &state.policy));
            }
            Verdict::Allowed(allowed) => {
                let rule = state.policy.rule_of(&allowed);
                if let Some(rule) = rule {
                    self.counters.allowed(state.zones[rule.source_index()]);
                }
                (allowed, Record::from(Decision::Allowed).by_rule(rule, &state.policy))
            }
            Verdict::Observed(allowed, reason) => {
                self.counters.blocked(reason.label());
                (allowed, Record::from(Decision::Observed).because(&reason, &state.policy))
            }
            Verdict::Local => return miss(Target::Local, client, request, now),
            Verdict::MinimalAny => {
                reply::minimal_any(out, &envelope);
                return replied(Decision::Allowed, Source::Policy, Rcode::NOERROR);
            }
            Verdict::Refused => {
                let text = &"this class or type is not forwarded";
                let error = ExtendedError { code: ErrorCode::NOT_SUPPORTED, text };
                reply::error(out, &envelope, Rcode::REFUSED, Some(error));
                return replied(Decision::Refused, Source::Policy, Rcode::REFUSED);
            }
        };
        if let Some(entry) = state.cache.get(&allowed, now)
            && let Some((answer, age)) = entry.fresh(now)
        {
            self.counters.cache(true);
            reply::answer(out, &envelope, answer, state.cache.lifetimes().ageing(answer, age), false);
            return Outcome::Reply(Record { source: Source::Cache, rcode: answer.rcode(), ..record });
        }
        self.counters.cache(false);
        // RFC 1035 section 4.1.1: RD=0 asks for what the server has; fetching is not asked for.
        if !query.header.flags.has(Flags::RD) {
            let text = &"not in the cache, and recursion was not desired";
            let error = ExtendedError { code: ErrorCode::NOT_AUTHORITATIVE, text };
            reply::error(out, &envelope, Rcode::REFUSED, Some(error));
            return replied(Decision::Refused, Source::Cache, Rcode::REFUSED);
        }
        miss(Target::Upstream(Box::new(allowed)), client, request, now)
    }

    /// Answers what is no query: silence for what must not be answered, else the code it deserves.
    fn answer_malformed(&mut self, malformed: &Malformed<'_>, client: Client, out: &mut Vec<u8>) -> Outcome {
        let state = self.state.load();
        self.counters.query(client.transport, None);
        let (envelope, rcode) = match malformed {
            Malformed::Short => return self.silence(Dropped::Short),
            Malformed::Response => return self.silence(Dropped::Response),
            Malformed::Opcode(header, None) => (Envelope::of_header(*header, None), Rcode::NOTIMP),
            Malformed::Opcode(_, Some(query)) => {
                (Envelope::of(query, client.transport, state.udp_payload), Rcode::NOTIMP)
            }
            Malformed::Format(header, question) => (Envelope::of_header(*header, *question), Rcode::FORMERR),
            Malformed::Version(query) => {
                (Envelope::of(query, client.transport, state.udp_payload), Rcode::BADVERS)
            }
        };
        if !state.clients.contains(client.address.ip()) {
            return refuse_client(out, &envelope);
        }
        reply::error(out, &envelope, rcode, None);
        replied(Decision::Error, Source::Policy, rcode)
    }

    fn silence(&self, reason: Dropped) -> Outcome {
        self.counters.dropped(reason);
        Outcome::Silence
    }

    /// Writes the reply to a miss once its answer is there, at `now`.
    ///
    /// The verdict is taken again, so that no answer about a name leaves after a reload that blocks it.
    pub fn finish(&mut self, miss: &Miss, fetched: &Fetched, now: Instant, out: &mut Vec<u8>) -> Record {
        let state = self.state.load();
        let answer = &*fetched.answer;
        let Ok(query) = Query::parse(&miss.request) else {
            out.clear();
            return Record::new(Decision::Error, Source::Policy, Rcode::SERVFAIL);
        };
        let envelope = Envelope::of(&query, miss.client.transport, state.udp_payload);
        let Target::Upstream(allowed) = &miss.target else {
            let authoritative = answer.rcode() != Rcode::SERVFAIL;
            reply::answer(out, &envelope, answer, Ageing::NONE, authoritative);
            return Record::new(Decision::Local, Source::Local, answer.rcode());
        };
        let record = match state.policy.decide(&query.question, allowed.flags()) {
            Verdict::Allowed(allowed) => {
                Record::from(Decision::Allowed).by_rule(state.policy.rule_of(&allowed), &state.policy)
            }
            Verdict::Observed(_, reason) => Record::from(Decision::Observed).because(&reason, &state.policy),
            Verdict::Blocked(reason) => {
                self.counters.blocked(reason.label());
                reply::blocked(out, &envelope, &state.denial, &reason);
                let record = Record::new(Decision::Blocked, Source::Policy, state.denial.rcode());
                return record.because(&reason, &state.policy);
            }
            // What it has become is answered here; the client asks again and gets that.
            Verdict::Local | Verdict::MinimalAny | Verdict::Refused => {
                let error = ExtendedError { code: ErrorCode::NOT_READY, text: &"the policy has changed" };
                reply::error(out, &envelope, Rcode::SERVFAIL, Some(error));
                return Record::new(Decision::Blocked, Source::Policy, Rcode::SERVFAIL);
            }
        };
        let age = now.saturating_duration_since(fetched.received);
        reply::answer(out, &envelope, answer, state.cache.lifetimes().ageing(answer, age), false);
        let upstream = fetched.upstream.clone();
        Record { source: Source::Upstream, rcode: answer.rcode(), upstream, ..record }
    }
}

fn replied(decision: Decision, source: Source, rcode: Rcode) -> Outcome {
    Outcome::Reply(Record::new(decision, source, rcode))
}

fn miss(target: Target, client: Client, request: &[u8], received: Instant) -> Outcome {
    Outcome::Miss(Box::new(Miss { target, client, request: request.into(), received }))
}

fn refuse_client(out: &mut Vec<u8>, envelope: &Envelope<'_>) -> Outcome {
    let error = ExtendedError { code: ErrorCode::PROHIBITED, text: &"this client may not ask" };
    reply::error(out, envelope, Rcode::REFUSED, Some(error));
    replied(Decision::Refused, Source::Policy, Rcode::REFUSED)
}

/// Answers `id.server` and `hostname.bind` TXT in class CH, where the server has a name to give (RFC 4892).
fn answer_identity(out: &mut Vec<u8>, envelope: &Envelope<'_>, question: &Question, state: &State) -> bool {
    let Some(identity) = &state.identity else { return false };
    let name = question.name.as_bytes();
    let asked = name == b"\x02id\x06server\0" || name == b"\x08hostname\x04bind\0";
    if asked && question.qtype == Type::TXT {
        reply::identity(out, envelope, identity);
    }
    asked && question.qtype == Type::TXT
}
