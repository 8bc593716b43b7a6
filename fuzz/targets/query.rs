//! Fuzzes the whole engine with any bytes from clients.
//!
//! A reply has QR, the request's id and question, fits the client's size limit, and hickory-proto can read it. Only
//! messages that are not queries get no reply. Upstream queries and records are only for names that checking every rule
//! allows.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use namegate::cache::Cache;
use namegate::engine::{Outcome, State};
use namegate::events::outcome::{AnswerSource, Decision};
use namegate::policy::clients::GroupId;
use namegate::policy::verdict::Verdict;
use namegate::wire::answer::Answer;
use namegate::wire::code::Class;
use namegate::wire::reply::Transport;
use namegate::wire::request::AnswerFlags;

use super::oracle::{Rules, oracle, oracle_allows_below};
use super::testbed::{
    LIFETIMES, START, Zone, check_reply, client, gate, policies, policy, rules, state, upstreams,
};
use super::{Action, HEADER, Name, Query, Question, Type, parse_question};

/// Default rules, and those of one group.
static RULES: LazyLock<[Rules; 2]> = LazyLock::new(|| {
    [
        rules(
            &[".azureml.ms", "*.blob.core.windows.net", "ml.azure.com", ".example", "*.1.example"],
            &["*.denied.example", "bad.azureml.ms"],
        ),
        rules(&["ml.azure.com", ".a.example"], &[".example"]),
    ]
});

/// Clients of both, and one that is not permitted.
const CLIENTS: [([u8; 4], Option<usize>); 3] =
    [([10, 0, 0, 7], Some(0)), ([10, 1, 0, 7], Some(1)), ([192, 0, 2, 7], None)];

/// Age of the cached answers.
const AGE: Duration = Duration::from_secs(10);

static STATE: LazyLock<Arc<ArcSwap<State>>> = LazyLock::new(|| {
    let compiled = |rules: &Rules| policy(&[Zone::trusted(rules.clone())], &[]);
    let mut policies = policies(compiled(&RULES[0]), compiled(&RULES[1]), 1);
    let upstreams = upstreams(&["127.0.0.1:9"], None, &mut policies);
    let state = state(policies, upstreams, Arc::new(Cache::new(1 << 20, LIFETIMES, None)));
    // One small answer, one larger than 512 bytes, and a negative one.
    for (name, records) in [("ml.azure.com", 1), ("big.example", 40), ("none.example", 0)] {
        let name = Name::from_labels(name.split('.').map(str::as_bytes)).unwrap();
        let question = Question { name, qtype: Type::A, class: Class::IN };
        let asker = (CLIENTS[0].0.into(), GroupId::DEFAULT);
        let verdict = state.policies.decide(asker, &question, AnswerFlags::default(), *START);
        let Verdict::Allowed(query, _) = verdict else { panic!("{verdict:?}") };
        state.cache.insert(&query, answer(&question, records).as_ref(), *START);
    }
    Arc::new(ArcSwap::from_pointee(state))
});

/// An answer with `addresses` addresses, or with an SOA if that is 0.
fn answer(question: &Question, addresses: u16) -> Answer {
    let authorities = u16::from(addresses == 0);
    let mut message = [0x0001_u16, 0x8180, 1, addresses, authorities, 0].map(u16::to_be_bytes).concat();
    message.extend_from_slice(question.name.as_bytes());
    message.extend_from_slice(&[0, 1, 0, 1]);
    for number in 0..addresses {
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 192, 0, 2, number as u8]);
    }
    if addresses == 0 {
        message.extend_from_slice(b"\xc0\x0c\0\x06\0\x01\0\0\x01\0\0\x16\0\0");
        message.extend_from_slice(&[0, 0, 0, 60].repeat(5));
    }
    Answer::parse(&message).unwrap()
}

/// `data` is the message.
pub fn run(data: &[u8]) {
    let mut gate = gate(&STATE);
    // The reply buffer is never empty.
    let mut reply = vec![0xff; 700];
    for (address, group) in CLIENTS {
        for transport in [Transport::Udp, Transport::Tcp] {
            let outcome = gate.answer(data, client(address, transport), *START + AGE, &mut reply);
            check(data, transport, group, &outcome, &reply);
        }
    }
}

fn check(data: &[u8], transport: Transport, group: Option<usize>, outcome: &Outcome, reply: &[u8]) {
    let must_be_silent = data.len() < HEADER || data[2] & 0x80 != 0;
    assert_eq!(matches!(outcome, Outcome::Silence), must_be_silent, "{outcome:?}");
    match outcome {
        Outcome::Silence => {}
        Outcome::Local(_) => panic!("there are no local zones"),
        Outcome::Reply(record) | Outcome::Refresh(record, _) => {
            let Some(message) = check_reply(data, reply, transport) else { return };
            let has_data = !message.answers.is_empty() || record.source == AnswerSource::Cache;
            if has_data && record.decision == Decision::Allowed {
                assert!(is_allowed(group, data), "an answer for a name that is not allowed: {reply:02x?}");
            } else if has_data {
                let is_identity = record.decision == Decision::Local && group.is_some();
                assert!(is_identity || message.answers.is_empty(), "{record:?}");
            }
        }
        Outcome::Fetch(miss, query) => {
            assert!(is_allowed(group, data), "an upstream query for a name that is not allowed");
            let mut question = Question::empty();
            let asked = Query::parse(data, &mut question).unwrap();
            assert_eq!(query.question(), asked.question);
            assert_eq!(query.question().class, Class::IN);
            assert_eq!(query.flags().dnssec_ok, asked.dnssec_ok());
            assert_eq!(miss.request(), data);
            assert!(data[2] & 1 != 0, "an upstream query without RD");
        }
    }
}

/// The verdict on the question of `data` by checking every rule.
fn is_allowed(group: Option<usize>, data: &[u8]) -> bool {
    let (Some(group), Some((question, _))) = (group, parse_question(data)) else { return false };
    let rules = &RULES[group];
    let is_about_zones = matches!(question.qtype, Type::DS | Type::DNSKEY | Type::NS | Type::SOA);
    oracle(rules, &question.name).is_some_and(|rule| rules[rule].0 == Action::Allow)
        || is_about_zones && oracle_allows_below(rules, &question.name) == Some(true)
}
