//! Processes one query: takes the request bytes and returns a reply, a cache miss, a local lookup or a drop.

pub mod cookies;
mod direct;
mod miss;
mod notice;
pub mod rate_limit;
mod vet;

use cookies::{Cookies, Given};
use direct::{answer_identity, answer_malformed, block, limit, refuse_client, replied, silence};
pub use miss::{LocalFetched, Miss, TargetLookup, TargetOutcome};
pub use notice::RequestNotice;
use rate_limit::RateLimit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use arc_swap::cache::Cache as SwapCache;

use crate::address::client::Client;
use crate::cache::{Cache, Freshness, HitBuffer};
use crate::events::counters::{Counters, Dropped};
use crate::events::outcome::{AnswerSource, Decision, QueryOutcome};
use crate::events::rule_hits::{HitWriter, RuleHits};
use crate::local::LocalZones;
use crate::policy::clients::GroupId;
use crate::policy::shadow::Shadow;
use crate::policy::tunnel_guard::TunnelGuard;
use crate::policy::verdict::NOT_LISTED;
use crate::policy::{AllowReason, AllowedQuery, Mode, Policies, Reason, Verdict};
use crate::upstream::loop_watch;
use crate::upstream::upstreams::Upstreams;
use crate::wire::answer::AnswerRef;
use crate::wire::code::{Class, ErrorCode, Rcode};
use crate::wire::denial::Denial;
use crate::wire::edns::{Edns, MIN_UDP_PAYLOAD};
use crate::wire::header::Flags;
use crate::wire::query::{Query, Question};
use crate::wire::reply::{self, Ageing, Envelope, ExtendedError, Transport};
use crate::wire::request::AnswerFlags;

/// Everything needed to answer a query: policies, cache, local zones, upstreams, limits. A reload replaces it as a
/// whole.
#[derive(Clone)]
pub struct State {
    /// Which clients may resolve which names.
    pub policies: Policies,
    /// Limits new names per client; `None` if `tunnel_guard` is off.
    pub tunnel_guard: Option<Arc<TunnelGuard>>,
    /// The candidate policy, if one is configured.
    pub shadow: Option<Arc<Shadow>>,
    /// The reply for blocked names.
    pub denial: Denial,
    /// The NODATA reply, for built-in bypass names that need it whatever `block.answer` says.
    pub no_data: Denial,
    /// The NXDOMAIN reply, for built-in bypass names that need it whatever `block.answer` says.
    pub no_name: Denial,
    /// How to request a blocked name; `None` if requests are off.
    pub notice: Option<Arc<RequestNotice>>,
    /// The server's identity in class CH; `None` if it is not disclosed.
    pub identity: Option<Box<str>>,
    /// Largest UDP reply in bytes.
    pub udp_payload: u16,
    /// The cache.
    pub cache: Arc<Cache>,
    /// The local zones.
    pub local: Arc<LocalZones>,
    /// The upstream servers.
    pub upstreams: Arc<Upstreams>,
    /// Counter indexes of the allowlists.
    pub zones: Arc<ZoneIndexes>,
    /// How many queries each rule decided.
    pub rule_hits: Arc<RuleHits>,
    /// Limits on waiting queries.
    pub limits: WaitLimits,
    /// Limits UDP replies per client; `None` means no limit.
    pub rate_limit: Option<Arc<RateLimit>>,
    /// Verifies and issues DNS cookies; `None` if cookies are off.
    pub cookies: Option<Cookies>,
    /// Drop queries from clients outside `allow_clients` instead of refusing them.
    pub drops_others: bool,
}

impl State {
    /// A state with its mandatory parts. Everything else is off, unlimited or the DNS minimum; set other fields with
    /// `State { field, ..State::new(…) }`.
    ///
    /// Blocked names get NXDOMAIN, which may be cached for `block_ttl` seconds.
    pub fn new(
        policies: Policies,
        upstreams: Upstreams,
        cache: Arc<Cache>,
        local: LocalZones,
        block_ttl: u32,
    ) -> Self {
        let negative = |rcode| Denial::negative(rcode, block_ttl, policies.default().serial(), NOT_LISTED);
        let (no_data, no_name) = (negative(Rcode::NOERROR), negative(Rcode::NXDOMAIN));
        let sources = policies.groups().iter().map(|group| vec![0; group.policy.sources().len()]).collect();
        Self {
            rule_hits: Arc::new(RuleHits::new(&policies)),
            policies,
            tunnel_guard: None,
            shadow: None,
            denial: no_name.clone(),
            no_data,
            no_name,
            notice: None,
            identity: None,
            udp_payload: MIN_UDP_PAYLOAD,
            cache,
            local: Arc::new(local),
            upstreams: Arc::new(upstreams),
            zones: Arc::new(ZoneIndexes { sources, ..ZoneIndexes::default() }),
            limits: WaitLimits { in_flight: usize::MAX, in_flight_per_client: usize::MAX },
            rate_limit: None,
            cookies: None,
            drops_others: false,
        }
    }
}

/// Maximum queries that may wait for an upstream; further ones are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitLimits {
    /// In total.
    pub in_flight: usize,
    /// Per client.
    pub in_flight_per_client: usize,
}

/// Counter indexes for allowed names.
#[derive(Clone, Debug, Default)]
pub struct ZoneIndexes {
    /// By client group and allowlist of its policy.
    pub sources: Vec<Vec<usize>>,
    /// For names allowed by a grant.
    pub temporary: usize,
    /// For followed CNAME targets.
    pub followed: usize,
    /// For ancestors of allowed names.
    pub ancestors: usize,
}

impl ZoneIndexes {
    fn of(&self, group: GroupId, allow_reason: AllowReason<'_>) -> usize {
        match allow_reason {
            AllowReason::Rule(rule) => self.sources[group.index()][rule.source_index()],
            AllowReason::Temporary(_) => self.temporary,
            AllowReason::Followed => self.followed,
            AllowReason::Ancestor => self.ancestors,
        }
    }
}

/// Answers queries for one thread or task.
pub struct Engine {
    state: SwapCache<Arc<ArcSwap<State>>, Arc<State>>,
    counters: Arc<Counters>,
    hit_writer: HitWriter,
    /// Buffer for the parsed question.
    question: Question,
    /// Buffer for a cached answer.
    hit_buffer: HitBuffer,
    /// Queries over the reply rate limit so far. One in `slip` gets a short reply (truncated or BADCOOKIE).
    limited: u32,
}

/// The outcome of a request.
#[derive(Debug)]
pub enum Outcome {
    /// The reply is written.
    Reply(QueryOutcome),
    /// The reply is written, from a popular cache entry that is about to expire.
    Refresh(QueryOutcome, AllowedQuery<'static>),
    /// The answer must be fetched from an upstream; [`Miss::finish`] then writes the reply.
    Fetch(Box<Miss>, AllowedQuery<'static>),
    /// A local zone has the answer; [`Miss::finish_local`] then writes the reply.
    Local(Box<Miss>),
    /// No reply is sent.
    Silence,
}

impl Engine {
    /// An engine for one thread or task. Engines of several tasks may share `counters`.
    pub fn new(state: &Arc<ArcSwap<State>>, counters: Arc<Counters>) -> Self {
        Self {
            state: SwapCache::new(Arc::clone(state)),
            hit_writer: counters.hit_writer(),
            counters,
            question: Question::empty(),
            hit_buffer: HitBuffer::new(),
            limited: 0,
        }
    }

    /// Decides one request received at `now`, and writes the reply into `out` if it can.
    pub fn answer(&mut self, request: &[u8], client: Client, now: Instant, out: &mut Vec<u8>) -> Outcome {
        self.answer_asked::<true>(request, client, now, out)
    }

    /// Decides a lookup that follows from `miss`. It is not counted as a query and not rate limited. The reply is not
    /// truncated.
    pub fn answer_target(&mut self, request: &[u8], miss: &Miss, out: &mut Vec<u8>) -> Outcome {
        let client = Client { transport: Transport::Tcp, ..miss.client };
        self.answer_asked::<false>(request, client, miss.received, out)
    }

    #[inline]
    fn answer_asked<const BY_CLIENT: bool>(
        &mut self,
        request: &[u8],
        client: Client,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let state = self.state.load();
        let counters = self.counters.of(client);
        let query = match Query::parse(request, &mut self.question) {
            Ok(query) => query,
            Err(malformed) => {
                let limited = &mut self.limited;
                return answer_malformed(state, counters, limited, &malformed, (client, now), out);
            }
        };
        if BY_CLIENT {
            counters.query(client.transport, Some(query.question.qtype));
            if query.question.qtype == loop_watch::QTYPE {
                state.upstreams.note_arrival(&query.question.name);
            }
        }
        let cookie = state.cookie(query.edns, client, now);
        let envelope = Envelope::of(&query, client.transport, state.udp_payload)
            .with_cookie(cookie.map(|given| given.option));
        let group = state.policies.group(client.address.ip());
        if group.is_none() && state.drops_others {
            return silence(counters, Dropped::NotAllowed);
        }
        let is_proven = client.transport.proves_address() || cookie.is_some_and(|given| given.is_verified);
        if !is_proven && !state.admits(client, now) {
            return limit(state, counters, &mut self.limited, &envelope, out);
        }
        let Some(group) = group else {
            return refuse_client(out, &envelope);
        };
        if query.question.class == Class::CH && answer_identity(out, &envelope, query.question, state) {
            return replied(Decision::Local, AnswerSource::Local, Rcode::NOERROR);
        }
        let asker = (client.address.ip(), group);
        let verdict = state.policies.decide(asker, query.question, flags_of(&query), now);
        if let Some(shadow) = &state.shadow
            && !client.is_own
            && let Some(change) = shadow.compare(&verdict, asker.0, query.question, flags_of(&query), now)
        {
            counters.shadow_difference(change);
        }
        let (allowed, allow_reason, record) = match verdict {
            Verdict::Blocked(reason) => {
                if let Some(rule) = reason.rule().filter(|_| !client.is_own) {
                    state.rule_hits.count(self.hit_writer, group, rule.id());
                }
                return Outcome::Reply(block(out, &envelope, state, counters, group, &reason));
            }
            Verdict::Allowed(allowed, allow_reason) => {
                counters.allowed(state.zones.of(group, allow_reason));
                if let Some(rule) = allow_reason.rule().filter(|_| !client.is_own) {
                    state.rule_hits.count(self.hit_writer, group, rule.id());
                }
                let record = QueryOutcome::from(Decision::Allowed).by_rule(
                    allow_reason.rule(),
                    group,
                    &state.policies,
                );
                (allowed, Some(allow_reason), record)
            }
            Verdict::Observed(allowed, reason) => {
                counters.blocked(reason.kind());
                if let Some(rule) = reason.rule().filter(|_| !client.is_own) {
                    state.rule_hits.count(self.hit_writer, group, rule.id());
                }
                let record = QueryOutcome::from(Decision::Observed).because(&reason, group, &state.policies);
                (allowed, None, record)
            }
            Verdict::Local => {
                let record = QueryOutcome::from(Decision::Local);
                let miss = Miss::new(client, request, &query, record, &state.policies, now);
                return Outcome::Local(Box::new(miss));
            }
            Verdict::MinimalAny(reason) => {
                reply::minimal_any(out, &envelope);
                let record = QueryOutcome::new(Decision::Allowed, AnswerSource::Policy, Rcode::NOERROR);
                return Outcome::Reply(match reason {
                    Some(reason) => {
                        counters.blocked(reason.kind());
                        let record = QueryOutcome { decision: Decision::Observed, ..record };
                        record.because(&reason, group, &state.policies)
                    }
                    None => record,
                });
            }
            Verdict::Refused => {
                let text = &"this query class or type is not forwarded";
                let error = ExtendedError { code: ErrorCode::NOT_SUPPORTED, text };
                reply::error(out, &envelope, Rcode::REFUSED, Some(error));
                return replied(Decision::Refused, AnswerSource::Policy, Rcode::REFUSED);
            }
        };
        // Cache snooping: without RD, cached answers would show what other clients queried.
        if !query.header.flags.has(Flags::RD) {
            let text = &"set the RD flag: cache-only queries are refused";
            let error = ExtendedError { code: ErrorCode::NOT_AUTHORITATIVE, text };
            reply::error(out, &envelope, Rcode::REFUSED, Some(error));
            return replied(Decision::Refused, AnswerSource::Policy, Rcode::REFUSED);
        }
        if let Some(hit) = state.cache.get(&allowed, now, &mut self.hit_buffer) {
            counters.cache(true);
            let ageing = ageing(state, hit.answer, hit.age, hit.freshness == Freshness::Stale);
            reply::answer(out, &envelope, hit.answer, ageing, false);
            let record = QueryOutcome { source: AnswerSource::Cache, rcode: hit.answer.rcode(), ..record };
            let record = match allow_reason {
                Some(allow_reason) if vet::is_needed(allow_reason) => {
                    vet::reply(out, &envelope, state, counters, (&allowed, group, allow_reason), record, now)
                }
                _ => record,
            };
            return match hit.freshness {
                Freshness::Expiring => Outcome::Refresh(record, allowed.into_owned()),
                Freshness::Fresh | Freshness::Stale => Outcome::Reply(record),
            };
        }
        counters.cache(false);
        if let (Some(guard), Some(allow_reason)) = (&state.tunnel_guard, allow_reason)
            && let Some(rule) = state.policies.opening_rule(group, allow_reason, query.question, now)
            && !guard.admit(allowed.whole_client(), rule, query.question, now)
        {
            counters.tunnel_exceeded();
            if guard.enforces() && state.policies.policy(group).mode() == Mode::Enforce {
                let reason = Reason::Tunnel(rule);
                return Outcome::Reply(block(out, &envelope, state, counters, group, &reason));
            }
        }
        let miss = Miss::new(client, request, &query, record, &state.policies, now).by_route(allowed.route());
        Outcome::Fetch(Box::new(miss), allowed.into_owned().proven(is_proven))
    }

    /// The current state.
    pub fn state(&mut self) -> Arc<State> {
        Arc::clone(self.state.load())
    }

    /// Drops the reference to a replaced state. Idle threads call this.
    pub fn refresh(&mut self) {
        self.state.load();
    }

    /// Counts a dropped message over 4096 bytes. Over TCP, such a message is dropped only while too many
    /// others of this length are being received.
    pub fn too_long(&self, transport: Transport) {
        self.counters.query(transport, None);
        self.counters.dropped(Dropped::Long);
    }
}

impl State {
    /// Verifies the cookie in a query's EDNS and returns the cookie option for the reply.
    fn cookie(&self, edns: Option<Edns>, client: Client, now: Instant) -> Option<Given> {
        Some(self.cookies.as_ref()?.answer(&edns?.cookie?, client.address.ip(), now))
    }

    /// False if `client` has reached its reply limit. Over TCP there is no limit.
    fn admits(&self, client: Client, now: Instant) -> bool {
        let limit = self.rate_limit.as_ref().filter(|_| !client.transport.proves_address());
        limit.is_none_or(|limit| {
            let address = client.address.ip();
            limit.admits(address, self.policies.whole_client(address), now)
        })
    }
}

fn flags_of(query: &Query<'_>) -> AnswerFlags {
    AnswerFlags { dnssec_ok: query.dnssec_ok(), checking_disabled: query.header.flags.has(Flags::CD) }
}

/// How to reduce the TTLs of an answer that is `age` old.
fn ageing(state: &State, answer: AnswerRef<'_>, age: Duration, is_stale: bool) -> Ageing {
    if is_stale { Ageing::Stale } else { state.cache.lifetimes().ageing(answer, age) }
}
