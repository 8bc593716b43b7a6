//! [`Testbed`]: namegate's engine without sockets, and requests for it; used by every benchmark of the packet path.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use namegate::address::client::Client;
use namegate::assemble::{Sources, assemble};
use namegate::cache::Cache;
use namegate::engine::{Engine, Outcome, State};
use namegate::events::counters::Counters;
use namegate::observe::metrics_registry::MetricsRegistry;
use namegate::policy::AllowedQuery;
use namegate::service::state::make_state;
use namegate::wire::answer::Answer;
use namegate::wire::reply::Transport;

/// Queries in turn, each for its own name; drop two digits of a total to get the count per query.
pub(crate) const QUERIES: usize = 100;

/// Number of rules where it does not matter.
const FEW_RULES: usize = 20;

/// Client subnets in turn; each has its own group if there are groups.
const SUBNETS: usize = 20;

/// Age of cache entries when queried: neither new nor about to expire.
const AGE: Duration = Duration::from_secs(10);

/// TTL of the records of a [`Testbed`], in seconds.
const TTL: u32 = 300;

/// A, IN.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];

/// An OPT record that offers 1232 bytes, as common stub resolvers send it.
const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

/// A process has only one metrics registry.
static CATALOGUE: LazyLock<MetricsRegistry> = LazyLock::new(|| MetricsRegistry::install().unwrap());

/// An engine and requests that all have the same kind of outcome.
pub(crate) struct Testbed {
    cache: Arc<Cache>,
    gate: Engine,
    requests: Vec<Vec<u8>>,
    now: Instant,
    reply: Vec<u8>,
}

impl Testbed {
    fn new(rules: usize, groups: usize, requests: Vec<Vec<u8>>) -> Self {
        let mut gate = engine(rules, groups);
        let cache = Arc::clone(&gate.state().cache);
        Self { cache, gate, requests, now: Instant::now(), reply: Vec::with_capacity(4096) }
    }

    /// Names that none of `rules` rules covers: the reply is written at once.
    pub(crate) fn blocked(rules: usize) -> Self {
        Self::new(rules, 0, blocked_requests()).assert_replies(3)
    }

    /// The same from clients of `groups` groups in turn, each with its own rules.
    pub(crate) fn blocked_of_groups(groups: usize) -> Self {
        Self::new(FEW_RULES, groups, blocked_requests()).assert_replies(3)
    }

    /// Allowed names that are not cached: the query is passed on.
    pub(crate) fn missed() -> Self {
        Self::missed_of_groups(0)
    }

    fn missed_of_groups(groups: usize) -> Self {
        let mut testbed = Self::new(FEW_RULES, groups, allowed_requests());
        for index in 0..QUERIES {
            testbed.fetch(index);
        }
        testbed
    }

    /// Allowed names with cached answers.
    pub(crate) fn cached() -> Self {
        Self::cached_of_groups(0)
    }

    /// The same from clients of `groups` groups in turn.
    pub(crate) fn cached_of_groups(groups: usize) -> Self {
        let mut testbed = Self::missed_of_groups(groups);
        let arrivals = testbed.arrivals();
        (0..QUERIES).for_each(|index| arrivals.store(index));
        testbed.now += AGE;
        testbed.assert_replies(0)
    }

    /// The upstream answers to all requests, before they are cached.
    pub(crate) fn arrivals(&mut self) -> Arrivals {
        let answers =
            (0..QUERIES).map(|index| (self.fetch(index), response(&self.requests[index], TTL))).collect();
        Arrivals { cache: Arc::clone(&self.cache), answers, now: self.now }
    }

    /// Answers the `index`th request.
    pub(crate) fn answer(&mut self, index: usize) -> Outcome {
        let address = SocketAddr::from(([10, (index % SUBNETS) as u8, 0, 7], 40_000));
        let client = Client { address, transport: Transport::Udp, is_own: false };
        self.gate.answer(&self.requests[index], client, self.now, &mut self.reply)
    }

    fn fetch(&mut self, index: usize) -> AllowedQuery<'static> {
        match self.answer(index) {
            Outcome::Fetch(_, query) => query,
            other => panic!("not a cache miss: {other:?}"),
        }
    }

    fn assert_replies(mut self, rcode: u8) -> Self {
        for index in 0..QUERIES {
            let outcome = self.answer(index);
            assert!(matches!(outcome, Outcome::Reply(_)) && self.reply[3] & 0x0f == rcode, "{outcome:?}");
        }
        self
    }
}

/// Upstream answers that are not yet cached.
pub(crate) struct Arrivals {
    cache: Arc<Cache>,
    answers: Vec<(AllowedQuery<'static>, Vec<u8>)>,
    now: Instant,
}

impl Arrivals {
    /// Parses and caches the `index`th answer.
    pub(crate) fn store(&self, index: usize) {
        let (query, response) = &self.answers[index];
        let answer = Answer::parse(response).unwrap();
        self.cache.insert(query, answer.as_ref(), self.now);
    }
}

/// Queries for names that the rules allow.
pub(crate) fn allowed_requests() -> Vec<Vec<u8>> {
    (0..QUERIES).map(|index| request(&format!("w{index:04}.workspace.westeurope.api.azureml.ms"))).collect()
}

fn blocked_requests() -> Vec<Vec<u8>> {
    (0..QUERIES).map(|index| request(&format!("h{index:04}.telemetry.example.com"))).collect()
}

/// An engine with an empty cache, `rules` rules and `groups` groups. The first rule allows `.azureml.ms`.
pub(crate) fn engine(rules: usize, groups: usize) -> Engine {
    let counters = CATALOGUE.watch(Counters::of_one_thread());
    Engine::new(&Arc::new(ArcSwap::from_pointee(state(rules, groups))), counters)
}

fn state(rules: usize, groups: usize) -> State {
    let other = (1..rules).map(|index| format!("\".r{index}.example.net\""));
    let allow: Vec<String> = std::iter::once("\".azureml.ms\"".to_owned()).chain(other).collect();
    let mut settings = format!(
        "[upstream]\nservers = [\"127.0.0.1:9\"]\n[policy]\nzones = []\nallow = [{}]\n",
        allow.join(", ")
    );
    for group in 0..groups {
        let (name, subnet) = (format!("g{group}"), format!("10.{group}.0.0/16"));
        // Each group needs different rules, or the groups would share them.
        let deny = format!("\"denied{group}.example\"");
        settings += &format!("[[client]]\nname = \"{name}\"\nsubnets = [\"{subnet}\"]\ndeny = [{deny}]\n");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("namegate.toml");
    std::fs::write(&file, settings).unwrap();
    let sources = Sources { config: Some(file), ..Sources::default() };
    let assembly = assemble(&sources, 1).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(assembly.policy().rules(), rules);
    make_state(assembly, None, &CATALOGUE).unwrap()
}

/// RD=1, one question, one OPT.
pub(crate) fn request(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1];
    push_labels(&mut message, name);
    message.push(0);
    message.extend_from_slice(&ADDRESS);
    message.extend_from_slice(&OPT);
    message
}

/// The answer to a request as Azure sends it for private endpoints: a CNAME and its address, with `ttl` in
/// seconds.
pub(crate) fn response(request: &[u8], ttl: u32) -> Vec<u8> {
    const QUESTION: usize = 12;
    /// A pointer to the name of the question.
    const NAME: [u8; 2] = [0xc0, QUESTION as u8];
    let mut message = request[..request.len() - OPT.len()].to_vec();
    message[2..QUESTION].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1]);
    let mut alias = Vec::new();
    push_labels(&mut alias, "privatelink");
    alias.extend_from_slice(&NAME);
    push_record(&mut message, NAME, [0, 5, 0, 1], ttl, &alias);
    let alias = (message.len() - alias.len()) as u16 | 0xc000;
    push_record(&mut message, alias.to_be_bytes(), ADDRESS, ttl, &Ipv4Addr::new(192, 0, 2, 53).octets());
    message.extend_from_slice(&OPT);
    message
}

fn push_labels(message: &mut Vec<u8>, name: &str) {
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
}

fn push_record(message: &mut Vec<u8>, owner: [u8; 2], type_and_class: [u8; 4], ttl: u32, data: &[u8]) {
    message.extend_from_slice(&owner);
    message.extend_from_slice(&type_and_class);
    message.extend_from_slice(&ttl.to_be_bytes());
    message.extend_from_slice(&(data.len() as u16).to_be_bytes());
    message.extend_from_slice(data);
}
