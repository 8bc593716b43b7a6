//! [`World`]: the resolver with its clients, servers and attackers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use namegate::cache::Cache;
use namegate::engine::{Engine, Miss, Outcome, State};
use namegate::events::counters::{Counters, Dropped, Totals};
use namegate::events::outcome::{AnswerSource, Decision, QueryOutcome};
use namegate::policy::verdict::BlockReason;
use namegate::policy::{AllowedQuery, Policies};
use namegate::relay::{PendingQueries, Taken};
use namegate::upstream::Fetched;
use namegate::wire::code::Class;
use namegate::wire::reply::Transport;
use namegate::wire::request::AnswerFlags;

use super::super::testbed::{LIFETIMES, START, check_reply, client, policies, state, upstreams};
use super::super::{Name, Question, Type};
use super::message::{marks, query};
use super::model::{Model, RULE_SETS, SERVERS, group_rules};
use super::servers::Exchange;
use super::{Asked, Step};

/// Names that rules cover, that aliases lead to, and that nothing leads to.
const NAMES: [&str; 8] = [
    "a.example",
    "b.example",
    "a.deep.example",
    "follow.test",
    "a.follow.test",
    "a.inspect.test",
    "x.test",
    "y.test",
];

const TYPES: [Type; 3] = [Type::A, Type::AAAA, Type::TXT];

/// Clients of both groups, and one that is not permitted.
const CLIENTS: [([u8; 4], Option<usize>); 4] =
    [([10, 0, 0, 7], Some(0)), ([10, 0, 0, 8], Some(0)), ([10, 1, 0, 7], Some(1)), ([192, 0, 2, 7], None)];

/// Cache size for about a hundred answers, so that some are evicted.
const CACHE: u64 = 16_384;

/// A client's query that has no reply yet, by its number.
pub(super) type Waiter = (usize, Box<Miss>);

/// A client's query.
struct Query {
    group: Option<usize>,
    question: Question,
    flags: AnswerFlags,
    is_over: bool,
}

/// See the module documentation.
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) state: Arc<ArcSwap<State>>,
    gates: [(Engine, Arc<Counters>); 2],
    /// Queries sent to the relay that it has not read yet.
    asks: VecDeque<(AllowedQuery<'static>, Option<Waiter>)>,
    pub(super) pending: PendingQueries<Waiter>,
    pub(super) exchanges: Vec<Exchange>,
    /// Number of questions sent to servers.
    pub(super) asked: u16,
    queries: Vec<Query>,
    pub(super) model: Model,
    reply: Vec<u8>,
    lookups: u64,
}

impl World {
    /// A world with the first rules and no queries.
    pub(super) fn new() -> Self {
        let state = Arc::new(ArcSwap::from_pointee(first_state()));
        Self {
            now: Duration::ZERO,
            // One engine for the worker that receives queries, one for the thread that ends cache misses.
            gates: [gate(&state), gate(&state)],
            state,
            asks: VecDeque::new(),
            pending: PendingQueries::new(),
            exchanges: Vec::new(),
            asked: 0,
            queries: Vec::new(),
            model: Model::new(),
            reply: Vec::new(),
            lookups: 0,
        }
    }

    /// Runs one step.
    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Ask(asked) => self.ask(asked),
            Step::Wait { milliseconds } => self.wait(Duration::from_millis(milliseconds.into())),
            Step::WaitLong { minutes } => self.wait(Duration::from_secs(60 * u64::from(minutes))),
            Step::Reload { rules, new_cache } => self.reload(rules.into(), new_cache),
            Step::Tidy => self.tidy(),
            Step::Allow { pattern, seconds } => self.allow(pattern, seconds),
            Step::Revoke { pattern } => self.revoke(pattern),
            Step::Receive { .. }
            | Step::Misdeliver { .. }
            | Step::Fail { .. }
            | Step::LosePatience { .. } => {
                self.turn(step);
            }
        }
    }

    /// One turn of the relay: it reads new queries before anything else.
    fn turn(&mut self, step: Step) {
        self.take_asks();
        match step {
            Step::Receive { exchange, content } => self.receive(exchange, content),
            Step::Misdeliver { from, to } => self.misdeliver(from, to),
            Step::Fail { exchange } => self.fail(exchange),
            Step::LosePatience { exchange } => self.lose_patience(exchange),
            _ => {}
        }
    }

    /// Ends every question, and checks the counters.
    pub(super) fn end(mut self) {
        self.take_asks();
        while !self.exchanges.is_empty() {
            self.fail(0);
        }
        assert!(self.queries.iter().all(|query| query.is_over), "a query without an outcome");
        let totals = Totals::of(self.gates.iter().map(|(_, counters)| &**counters));
        let [queries, responses] =
            [totals.queries.iter().flatten().sum::<u64>(), totals.responses.iter().flatten().sum::<u64>()];
        assert_eq!(queries, self.queries.len() as u64);
        assert_eq!(queries, responses + totals.dropped.iter().sum::<u64>());
        assert_eq!(totals.cache_hits + totals.cache_misses, self.lookups);
        assert_eq!(totals.in_flight, 0);
    }

    /// The time as passed to the resolver.
    pub(super) fn time(&self) -> Instant {
        *START + self.now
    }

    fn ask(&mut self, asked: Asked) {
        let (address, group) = CLIENTS[usize::from(asked.client) % CLIENTS.len()];
        let question = question(asked.name, asked.qtype);
        let flags = AnswerFlags { dnssec_ok: asked.dnssec_ok, checking_disabled: asked.checking_disabled };
        let number = self.queries.len();
        let request = query(number as u16, &question, flags, asked.recursion_desired);
        let transport = if asked.over_tcp { Transport::Tcp } else { Transport::Udp };
        self.queries.push(Query { group, question, flags, is_over: false });
        let now = self.time();
        let outcome = self.gates[0].0.answer(&request, client(address, transport), now, &mut self.reply);
        let looked = matches!(&outcome, Outcome::Fetch(..) | Outcome::Refresh(..))
            || matches!(&outcome, Outcome::Reply(record) if record.source == AnswerSource::Cache || has_alias(record));
        self.lookups += u64::from(looked);
        match outcome {
            Outcome::Reply(record) => self.replied(0, number, &request, transport, &record),
            Outcome::Refresh(record, query) => {
                self.replied(0, number, &request, transport, &record);
                self.asks.push_back((query, None));
            }
            Outcome::Fetch(miss, query) => {
                self.gates[0].1.miss_begun();
                self.asks.push_back((query, Some((number, miss))));
            }
            other => panic!("{other:?}"),
        }
    }

    fn take_asks(&mut self) {
        while let Some((query, waiter)) = self.asks.pop_front() {
            self.take(query, waiter);
        }
    }

    fn take(&mut self, query: AllowedQuery<'static>, waiter: Option<Waiter>) {
        let (state, now) = (self.state.load_full(), self.time());
        match self.pending.take(&state, query, waiter, now) {
            Taken::Answered(waiter, fetched) => self.finish(waiter, &fetched),
            Taken::Refused((number, _), _) => {
                self.gates[1].1.dropped(Dropped::Overload);
                self.gates[1].1.miss_ended();
                self.queries[number].is_over = true;
            }
            Taken::Shared => {}
            Taken::Ask(query, waiter) => self.begin(&state, query, waiter),
        }
    }

    fn lose_patience(&mut self, exchange: u8) {
        let Some(index) = pick(exchange, self.exchanges.len()) else { return };
        let (state, now) = (self.state.load_full(), self.time());
        let given = self.pending.give_up_waiting(&state, self.exchanges[index].ticket, now);
        if let Some((fetched, waiters)) = given {
            waiters.into_iter().for_each(|(_, waiter)| self.finish(waiter, &fetched));
        }
    }

    /// Ends a cache miss with its answer.
    pub(super) fn finish(&mut self, (number, miss): Waiter, fetched: &Fetched) {
        let now = self.time();
        let record = miss.finish(&mut self.gates[1].0, fetched, now, &mut self.reply);
        self.gates[1].1.miss_ended();
        self.replied(1, number, miss.request(), miss.client.transport, &record);
    }

    fn replied(
        &mut self,
        gate: usize,
        number: usize,
        request: &[u8],
        transport: Transport,
        record: &QueryOutcome,
    ) {
        self.gates[gate].1.response(record, Duration::ZERO);
        let query = &mut self.queries[number];
        assert!(!std::mem::replace(&mut query.is_over, true), "a second reply to query {number}");
        let Some(message) = check_reply(request, &self.reply, transport) else { return };
        for marked in marks(&message) {
            assert_eq!(record.decision, Decision::Allowed, "{record:?} with data");
            let group = query.group.unwrap_or_else(|| panic!("data for a client that is not permitted"));
            self.model.check(group, (&query.question, query.flags), marked, self.now);
        }
    }
}

fn first_state() -> State {
    let mut policies = rule_sets(0, 1);
    let upstreams = upstreams(&SERVERS, None, &mut policies);
    state(policies, upstreams, cache())
}

fn gate(state: &Arc<ArcSwap<State>>) -> (Engine, Arc<Counters>) {
    let counters = Arc::new(Counters::of_one_thread());
    (Engine::new(state, Arc::clone(&counters)), counters)
}

/// The policies compiled from these rules.
pub(super) fn rule_sets(rules: usize, generation: u64) -> Policies {
    let [everyone, one] = group_rules(rules).map(|rules| Arc::clone(&RULE_SETS[rules].policy));
    policies(everyone, one, generation)
}

/// An empty cache.
pub(super) fn cache() -> Arc<Cache> {
    Arc::new(Cache::new(CACHE, LIFETIMES, None))
}

/// A cached answer that was inspected and not given.
fn has_alias(record: &QueryOutcome) -> bool {
    record.reason == Some(BlockReason::Alias)
}

/// An index below `count`.
pub(super) fn pick(index: u8, count: usize) -> Option<usize> {
    usize::from(index).checked_rem(count)
}

/// One of the names.
pub(super) fn name(index: u8) -> Name {
    let name = NAMES[usize::from(index) % NAMES.len()];
    Name::from_labels(name.split('.').map(str::as_bytes)).unwrap()
}

fn question(name: u8, qtype: u8) -> Question {
    Question { name: self::name(name), qtype: TYPES[usize::from(qtype) % TYPES.len()], class: Class::IN }
}
