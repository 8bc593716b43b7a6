//! Fuzzes bytes from an upstream: what is accepted as an answer, and what reaches clients, at once and from the cache.
//!
//! An answer has QR, our id and our question; with any other it is rejected. What hickory-proto reads in it, it also
//! reads in the client's reply: the same records, no longer TTL, within the client's size limit.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hickory_proto::op::Message;
use hickory_proto::rr::Record as HickoryRecord;
use namegate::address::client::Client;
use namegate::cache::Cache;
use namegate::engine::{Engine, Miss, Outcome, State};
use namegate::events::outcome::{Decision, QueryOutcome};
use namegate::policy::AllowedQuery;
use namegate::policy::cname::CnamePolicy;
use namegate::policy::expect::Expect;
use namegate::upstream::Fetched;
use namegate::upstream::accept::{Channel, Judgement, SentQuery, judge};
use namegate::upstream::server_stats::Rejection;
use namegate::wire::answer::{Answer, AnswerRef};
use namegate::wire::code::Class;
use namegate::wire::reply::Transport;

use super::testbed::{
    LIFETIMES, START, Zone, check_frame, client, gate, limit, policies, policy, rules, state, upstreams,
};
use super::{Question, parse_question};

/// Ages in seconds at which answers are given and queried again.
const AGES: [u64; 3] = [0, 7, 1000];

/// EDNS of clients: none, and several sizes with or without DO.
const EDNS: [Option<(u16, bool)>; 4] = [None, Some((0, false)), Some((1232, true)), Some((65_535, false))];

/// One policy that relays answers unchanged, and one that inspects them.
static STATE: LazyLock<State> = LazyLock::new(|| {
    let zone = |allow: &[&str], cname, expect| Zone { rules: rules(allow, &[]), cname, expect };
    let tops: Vec<String> =
        (0..=255_u8).map(char::from).filter(char::is_ascii_alphanumeric).map(|c| format!(".{c}")).collect();
    let tops: Vec<&str> =
        tops.iter().map(String::as_str).chain([".com", ".net", ".ms", ".example"]).collect();
    let everyone = policy(
        &[
            Zone::trusted(rules(&tops, &[])),
            zone(&[".inspect.example"], CnamePolicy::Inspect, Expect::Any),
            zone(&[".follow.example"], CnamePolicy::Follow, Expect::Any),
            zone(&[".private.example"], CnamePolicy::Trust, Expect::Private),
        ],
        &[],
    );
    let mut policies = policies(everyone, policy(&[], &[]), 1);
    let upstreams = upstreams(&["127.0.0.1:9"], None, &mut policies);
    state(policies, upstreams, Arc::new(Cache::new(0, LIFETIMES, None)))
});

/// `data` is the message, judged as the answer to its own question and id.
pub fn run(data: &[u8]) {
    let Some((question, _)) = parse_question(data) else {
        return assert!(!matches!(
            judge_both(data, 0, &example()),
            [Judgement::Answer(_), _] | [_, Judgement::Answer(_)]
        ));
    };
    let id = u16::from_be_bytes([data[0], data[1]]);
    check_rejections(data, id, &question);
    for judgement in judge_both(data, id, &question) {
        if let Judgement::Answer(answer) = judgement {
            assert_ne!(data[2] & 0x80, 0, "QR");
            assert_eq!(data[2] & 0x78, 0, "opcode");
            assert_eq!(data[4..6], [0, 1], "one question");
            relay(data, &question, answer);
        }
    }
}

fn judge_both(data: &[u8], id: u16, question: &Question) -> [Judgement; 2] {
    [Channel::Datagram, Channel::Stream]
        .map(|channel| judge(data, SentQuery { id, question, case: None, edns: true }, channel))
}

fn example() -> Question {
    parse_question(b"\0\0\0\0\0\0\0\0\0\0\0\0\x07example\0\0\x01\0\x01").unwrap().0
}

/// The same bytes are rejected under another id, or for any other question.
fn check_rejections(data: &[u8], id: u16, question: &Question) {
    for other in [id ^ 1, id ^ 0x8000, !id] {
        let judged = judge(data, SentQuery { id: other, question, case: None, edns: true }, Channel::Stream);
        assert!(
            matches!(judged, Judgement::Reject(Rejection::Id | Rejection::NotResponse)),
            "{judged:?} under another id"
        );
    }
    let others = [
        Question { qtype: super::Type(question.qtype.0 ^ 1), ..question.clone() },
        Question { class: Class(question.class.0 ^ 1), ..question.clone() },
        Question { name: example().name, qtype: super::Type(!question.qtype.0), class: question.class },
    ];
    for other in others {
        // A refusal of EDNS may be only a header without a question.
        assert!(
            matches!(
                judge(data, SentQuery { id, question: &other, case: None, edns: true }, Channel::Stream),
                Judgement::Reject(_) | Judgement::EdnsRefused
            ),
            "{other:?} was not queried"
        );
    }
}

/// Gives the answer to waiting clients, and again to later ones.
fn relay(data: &[u8], question: &Question, answer: Answer) {
    let cache = Arc::new(Cache::new(1 << 18, LIFETIMES, None));
    let state = Arc::new(ArcSwap::from_pointee(State { cache: Arc::clone(&cache), ..STATE.clone() }));
    let mut gate = gate(&state);
    let fetched = Fetched {
        answer: Arc::new(answer),
        received: *START,
        upstream: Some("fuzz".into()),
        is_stale: false,
    };
    let answer = fetched.answer.as_ref().as_ref();
    let seen = Message::from_vec(data).ok().filter(|seen| !runs_through_what_changes(data, seen, answer));
    let sent = Relayed { records: answer.records().len(), needed: answer.needed_records().len(), seen };
    let mut reply = Vec::new();
    for edns in EDNS {
        let request = request(question, edns);
        for transport in [Transport::Udp, Transport::Tcp] {
            let client = client([10, 0, 0, 7], transport);
            let Some((miss, query)) = fetch(&mut gate, &request, client) else { return };
            for age in AGES {
                let now = *START + Duration::from_secs(age);
                let record = miss.finish(&mut gate, &fetched, now, &mut reply);
                check(&request, &reply, transport, &sent, &record, age);
                cache.retain(|_, _| false);
                cache.insert(&query, fetched.answer.as_ref().as_ref(), *START);
                again(&mut gate, &request, client, now, &mut reply).inspect(|record| {
                    check(&request, &reply, transport, &sent, record, age);
                });
                cache.retain(|_, _| false);
            }
        }
    }
}

/// A query is a cache miss while the cache is empty; `None` for types and classes that are never forwarded.
fn fetch(gate: &mut Engine, request: &[u8], client: Client) -> Option<(Box<Miss>, AllowedQuery<'static>)> {
    match gate.answer(request, client, *START, &mut Vec::new()) {
        Outcome::Fetch(miss, query) => Some((miss, query)),
        _ => None,
    }
}

/// Checks the cached answer, if there is one.
fn again(
    gate: &mut Engine,
    request: &[u8],
    client: Client,
    now: Instant,
    reply: &mut Vec<u8>,
) -> Option<QueryOutcome> {
    match gate.answer(request, client, now, reply) {
        Outcome::Reply(record) | Outcome::Refresh(record, _) => Some(record),
        _ => None,
    }
}

fn request(question: &Question, edns: Option<(u16, bool)>) -> Vec<u8> {
    let counts = [1, 0, 0, u16::from(edns.is_some())];
    let mut request =
        [0xabcd, 0x0110].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    request.extend(question.name.as_bytes().iter().map(u8::to_ascii_uppercase));
    request.extend_from_slice(&question.qtype.0.to_be_bytes());
    request.extend_from_slice(&question.class.0.to_be_bytes());
    if let Some((payload, dnssec_ok)) = edns {
        request.extend_from_slice(&[0, 0, 41]);
        request.extend_from_slice(&payload.to_be_bytes());
        request.extend_from_slice(&[0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    }
    request
}

/// An upstream's message.
struct Relayed {
    /// Length of its records in bytes.
    records: usize,
    /// The same without additional records, which are dropped first.
    needed: usize,
    /// What hickory-proto reads in it, if that is the same at any age. What it cannot read is relayed unchanged.
    seen: Option<Message>,
}

/// True if names point outside names and through TTLs, id or flags: they read differently once TTLs shrink or the id is
/// the client's. No server writes that. What some allowlists demand of answers is checked on the original message.
fn runs_through_what_changes(data: &[u8], seen: &Message, answer: AnswerRef<'_>) -> bool {
    let at = parse_question(data).map_or(0, |(_, end)| end);
    if !data[at..].starts_with(answer.records()) {
        // A rewritten message has all names in valid positions.
        return false;
    }
    let mut other = data.to_vec();
    for offset in answer.ttl_offsets() {
        other[at + offset..at + offset + 4].iter_mut().for_each(|byte| *byte = !*byte);
    }
    other[..2].iter_mut().for_each(|byte| *byte = !*byte);
    other[3] ^= 0xb0; // RA, AD, CD
    let Ok(other) = Message::from_vec(&other) else { return true };
    records(seen)
        .zip(records(&other))
        .any(|(one, other)| (&one.name, &one.data) != (&other.name, &other.data))
}

fn check(
    request: &[u8],
    reply: &[u8],
    transport: Transport,
    sent: &Relayed,
    record: &QueryOutcome,
    age: u64,
) {
    check_frame(request, reply, transport);
    if record.decision != Decision::Allowed {
        let given = Message::from_vec(reply).unwrap();
        return assert!(given.answers.is_empty(), "{record:?} with records");
    }
    let Some(seen) = &sent.seen else { return };
    let given = Message::from_vec(reply).unwrap_or_else(|error| panic!("{error}: {reply:02x?}"));
    assert_eq!(given.metadata.response_code.low(), seen.metadata.response_code.low());
    if given.metadata.truncation {
        // The request is as long as the part of the reply that repeats it: header, question, OPT.
        assert!(request.len() + sent.needed > limit(request, transport), "truncated although there is room");
        return assert_eq!(records(&given).count(), 0);
    }
    let fits = request.len() + sent.records <= limit(request, transport);
    let left_out = if fits { 0 } else { seen.additionals.len() };
    assert_eq!(records(&given).count(), records(seen).count() - left_out);
    for (given, seen) in records(&given).zip(records(seen)) {
        let ttl = if seen.ttl > i32::MAX as u32 { 0 } else { seen.ttl };
        assert!(given.ttl <= ttl.saturating_sub(age as u32), "{} of {ttl} s after {age} s", given.ttl);
        assert_eq!((&given.name, given.dns_class, &given.data), (&seen.name, seen.dns_class, &seen.data));
    }
}

/// All records but the OPT.
fn records(message: &Message) -> impl Iterator<Item = &HickoryRecord> {
    message.answers.iter().chain(&message.authorities).chain(&message.additionals)
}
