//! The whole journey of one query: request bytes in, a reply, a miss or silence out.

pub mod cookies;
mod direct;
mod miss;
pub mod rate_limit;
mod vet;

use cookies::{Cookies, Given};
use direct::{answer_identity, answer_malformed, block, limit, refuse_client, replied, silence};
pub use miss::{LocalFetched, Miss, TargetLookup, TargetOutcome};
use rate_limit::RateLimit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use arc_swap::cache::Cache as SwapCache;

use crate::address::client::Client;
use crate::cache::{Cache, Freshness, Kept};
use crate::events::counters::{Counters, Dropped};
use crate::events::outcome::{AnswerSource, Decision, QueryOutcome};
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

/// Everything a query is judged by. A reload makes a new one and swaps it in whole.
#[derive(Clone)]
pub struct State {
    /// Who may ask for what.
    pub policies: Policies,
    /// Who asks for many new names; none: nobody looks.
    pub tunnel_guard: Option<Arc<TunnelGuard>>,
    /// Policies to come, asked beside them; none: there are none.
    pub shadow: Option<Arc<Shadow>>,
    /// How blocked names are answered.
    pub denial: Denial,
    /// NOERROR without data, for names that are so answered whatever `denial` is.
    pub no_data: Denial,
    /// The same with NXDOMAIN.
    pub no_name: Denial,
    /// What the server calls itself in class CH; none keeps it quiet.
    pub identity: Option<Box<str>>,
    /// Largest UDP reply in bytes.
    pub udp_payload: u16,
    /// Kept answers.
    pub cache: Arc<Cache>,
    /// Zones answered here.
    pub local: Arc<LocalZones>,
    /// Who is asked for the rest.
    pub upstreams: Arc<Upstreams>,
    /// Places among the counters' zones.
    pub zones: Arc<ZonePlaces>,
    /// How many queries may wait.
    pub limits: WaitLimits,
    /// How many replies a client may have over UDP; none: as many as it asks for.
    pub rate_limit: Option<Arc<RateLimit>>,
    /// What clients' cookies are answered with; none: nothing.
    pub cookies: Option<Cookies>,
    /// Clients that may not ask get no reply, where others would be refused.
    pub drops_others: bool,
}

impl State {
    /// A state of the parts that every state has. The rest is off, without a limit, or as little as DNS allows: what is to
    /// be otherwise is set with `State { field, ..State::new(…) }`.
    ///
    /// Blocked names are NXDOMAIN, which may be kept for `block_ttl` seconds.
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
            policies,
            tunnel_guard: None,
            shadow: None,
            denial: no_name.clone(),
            no_data,
            no_name,
            identity: None,
            udp_payload: MIN_UDP_PAYLOAD,
            cache,
            local: Arc::new(local),
            upstreams: Arc::new(upstreams),
            zones: Arc::new(ZonePlaces { sources, ..ZonePlaces::default() }),
            limits: WaitLimits { in_flight: usize::MAX, in_flight_per_client: usize::MAX },
            rate_limit: None,
            cookies: None,
            drops_others: false,
        }
    }
}

/// How many queries may wait for an upstream; more are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitLimits {
    /// In all.
    pub in_flight: usize,
    /// For one client.
    pub in_flight_per_client: usize,
}

/// Where allowed names are counted.
#[derive(Clone, Debug, Default)]
pub struct ZonePlaces {
    /// By client group and source of its policy.
    pub sources: Vec<Vec<usize>>,
    /// For names allowed for a time.
    pub temporary: usize,
    /// For names that an answer led to.
    pub followed: usize,
    /// For zones above allowed names.
    pub ancestors: usize,
}

impl ZonePlaces {
    fn of(&self, group: GroupId, ground: AllowReason<'_>) -> usize {
        match ground {
            AllowReason::Rule(rule) => self.sources[group.index()][rule.source_index()],
            AllowReason::Temporary(_) => self.temporary,
            AllowReason::Followed => self.followed,
            AllowReason::Ancestor => self.ancestors,
        }
    }
}

/// One thread's, or one task's, door to the state.
pub struct Engine {
    state: SwapCache<Arc<ArcSwap<State>>, Arc<State>>,
    counters: Arc<Counters>,
    /// Where questions are read into.
    question: Question,
    /// Where kept answers are read into.
    kept: Kept,
    /// Replies beyond a client's rate.
    limited: u32,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// The reply is written.
    Reply(QueryOutcome),
    /// The reply is written, from an answer that many ask for and that is about to expire.
    Refresh(QueryOutcome, AllowedQuery<'static>),
    /// The answer has to be fetched from an upstream; [`Engine::finish`] then writes the reply.
    Fetch(Box<Miss>, AllowedQuery<'static>),
    /// A local zone has the answer; [`Engine::finish_local`] then writes the reply.
    Local(Box<Miss>),
    /// Nothing is sent.
    Silence,
}

impl Engine {
    /// A door to `state` for one thread, or for tasks that share `counters`.
    pub fn new(state: &Arc<ArcSwap<State>>, counters: Arc<Counters>) -> Self {
        Self {
            state: SwapCache::new(Arc::clone(state)),
            counters,
            question: Question::empty(),
            kept: Kept::new(),
            limited: 0,
        }
    }

    /// Judges one request received at `now` and, where it can, writes the reply into `out`.
    pub fn answer(&mut self, request: &[u8], client: Client, now: Instant, out: &mut Vec<u8>) -> Outcome {
        self.answer_asked::<true>(request, client, now, out)
    }

    /// The same for a request that no client sent but that follows from `miss`: it is not counted among queries, and needs no leave
    /// from the rate limit. The reply is as large as it has to be.
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
        let query = match Query::parse(request, &mut self.question) {
            Ok(query) => query,
            Err(malformed) => {
                let limited = &mut self.limited;
                return answer_malformed(state, &self.counters, limited, &malformed, (client, now), out);
            }
        };
        if BY_CLIENT {
            self.counters.query(client.transport, Some(query.question.qtype));
            if query.question.qtype == loop_watch::QTYPE {
                state.upstreams.note_arrival(&query.question.name);
            }
        }
        let cookie = state.cookie(query.edns, client, now);
        let envelope = Envelope::of(&query, client.transport, state.udp_payload)
            .with_cookie(cookie.map(|given| given.option));
        let group = state.policies.group(client.address.ip());
        if group.is_none() && state.drops_others {
            return silence(&self.counters, Dropped::NotAllowed);
        }
        let is_proven = client.transport.proves_address() || cookie.is_some_and(|given| given.is_verified);
        if !is_proven && !state.admits(client, now) {
            return limit(state, &self.counters, &mut self.limited, &envelope, out);
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
            && let Some(change) = shadow.compare(&verdict, asker.0, query.question, flags_of(&query), now)
        {
            self.counters.shadow_difference(change);
        }
        let (allowed, ground, record) = match verdict {
            Verdict::Blocked(reason) => {
                return Outcome::Reply(block(out, &envelope, state, &self.counters, group, &reason));
            }
            Verdict::Allowed(allowed, ground) => {
                self.counters.allowed(state.zones.of(group, ground));
                let record =
                    QueryOutcome::from(Decision::Allowed).by_rule(ground.rule(), group, &state.policies);
                (allowed, Some(ground), record)
            }
            Verdict::Observed(allowed, reason) => {
                self.counters.blocked(reason.kind());
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
                        self.counters.blocked(reason.kind());
                        let record = QueryOutcome { decision: Decision::Observed, ..record };
                        record.because(&reason, group, &state.policies)
                    }
                    None => record,
                });
            }
            Verdict::Refused => {
                let text = &"this class or type is not forwarded";
                let error = ExtendedError { code: ErrorCode::NOT_SUPPORTED, text };
                reply::error(out, &envelope, Rcode::REFUSED, Some(error));
                return replied(Decision::Refused, AnswerSource::Policy, Rcode::REFUSED);
            }
        };
        // Without RD the cache would show a client what others asked for.
        if !query.header.flags.has(Flags::RD) {
            let text = &"recursion was not desired, and the cache is not shown";
            let error = ExtendedError { code: ErrorCode::NOT_AUTHORITATIVE, text };
            reply::error(out, &envelope, Rcode::REFUSED, Some(error));
            return replied(Decision::Refused, AnswerSource::Policy, Rcode::REFUSED);
        }
        if let Some(hit) = state.cache.get(&allowed, now, &mut self.kept) {
            self.counters.cache(true);
            let ageing = ageing(state, hit.answer, hit.age, hit.freshness == Freshness::Stale);
            reply::answer(out, &envelope, hit.answer, ageing, false);
            let record = QueryOutcome { source: AnswerSource::Cache, rcode: hit.answer.rcode(), ..record };
            let record = match ground {
                Some(ground) if vet::is_needed(ground) => {
                    vet::reply(out, &envelope, state, &self.counters, (&allowed, group, ground), record, now)
                }
                _ => record,
            };
            return match hit.freshness {
                Freshness::Expiring => Outcome::Refresh(record, allowed.into_owned()),
                Freshness::Fresh | Freshness::Stale => Outcome::Reply(record),
            };
        }
        self.counters.cache(false);
        if let (Some(guard), Some(ground)) = (&state.tunnel_guard, ground)
            && let Some(rule) = state.policies.opening_rule(group, ground, query.question, now)
            && !guard.admit(allowed.whole_client(), rule, query.question, now)
        {
            self.counters.tunnel_exceeded();
            if guard.enforces() && state.policies.policy(group).mode() == Mode::Enforce {
                let reason = Reason::Tunnel(rule);
                return Outcome::Reply(block(out, &envelope, state, &self.counters, group, &reason));
            }
        }
        let miss = Miss::new(client, request, &query, record, &state.policies, now).by_route(allowed.route());
        Outcome::Fetch(Box::new(miss), allowed.into_owned().proven(is_proven))
    }

    /// The state in force.
    pub fn state(&mut self) -> Arc<State> {
        Arc::clone(self.state.load())
    }

    /// Lets go of a state that is no more in force: for threads that have nothing to do.
    pub fn refresh(&mut self) {
        self.state.load();
    }

    /// A message came that was too long to be read whole.
    pub fn too_long(&self, transport: Transport) {
        self.counters.query(transport, None);
        self.counters.dropped(Dropped::Long);
    }
}

impl State {
    /// What becomes of the cookie in a query's EDNS.
    fn cookie(&self, edns: Option<Edns>, client: Client, now: Instant) -> Option<Given> {
        Some(self.cookies.as_ref()?.answer(&edns?.cookie?, client.address.ip(), now))
    }

    /// False where `client`, which has not shown that it has not forged its address, had all the replies it may have for now.
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

/// How the TTLs of an answer are shown that is `age` old.
fn ageing(state: &State, answer: AnswerRef<'_>, age: Duration, is_stale: bool) -> Ageing {
    if is_stale { Ageing::Stale } else { state.cache.lifetimes().ageing(answer, age) }
}
