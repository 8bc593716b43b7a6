//! The engine without sockets, files or clocks, and checks for everything it sends.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hickory_proto::op::Message;
use namegate::address::client::Client;
use namegate::cache::{Cache, Lifetimes};
use namegate::engine::cookies::Cookies;
use namegate::engine::{Engine, State, WaitLimits, ZoneIndexes};
use namegate::events::counters::Counters;
use namegate::local::LocalZones;
use namegate::policy::clients::{Clients, GroupId};
use namegate::policy::cname::CnamePolicy;
use namegate::policy::expect::Expect;
use namegate::policy::policies::Group;
use namegate::policy::route::{Route, Routes};
use namegate::policy::{Compile, Mode, NewRule, Policies, Policy, PolicyBuilder};
use namegate::upstream::UpstreamConfig;
use namegate::upstream::upstreams::Upstreams;
use namegate::wire::reply::{MAX_MESSAGE, Transport};

use super::oracle::Rules;
use super::{Action, HEADER, Malformed, Name, Pattern, Query, Question};

/// Largest UDP reply of namegate in bytes.
pub(super) const UDP_PAYLOAD: u16 = 1232;

/// Start time; all times are passed in.
pub(super) static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Lifetime limits that runs of a few hours reach.
pub(super) const LIFETIMES: Lifetimes = Lifetimes {
    max: Duration::from_secs(3600),
    max_negative: Duration::from_secs(300),
    max_stale: Duration::from_secs(1800),
    prefetch: true,
};

/// Rules from text.
pub(super) fn rules(allow: &[&str], deny: &[&str]) -> Rules {
    let of = |action, patterns: &[&str]| -> Rules {
        patterns.iter().map(|pattern| (action, Pattern::parse(pattern).unwrap())).collect()
    };
    [of(Action::Allow, allow), of(Action::Deny, deny)].concat()
}

/// Rules that share one demand on answers, as those of an allowlist do.
pub(super) struct Zone {
    pub(super) rules: Rules,
    pub(super) cname: CnamePolicy,
    pub(super) expect: Expect,
}

impl Zone {
    /// Rules whose answers are relayed unchanged.
    pub(super) fn trusted(rules: Rules) -> Self {
        Self { rules, cname: CnamePolicy::Trust, expect: Expect::Any }
    }
}

/// Compiles allowlists; the `index`th rule of each is on line `index`. Names in `routed` use the route with their
/// index.
pub(super) fn policy(zones: &[Zone], routed: &[(Pattern, Route)]) -> Arc<Policy> {
    let mut builder = PolicyBuilder::new();
    for Zone { rules, cname, expect } in zones {
        let source = builder.source("fuzz", "fuzz.toml");
        builder.cname(source, *cname);
        for (line, (action, pattern)) in rules.iter().enumerate() {
            let rule = NewRule::new(*action, pattern, source, line as u32);
            builder.rule(NewRule { expect: *expect, ..rule });
        }
    }
    let named = routed.iter().map(|(pattern, route)| (pattern, *route));
    Arc::new(builder.build(Compile {
        routes: Arc::new(Routes::new(named, [])),
        enforce_expect: true,
        ..Compile::new(Mode::Enforce)
    }))
}

/// Policies for all of 10.0.0.0/8, and others for 10.1.0.0/16.
pub(super) fn policies(everyone: Arc<Policy>, one: Arc<Policy>, generation: u64) -> Policies {
    let net = |text: &str| text.parse().unwrap();
    let clients = Clients::new(&[net("10.0.0.0/8")], &[(net("10.1.0.0/16"), GroupId::new(1).unwrap())]);
    let group = |name: &str, policy| Group { name: name.to_owned(), policy };
    Policies::new(clients, vec![group(Group::DEFAULT, everyone), group("one", one)], generation)
}

/// Upstreams with one server per entry of `routes`, never queried, and the route ids in `policies`.
pub(super) fn upstreams(routes: &[&str], before: Option<&Upstreams>, policies: &mut Policies) -> Upstreams {
    let config = UpstreamConfig::new(Duration::from_secs(5), 1000);
    let lists = routes.iter().map(|server| vec![server.parse().unwrap()]).collect();
    let (upstreams, numbers) = Upstreams::new(config, lists, before).expect("a free number");
    policies.number_routes(numbers);
    upstreams
}

/// The state that queries are judged by.
pub(super) fn state(policies: Policies, upstreams: Upstreams, cache: Arc<Cache>) -> State {
    let local = LocalZones::from_texts(&[]).unwrap();
    let state = State::new(policies, upstreams, cache, local, 30);
    let places = ZoneIndexes { temporary: 1, followed: 2, ancestors: 3, ..(*state.zones).clone() };
    State {
        identity: Some("fuzz".into()),
        udp_payload: UDP_PAYLOAD,
        zones: Arc::new(places),
        limits: WaitLimits { in_flight: 100, in_flight_per_client: 20 },
        cookies: Some(Cookies::new([7; 16], None, (Instant::now(), 0))),
        ..state
    }
}

/// An engine on `state`. Its counters do not matter here.
pub(super) fn gate(state: &Arc<ArcSwap<State>>) -> Engine {
    static COUNTERS: LazyLock<Arc<Counters>> = LazyLock::new(|| Arc::new(Counters::shared()));
    Engine::new(state, Arc::clone(&COUNTERS))
}

/// A client by its address.
pub(super) fn client(address: [u8; 4], transport: Transport) -> Client {
    Client { address: (address, 40_000).into(), transport, is_own: false }
}

/// Size limit of a reply to `request`: RFC 6891 section 6.2.3, RFC 1035 section 4.2.1.
pub(super) fn limit(request: &[u8], transport: Transport) -> usize {
    let mut question = Question::empty();
    let edns = match Query::parse(request, &mut question) {
        Ok(query) | Err(Malformed::Version(query)) => query.edns,
        Err(_) => None,
    };
    match (transport, edns) {
        (Transport::Tcp, _) => MAX_MESSAGE,
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_payload.clamp(512, UDP_PAYLOAD)),
        (Transport::Udp, None) => 512,
    }
}

/// Checks what must hold for every reply to `request`; returns it as hickory-proto reads it.
pub(super) fn check_reply(request: &[u8], reply: &[u8], transport: Transport) -> Option<Message> {
    check_frame(request, reply, transport);
    Some(Message::from_vec(reply).unwrap_or_else(|error| panic!("{error}: {reply:02x?} to {request:02x?}")))
}

/// The same for a reply with an upstream's records, which namegate does not check.
pub(super) fn check_frame(request: &[u8], reply: &[u8], transport: Transport) {
    assert!(reply.len() >= HEADER, "a reply of {} bytes", reply.len());
    assert_eq!(reply[..2], request[..2], "the id");
    assert_ne!(reply[2] & 0x80, 0, "QR");
    assert_eq!(reply[2] & 0x79, request[2] & 0x79, "opcode and RD");
    let limit = limit(request, transport);
    assert!(reply.len() <= limit, "{} bytes where {limit} are allowed", reply.len());
    if reply[5] == 1 {
        let question = request.get(HEADER..).and_then(|rest| Some(&rest[..Name::length(rest).ok()? + 4]));
        let question = question.unwrap_or_else(|| panic!("a question that was not asked: {reply:02x?}"));
        assert_eq!(&reply[HEADER..HEADER + question.len()], question, "the question, case kept");
    }
}
