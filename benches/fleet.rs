//! Simulates a fleet: resolvers that share the clients of a network, each with its own cache and its own limits towards
//! Azure's resolver. Engine, cache, coalescing and budget are the real ones; clients, network and clock are simulated.
//!
//! Run `cargo bench --bench fleet`. It prints the tables of docs/capacity.md: for numbers of clients and resolvers the
//! cache hits and the queries to upstreams, what happens to the others when one resolver fails, and how a resolver
//! starts with an empty cache. It ends with an error if the results differ from those computed by hand.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark")]

#[expect(dead_code, reason = "shared with other benchmarks")]
mod testbed;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use namegate::address::client::Client;
use namegate::cache::{Cache, HitBuffer};
use namegate::engine::{Engine, Outcome, State};
use namegate::policy::AllowedQuery;
use namegate::relay::{PendingQueries, Taken, Ticket};
use namegate::upstream::budget::{Attempt, Permit, Shed};
use namegate::wire::answer::{Answer, Lifetime};
use namegate::wire::code::{ErrorCode, Rcode};
use namegate::wire::reply::Transport;
use tokio::time::{Instant, sleep_until};

/// Simulate a fleet of resolvers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Numbers of clients
    #[arg(long, value_delimiter = ',', default_value = "100,1000,5000,10000,20000")]
    clients: Vec<usize>,
    /// Numbers of resolvers
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4")]
    resolvers: Vec<usize>,
    /// Queries of one client per second
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Send each query to any resolver, instead of all queries of a client to the same one
    #[arg(long)]
    spread: bool,
    /// Passed by cargo to benchmarks; without it, nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
}

/// Names that all clients use. The rank decides how often: the second half as often as the first, the third a third.
const SHARED: usize = 2000;

/// Names that only one client uses, such as the storage accounts of its jobs.
const OWN: usize = 5;

/// One query in so many is for a client's own names.
const OWN_SHARE: u64 = 5;

/// TTLs in seconds, as Azure's zones have them: private endpoints 10, storage and registries 60, services 300.
const TTLS: [u32; 3] = [10, 60, 300];

/// Time to the upstream's answer in milliseconds: the shortest, and how much longer it may take.
const LATENCY: (u64, u64) = (2, 30);

/// Caches fill: longer than the longest TTL.
const FILL: Duration = Duration::from_secs(320);

/// Then all resolvers are measured.
const STEADY: Duration = Duration::from_secs(120);

/// How long the others are measured after one resolver has failed, and that one after its return.
const AFTER: Duration = Duration::from_secs(60);

/// Time between two looks at queries that wait for a slot.
const LOOK: Duration = Duration::from_millis(1);

/// Random numbers that are the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The queries of all clients: when (a Poisson process), by whom, for what.
struct Traffic {
    clients: usize,
    /// Queries per second of all clients.
    rate: f64,
    spread: bool,
    /// Cumulated weights of the shared names.
    weights: Vec<f64>,
    own_names: usize,
    random: Random,
}

impl Traffic {
    fn new(clients: usize, rate: f64, spread: bool) -> Self {
        Self { own_names: OWN, ..Self::of_shared_names(SHARED, clients, rate * clients as f64, spread) }
    }

    fn of_shared_names(shared: usize, clients: usize, rate: f64, spread: bool) -> Self {
        let weights = (1..=shared).scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        });
        let random = Random(0x9e37_79b9_7f4a_7c15);
        Self { clients, rate, spread, weights: weights.collect(), own_names: 0, random }
    }

    fn names(&self) -> usize {
        self.weights.len() + self.clients * self.own_names
    }

    fn pause(&mut self) -> Duration {
        Duration::from_secs_f64(-self.random.fraction().max(1e-12).ln() / self.rate)
    }

    /// The client and the name of the next query.
    fn next(&mut self) -> (usize, usize) {
        let client = self.random.below(self.clients as u64) as usize;
        if self.own_names > 0 && self.random.below(OWN_SHARE) == 0 {
            let own = self.random.below(self.own_names as u64) as usize;
            return (client, self.weights.len() + client * self.own_names + own);
        }
        let last = self.weights.len() - 1;
        let wanted = self.random.fraction() * self.weights[last];
        (client, self.weights.partition_point(|weight| *weight < wanted).min(last))
    }

    /// Which of `resolvers` gets the next query of `client`; those before `first` have failed.
    fn resolver(&mut self, client: usize, first: usize, resolvers: usize) -> usize {
        let hash = match self.spread {
            true => self.random.next(),
            // Azure's load balancer by source address: a client stays with its resolver while that one is up.
            false => (client as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        } >> 32;
        let index = (hash % resolvers as u64) as usize;
        if index >= first {
            return index;
        }
        first + (hash as usize / resolvers) % (resolvers - first)
    }

    /// Queries per second to the upstream of each of `resolvers`, computed: one per cycle and name. A name's cycle is
    /// nine tenths of its TTL, after which the next query refreshes its cache entry, and the wait for that query.
    fn expected(&self, resolvers: usize) -> f64 {
        let per_cycle = |name: usize, rate: f64| (0.9 * f64::from(ttl(name)) + 1.0 / rate).recip();
        let all = self.weights[self.weights.len() - 1];
        let each = resolvers as f64;
        let own_share = if self.own_names == 0 { 0.0 } else { 1.0 / OWN_SHARE as f64 };
        let shared_rate = self.rate * (1.0 - own_share) / each;
        let shared = (0..self.weights.len())
            .map(|name| per_cycle(name, shared_rate / ((name + 1) as f64 * all)))
            .sum::<f64>();
        let own = self.clients * self.own_names;
        let own_rate = self.rate * own_share / own as f64;
        // A client that stays with its resolver has its own names only there.
        let (own_rate, parts) = if self.spread { (own_rate / each, 1.0) } else { (own_rate, each) };
        let own = (self.weights.len()..self.names()).map(|name| per_cycle(name, own_rate)).sum::<f64>();
        shared + own / parts
    }
}

fn ttl(name: usize) -> u32 {
    TTLS[name % TTLS.len()]
}

struct Resolver {
    engine: Engine,
    state: Arc<State>,
    pending: PendingQueries<()>,
    counts: Counts,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    queries: u64,
    /// Answered from the cache.
    hits: u64,
    /// Queries to the upstream, refreshes included: in all, and in the current and the busiest second.
    sent: u64,
    this_second: (u64, u64),
    busiest: u64,
    /// Clients' queries whose exchange waited for a slot, and was then answered.
    waited: u64,
    longest_wait: Duration,
    /// Clients' queries without an answer.
    failed: u64,
}

impl Counts {
    fn send(&mut self, second: u64) {
        self.sent += 1;
        self.this_second = match self.this_second {
            (current, count) if current == second => (second, count + 1),
            _ => (second, 1),
        };
        self.busiest = self.busiest.max(self.this_second.1);
    }
}

/// A query to an upstream.
#[derive(Clone, Copy)]
struct Exchange {
    resolver: usize,
    name: usize,
    ticket: Ticket,
    waited: bool,
}

/// An exchange, since when it waits for a slot, and the slot.
type Wait = (Exchange, Instant, Result<Permit, Shed>);

struct Fleet {
    resolvers: Vec<Resolver>,
    traffic: Traffic,
    requests: Vec<Vec<u8>>,
    begin: Instant,
    next_query: Instant,
    /// Answers on their way, by the time of arrival and a serial number.
    arrivals: BTreeMap<(Instant, u64), (Exchange, Permit)>,
    serial: u64,
    /// Exchanges that wait for a slot.
    waits: FuturesUnordered<BoxFuture<'static, Wait>>,
    reply: Vec<u8>,
}

impl Fleet {
    fn new(resolvers: usize, traffic: Traffic) -> Self {
        let request = |name| testbed::request(&format!("n{name}.azureml.ms"));
        Self {
            resolvers: (0..resolvers).map(|_| Resolver::new()).collect(),
            requests: (0..traffic.names()).map(request).collect(),
            traffic,
            begin: Instant::now(),
            next_query: Instant::now(),
            arrivals: BTreeMap::new(),
            serial: 0,
            waits: FuturesUnordered::new(),
            reply: Vec::with_capacity(4096),
        }
    }

    /// Lets the clients query for `time`; resolvers before `first` have failed.
    async fn run(&mut self, time: Duration, first: usize) {
        let end = Instant::now() + time;
        loop {
            let arrival = self.arrivals.keys().next().map(|(time, _)| *time);
            let look = (!self.waits.is_empty()).then(|| Instant::now() + LOOK);
            let next = [arrival, look].into_iter().flatten().fold(self.next_query, Instant::min);
            sleep_until(next.min(end)).await;
            let now = Instant::now();
            self.receive(now);
            while self.next_query <= now {
                self.query(now, first);
                self.next_query += self.traffic.pause();
            }
            self.serve_waiting(now);
            if now >= end {
                return;
            }
        }
    }

    fn query(&mut self, now: Instant, first: usize) {
        let (client, name) = self.traffic.next();
        let index = self.traffic.resolver(client, first, self.resolvers.len());
        let address = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + client as u32);
        let client =
            Client { address: SocketAddr::from((address, 40_000)), transport: Transport::Udp, is_own: false };
        let resolver = &mut self.resolvers[index];
        resolver.counts.queries += 1;
        let outcome = resolver.engine.answer(&self.requests[name], client, now.into_std(), &mut self.reply);
        let (query, waiter) = match outcome {
            Outcome::Reply(record) if record.rcode == Rcode::NOERROR => {
                resolver.counts.hits += 1;
                return;
            }
            // The client has its answer. The cache entry is about to expire and is fetched again.
            Outcome::Refresh(_, query) => {
                resolver.counts.hits += 1;
                (query, None)
            }
            Outcome::Fetch(_, query) => (query, Some(())),
            other => panic!("neither hit nor miss: {other:?}"),
        };
        match resolver.pending.take(&resolver.state, query, waiter, now.into_std()) {
            Taken::Ask(query, waiter) => self.ask(index, name, query, waiter, now),
            Taken::Shared => {}
            Taken::Answered((), fetched) if fetched.answer.as_ref().as_ref().rcode() == Rcode::NOERROR => {}
            Taken::Answered((), _) | Taken::Refused((), _) => resolver.counts.failed += 1,
        }
    }

    /// Queries the upstream, or waits for a slot, as the relay does with one server over UDP.
    fn ask(
        &mut self,
        index: usize,
        name: usize,
        query: AllowedQuery<'static>,
        waiter: Option<()>,
        now: Instant,
    ) {
        let resolver = &mut self.resolvers[index];
        let upstream = Arc::clone(resolver.state.upstreams.route(query.route()));
        let server = Arc::clone(&upstream.servers()[0]);
        let (holder, deadline) = (query.holder(), now + upstream.config().deadline);
        let permit = server.budget.try_acquire(holder, Attempt::First, now, deadline);
        if permit.is_none() && waiter.is_none() {
            // A refresh is not worth waiting for a slot.
            return;
        }
        let ticket = resolver.pending.begin(query, upstream, deadline.into_std(), waiter);
        let exchange = Exchange { resolver: index, name, ticket, waited: permit.is_none() };
        match permit {
            Some(permit) => self.send(exchange, permit, now),
            None => self
                .waits
                .push(async move { (exchange, now, server.budget.acquire(holder, deadline).await) }.boxed()),
        }
    }

    fn send(&mut self, exchange: Exchange, permit: Permit, now: Instant) {
        self.resolvers[exchange.resolver].counts.send((now - self.begin).as_secs());
        let latency = Duration::from_millis(LATENCY.0 + self.traffic.random.below(LATENCY.1));
        self.serial += 1;
        self.arrivals.insert((now + latency, self.serial), (exchange, permit));
    }

    /// Sends the waiting queries that have got a slot, and ends those that will not get one.
    fn serve_waiting(&mut self, now: Instant) {
        while let Some(Some((exchange, since, slot))) =
            tokio::task::unconstrained(self.waits.next()).now_or_never()
        {
            match slot {
                Ok(permit) => {
                    let counts = &mut self.resolvers[exchange.resolver].counts;
                    counts.longest_wait = counts.longest_wait.max(now - since);
                    self.send(exchange, permit, now);
                }
                Err(_) => {
                    let failure = Answer::failure(ErrorCode::NOT_READY, "no slot", Lifetime::Unknown);
                    let waiters = self.end(exchange, failure, now);
                    self.resolvers[exchange.resolver].counts.failed += waiters;
                }
            }
        }
    }

    /// Takes the answers that have come.
    fn receive(&mut self, now: Instant) {
        while let Some(entry) = self.arrivals.first_entry().filter(|entry| entry.key().0 <= now) {
            let (exchange, permit) = entry.remove();
            drop(permit);
            let response = testbed::response(&self.requests[exchange.name], ttl(exchange.name));
            let waiters = self.end(exchange, Answer::parse(&response).unwrap(), now);
            if exchange.waited {
                self.resolvers[exchange.resolver].counts.waited += waiters;
            }
        }
    }

    /// Caches and delivers an answer; returns how many clients waited for it.
    fn end(&mut self, exchange: Exchange, answer: Answer, now: Instant) -> u64 {
        let Resolver { pending, state, .. } = &mut self.resolvers[exchange.resolver];
        let upstream = Some("168.63.129.16".into());
        let ended = pending.end(state, exchange.ticket, answer, upstream, now.into_std());
        ended.map_or(0, |ended| ended.waiters.len() as u64)
    }

    /// Starts resolver `index` again, with an empty cache.
    fn restart(&mut self, index: usize) {
        // Its waits would end in another resolver's table.
        assert!(self.waits.is_empty(), "queries wait for a slot when a resolver returns");
        self.arrivals.retain(|_, (exchange, _)| exchange.resolver != index);
        self.resolvers[index] = Resolver::new();
    }

    /// The counts since the last call.
    fn take(&mut self) -> Vec<Counts> {
        self.resolvers.iter_mut().map(|resolver| std::mem::take(&mut resolver.counts)).collect()
    }
}

impl Resolver {
    fn new() -> Self {
        let mut engine = testbed::engine(20, 0);
        Self { state: engine.state(), engine, pending: PendingQueries::new(), counts: Counts::default() }
    }
}

/// Sums over resolvers.
struct Total<'a>(&'a [Counts]);

impl Total<'_> {
    fn of(&self, count: fn(&Counts) -> u64) -> f64 {
        self.0.iter().map(count).sum::<u64>() as f64
    }

    fn percent(&self, count: fn(&Counts) -> u64) -> f64 {
        self.of(count) * 100.0 / self.of(|counts| counts.queries)
    }

    /// Queries to the upstream per second and resolver.
    fn sent(&self, time: Duration) -> f64 {
        self.of(|counts| counts.sent) / time.as_secs_f64() / self.0.len() as f64
    }

    fn busiest(&self) -> u64 {
        self.0.iter().map(|counts| counts.busiest).max().unwrap_or(0)
    }

    /// Percentages of queries that waited for a slot and that failed, and the longest wait.
    fn limited(&self) -> String {
        let longest = self.0.iter().map(|counts| counts.longest_wait).max().unwrap_or_default();
        let (waited, failed) = (self.percent(|counts| counts.waited), self.percent(|counts| counts.failed));
        format!("{waited:.2} % | {} ms | {failed:.2} %", longest.as_millis())
    }
}

/// The rows of one fleet in the three tables.
struct Rows {
    steady: String,
    others: Option<String>,
    started: String,
}

async fn simulate(arguments: &Arguments, clients: usize, resolvers: usize) -> Rows {
    let traffic = Traffic::new(clients, arguments.rate, arguments.spread);
    let expected = traffic.expected(resolvers);
    let mut fleet = Fleet::new(resolvers, traffic);
    fleet.run(FILL, 0).await;
    fleet.take();
    fleet.run(STEADY, 0).await;
    let steady = fleet.take();
    let steady = Total(&steady);
    let sent = steady.sent(STEADY);
    assert!(steady.busiest() < 1000, "Azure's resolver would drop queries");
    let is_limited = steady.of(|counts| counts.waited + counts.failed) > 0.0;
    assert!(is_limited || (sent / expected - 1.0).abs() < 0.1, "{sent} a second, but {expected} computed");
    let head = format!("| {clients} | {resolvers} |");
    let row = format!(
        "{head} {:.1} % | {sent:.0} | {expected:.0} | {} | {} |",
        steady.percent(|counts| counts.hits),
        steady.busiest(),
        steady.limited()
    );
    // Not measured with one resolver: then nothing answers.
    let mut others = None;
    if resolvers > 1 {
        fleet.run(AFTER, 1).await;
        let counts = fleet.take();
        let rest = Total(&counts[1..]);
        others = Some(format!(
            "{head} {:.1} % | {:.0} | {} | {} |",
            rest.percent(|counts| counts.hits),
            rest.sent(AFTER),
            rest.busiest(),
            rest.limited()
        ));
    }
    if !fleet.waits.is_empty() {
        return Rows { steady: row, others, started: format!("{head} overloaded | | | | |") };
    }
    fleet.restart(0);
    fleet.run(AFTER, 0).await;
    let counts = fleet.take();
    let first = Total(&counts[..1]);
    let started = format!(
        "{head} {:.1} % | {} | {} |",
        first.percent(|counts| counts.hits),
        first.busiest(),
        first.limited()
    );
    Rows { steady: row, others, started }
}

/// One resolver and one name with a TTL of 10 s. Returns queries to the upstream per second.
async fn one_name(rate: f64, seconds: u64) -> f64 {
    let time = Duration::from_secs(seconds);
    let mut fleet = Fleet::new(1, Traffic::of_shared_names(1, 1, rate, false));
    fleet.run(time, 0).await;
    Total(&fleet.take()).sent(time)
}

/// Two cases that can be computed by hand, both for one name with a TTL of 10 s.
async fn check() {
    // Ten queries a second: the first one after 9 s, a tenth of a second later, refreshes the entry, and the answer
    // takes 16.5 ms. So the upstream gets one query per 9.12 s.
    let often = one_name(10.0, 20_000).await;
    assert!((often * 9.117 - 1.0).abs() < 0.01, "{often} a second");
    // One query in 100 s: the entry has expired, so nearly each is a miss. The next comes 100 s after the 10 s in
    // which the entry would be used: one query per 110 s.
    let seldom = one_name(0.01, 1_000_000).await;
    assert!((seldom * 110.0 - 1.0).abs() < 0.03, "{seldom} a second");
    println!(
        "One name, TTL 10 s, to the upstream: one query per {:.2} s if queried 10 times a second (computed: 9.12),",
        often.recip()
    );
    println!("one per {:.1} s if queried once in 100 s (computed: 110).\n", seldom.recip());
}

/// Resident memory of this process in bytes, where Linux says so.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}

/// Fills a cache with entries that were all used, and prints how many it holds.
fn measure_memory() {
    let mut engine = testbed::engine(20, 0);
    let lifetimes = *engine.state().cache.lifetimes();
    let now = std::time::Instant::now();
    let address = SocketAddr::from(([10, 0, 0, 7], 40_000));
    let client = Client { address, transport: Transport::Udp, is_own: false };
    let (mut reply, mut buffer) = (Vec::with_capacity(4096), HitBuffer::new());
    println!("| `cache.max_bytes` | cache entries | bytes per entry | resident memory |");
    println!("|--:|--:|--:|--:|");
    for mebibytes in [64, 256] {
        let before = resident();
        let cache = Cache::new(mebibytes << 20, lifetimes, None);
        for index in 0..mebibytes * 8000 {
            let request = testbed::request(&format!("w{index:07}.workspace.westeurope.api.azureml.ms"));
            let Outcome::Fetch(_, query) = engine.answer(&request, client, now, &mut reply) else {
                panic!("not a cache miss");
            };
            let response = testbed::response(&request, 300);
            cache.insert(&query, Answer::parse(&response).unwrap().as_ref(), now);
            (0..2).for_each(|_| assert!(cache.get(&query, now, &mut buffer).is_some()));
        }
        let grown = resident().zip(before).map(|(after, before)| (after - before) / f64::from(1 << 20));
        println!(
            "| {mebibytes} MiB | {} | {:.0} | {} |",
            cache.len(),
            cache.max_bytes() as f64 / cache.len() as f64,
            grown.map_or_else(|| "–".to_owned(), |grown| format!("{grown:.0} MiB"))
        );
        assert!(cache.evictions() > 0, "the cache is not full");
    }
    println!();
}

fn main() {
    let arguments = Arguments::parse();
    if !arguments.bench {
        return;
    }
    measure_memory();
    // The clock stands still while the simulation computes, and jumps to the next event.
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime().block_on(check());
    let cases: Vec<(usize, usize)> = (arguments.clients.iter())
        .flat_map(|clients| arguments.resolvers.iter().map(|resolvers| (*clients, *resolvers)))
        .collect();
    // Each core takes the largest case that is left.
    let left = Mutex::new((0..cases.len()).collect::<Vec<_>>());
    let rows = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(case) = { left.lock().unwrap().pop() } {
                    let (clients, resolvers) = cases[case];
                    let found = runtime().block_on(simulate(&arguments, clients, resolvers));
                    rows.lock().unwrap().insert(case, found);
                }
            });
        }
    });
    let rows: Vec<Rows> = rows.into_inner().unwrap().into_values().collect();
    let limited = "waited | longest wait | failed |";
    println!("All resolvers are up:\n");
    println!(
        "| clients | resolvers | hits | upstream queries/s, each | computed | busiest second | {limited}"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    rows.iter().for_each(|row| println!("{}", row.steady));
    println!("\nOne has failed; the others, in the minute after:\n");
    println!("| clients | resolvers | hits | upstream queries/s, each | busiest second | {limited}");
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|");
    rows.iter().filter_map(|row| row.others.as_ref()).for_each(|row| println!("{row}"));
    println!("\nIt is back with an empty cache; this one, in its first minute:\n");
    println!("| clients | resolvers | hits | busiest second | {limited}");
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    rows.iter().for_each(|row| println!("{}", row.started));
}
