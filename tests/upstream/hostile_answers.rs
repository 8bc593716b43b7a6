//! Tests attacks by upstream answers that are known from other resolvers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::scope;
use std::time::{Duration, Instant};

use crate::support::code::QR;
use crate::support::load::{ask_all, expect_none_wrong};
use crate::support::process::processor_time;
use crate::support::script::Step;
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream, truth};

/// A message of at most 65,535 bytes: the header of `query`, its question, and A records, each with the owner
/// `owner(n)`.
fn crowd(query: &Message, first: &[u8], owner: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut records = first.to_vec();
    let mut count = u16::from(!first.is_empty());
    loop {
        let record =
            [&owner(usize::from(count))[..], &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]].concat();
        if 12 + query.question_bytes.len() + records.len() + record.len() > 65_000 {
            break;
        }
        records.extend(record);
        count += 1;
    }
    let words = [query.id, QR | 0x0180, 1, count, 0, 0].map(u16::to_be_bytes).concat();
    [&words[..], &query.question_bytes, &records].concat()
}

/// A name of 127 labels, the maximum.
fn longest() -> Vec<u8> {
    [b"\x01x".repeat(126), vec![0]].concat()
}

// CVE-2024-8508 (Unbound), CVE-2026-123608 (hickory), CVE-2026-52682 (PowerDNS): the work for names grew quadratically.
#[test]
fn the_largest_messages_of_the_most_labels_cost_milliseconds() {
    /// Messages of each shape.
    const COUNT: u32 = 20;
    type Shape = fn(&Message) -> Vec<u8>;
    let shapes: [(&str, Shape); 5] = [
        ("long names, all different", |query| {
            crowd(query, &[], |n| [&[2, n as u8, (n >> 8) as u8], &longest()[4..]].concat())
        }),
        ("pointers to a long name", |query| {
            let first = [longest(), vec![0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]].concat();
            let at = 12 + query.question_bytes.len();
            let pointer = (0xc000 | at as u16).to_be_bytes();
            crowd(query, &first, move |n| [&[2, n as u8, (n >> 8) as u8], &pointer[..]].concat())
        }),
        ("each a pointer to the one before", |query| {
            let start = 12 + query.question_bytes.len();
            crowd(query, &[], move |n| match n {
                0 => b"\x01a\x00".to_vec(),
                // The first record has an owner of three bytes, and every other one of four; pointers reach 16,383.
                _ => {
                    let at = if n == 1 { start } else { start + 17 + (n - 2) * 18 };
                    [&[1, b'b'], &(0xc000 | at.min(0x3fff) as u16).to_be_bytes()[..]].concat()
                }
            })
        }),
        ("the root", |query| crowd(query, &[], |_| vec![0])),
        ("pointers to the question", |query| crowd(query, &[], |_| vec![0xc0, 12])),
    ];
    for (case, shape) in shapes {
        let upstream = ScriptedUpstream::start();
        upstream.by_default(Script::truncated_then(vec![Step::Send(Arc::new(shape))]));
        let gate = Gate::start(&upstream, "upstream.deadline = \"2s\"");
        let before = processor_time(&gate);
        let (mut longest, mut whole) = (Duration::ZERO, 0);
        for number in 0..COUNT {
            let start = Instant::now();
            let mut client = gate.tcp();
            client.send(&Query::new(&format!("n{number}.allowed.example"), "A").bytes());
            let reply = client.receive();
            longest = longest.max(start.elapsed());
            whole += u32::from(reply.len() > 60_000);
            assert!(reply.len() > 60_000 || reply[3] & 15 == 2, "{case}: {} bytes", reply.len());
        }
        // A busy machine may miss one deadline.
        assert!(whole + 2 >= COUNT, "{case}: {whole} of {COUNT} are relayed whole");
        let each = (processor_time(&gate) - before) / COUNT;
        eprintln!("{case}: {each:?} of processor each, {longest:?} at most");
        assert!(each < Duration::from_millis(10), "{case}: {each:?} for each message");
        assert!(
            upstream.queries().len() <= 2 * COUNT as usize,
            "{case}: {} upstream",
            upstream.queries().len()
        );
        assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN", "{case}");
    }
}

// CAMP, CVE-2026-123585 (hickory): following chains cost a resolver queries; namegate relays them and follows nothing.
#[test]
fn chains_and_loops_of_aliases_cost_no_further_query() {
    let chain = |length: usize, loops: bool| -> Vec<String> {
        let alias = |n: usize| {
            let target = if loops { (n + 1) % length } else { n + 1 };
            format!("c{n}.allowed.example 60 CNAME c{target}.allowed.example")
        };
        (0..length).map(alias).collect()
    };
    let cases = [
        ("17", chain(17, false)),
        ("50", chain(50, false)),
        ("500", chain(500, false)),
        ("a loop of 1", chain(1, true)),
        ("a loop of 2", chain(2, true)),
        ("a loop of 500", chain(500, true)),
        ("not of the question", chain(3, false).split_off(1)),
        ("a referral", vec!["allowed.example 60 NS ns.elsewhere.example".to_owned()]),
    ];
    scope(|scope| {
        for (case, chain) in &cases {
            scope.spawn(move || {
                let upstream = ScriptedUpstream::start();
                let records: Vec<&str> = chain.iter().map(String::as_str).collect();
                let is_referral = *case == "a referral";
                let response = match is_referral {
                    true => Response::default()
                        .authority(&records)
                        .additional(&["ns.elsewhere.example 60 A 192.0.2.5"]),
                    false => Response::answering(&records),
                };
                upstream.on("c0.allowed.example", Script::truncated_then_tcp(response));
                let gate = Gate::start(&upstream, "");
                for _ in 0..2 {
                    let reply = gate.tcp().ask(&Query::new("c0.allowed.example", "A"));
                    let relayed = if is_referral { reply.authorities.len() } else { reply.answers.len() };
                    assert_eq!((reply.rcode().as_str(), relayed), ("NOERROR", records.len()), "{case}");
                }
                let asked = upstream.asked();
                assert!(asked.iter().all(|asked| asked == "c0.allowed.example A"), "{case}: {asked:?}");
                // Over UDP and then TCP, twice: an answer without an address or SOA record is not cached.
                assert!(asked.len() <= 4, "{case}: {} queries", asked.len());
            });
        }
    });
}

// CVE-2022-34294 (a fixed port), CVE-2025-40780 (BIND) and CVE-2026-26018: an attacker who can predict port and id can
// answer first.
#[test]
fn query_ids_and_ports_are_unpredictable() {
    const QUERIES: usize = 10_000;
    let upstream = ScriptedUpstream::start();
    upstream.by_default(truth::script());
    let gate = Gate::start(&upstream, "upstream.max_qps = 0\nupstream.max_in_flight = 1000");
    // Clients' ids count up, and so do the names.
    let names = (0..QUERIES).map(|number| format!("n{number}.allowed.example")).collect();
    let asked = ask_all(&gate.udp(), names, 2500, |_| ());
    expect_none_wrong(&asked);
    let queries = upstream.queries();
    // A busy machine loses some of so many queries.
    assert!(queries.len() > QUERIES / 2, "{} queries", queries.len());
    let ids: Vec<u16> = queries.iter().map(|query| query.message.id).collect();
    for (half, byte) in [("upper", 8), ("lower", 0)] {
        let mut counts = [0.0; 256];
        ids.iter().for_each(|id| counts[usize::from(id >> byte & 0xff)] += 1.0);
        let expected = ids.len() as f64 / 256.0;
        // 255 degrees of freedom: the mean is 255, and six standard deviations are 136.
        let chi_square: f64 =
            counts.iter().map(|count| (count - expected) * (count - expected) / expected).sum();
        assert!((119.0..391.0).contains(&chi_square), "{half} byte of ids: chi-square {chi_square}");
    }
    let mut steps: Vec<u16> = ids.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    steps.sort_unstable();
    let most_frequent = steps.chunk_by(|one, other| one == other).map(<[u16]>::len).max();
    assert!(most_frequent < Some(10), "one step from id to id is taken {most_frequent:?} times");
    let ports: BTreeSet<u16> = queries.iter().map(|query| query.source.port()).collect();
    // A port serves 256 queries, and the rest of a batch of 64.
    assert!(ports.len() >= queries.len() / (256 + 64), "{} ports for {} queries", ports.len(), queries.len());
}
