//! Compares the wire layer with hickory-proto, on valid and on malformed messages.

#![allow(clippy::unwrap_used)]

mod differential;

use std::time::Duration;

use differential::{compare, ours, theirs};
use hickory_proto::op::{Edns as HickoryEdns, Message, Query as HickoryQuery};
use hickory_proto::rr::{self, DNSClass, RecordType};
use proptest::prelude::*;

use super::answer::{Answer, Lifetime};
use super::code::{ErrorCode, Rcode, Type};
use super::denial::{self, Denial};
use super::header::{Flags, HEADER, Header};
use super::query::{Malformed, Query, Question, parse_question};
use super::reply::{self, Ageing, Envelope, ExtendedError, Transport};

prop_compose! {
    fn valid_query()(
        labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..12), 0..6),
        qtype in any::<u16>(),
        class in prop_oneof![Just(1_u16), any::<u16>()],
        edns in prop::option::of((any::<u16>(), any::<bool>())),
        flags in any::<u16>(),
        id in any::<u16>(),
    ) -> Vec<u8> {
        let name = rr::Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
        let mut query = HickoryQuery::query(name, RecordType::from(qtype));
        query.set_query_class(DNSClass::from(class));
        let mut message = Message::query();
        message.add_query(query);
        if let Some((payload, dnssec_ok)) = edns {
            let mut edns = HickoryEdns::new();
            edns.set_max_payload(payload);
            edns.set_dnssec_ok(dnssec_ok);
            message.edns = Some(edns);
        }
        let mut bytes = message.to_vec().unwrap();
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        // QUERY, QR=0, all other flags random.
        bytes[2..4].copy_from_slice(&(flags & 0x07ff).to_be_bytes());
        bytes
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn valid_queries_are_read_as_hickory_reads_them(message in valid_query()) {
        prop_assert_eq!(ours(&message), theirs(&message));
        prop_assert!(ours(&message).is_some());
    }

    #[test]
    fn broken_queries_are_judged_as_hickory_judges_them(
        message in valid_query(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let mut message = message;
        for (index, byte) in changes {
            let at = index.index(message.len());
            message[at] = byte;
        }
        if let Some(cut) = cut {
            message.truncate(cut.index(message.len()));
        }
        message.extend(tail);
        compare(&message);
    }

    #[test]
    fn random_bytes_never_panic(message in prop::collection::vec(any::<u8>(), 0..600)) {
        compare(&message);
        let _ = Answer::parse(&message);
    }

    #[test]
    fn answers_survive_the_way_through(
        ttls in prop::collection::vec(0_u32..100_000, 1..6),
        age in 0_u64..5000,
    ) {
        let reply = upstream_reply(&ttls);
        let answer = Answer::parse(&reply).unwrap();
        prop_assert_eq!(answer.as_ref().lifetime(), Lifetime::Positive(*ttls.iter().min().unwrap()));
        let request = request(Some(4096));
        let mut question = Question::empty();
        let query = Query::parse(&request, &mut question).unwrap();
        let mut out = Vec::new();
        let ageing = Ageing::By { age: Duration::from_secs(age), max_ttl: Duration::from_secs(3600) };
        reply::answer(&mut out, &Envelope::of(&query, Transport::Udp, 4096), answer.as_ref(), ageing, false);
        let decoded = Message::from_vec(&out).unwrap();
        let seen: Vec<u32> = decoded.answers.iter().map(|record| record.ttl).collect();
        let expected: Vec<u32> = ttls.iter().map(|ttl| (*ttl).min(3600).saturating_sub(age as u32)).collect();
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(decoded.metadata.id, 0xabcd);
    }
}

const QNAME: &[u8] = b"\x02Ml\x05aZure\x03com\0";

fn request(edns: Option<u16>) -> Vec<u8> {
    let header = Header {
        id: 0xabcd,
        flags: Flags(Flags::RD | Flags::CD),
        counts: [1, 0, 0, u16::from(edns.is_some())],
    };
    let mut message = header.to_bytes().to_vec();
    message.extend_from_slice(QNAME);
    message.extend_from_slice(&[0, 1, 0, 1]);
    if let Some(payload) = edns {
        message.extend_from_slice(&[0, 0, 41]);
        message.extend_from_slice(&payload.to_be_bytes());
        message.extend_from_slice(&[0, 0, 0x80, 0, 0, 0]);
    }
    message
}

fn record(out: &mut Vec<u8>, kind: u16, ttl: u32, data: &[u8]) {
    out.extend_from_slice(&[0xc0, 12]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

fn upstream_reply(ttls: &[u32]) -> Vec<u8> {
    let mut message =
        Header { id: 1, flags: Flags(0x8180), counts: [1, ttls.len() as u16, 0, 1] }.to_bytes().to_vec();
    message.extend_from_slice(&QNAME.to_ascii_lowercase());
    message.extend_from_slice(&[0, 1, 0, 1]);
    ttls.iter().for_each(|ttl| record(&mut message, 1, *ttl, &[192, 0, 2, 1]));
    // OPT with an Extended DNS Error 3 "stale".
    message.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x0b\0\x0f\0\x07\0\x03stale");
    message
}

#[test]
fn every_reply_is_readable_and_within_its_limit() {
    let long = "x".repeat(2000);
    for payload in [None, Some(0), Some(512), Some(1232), Some(65535)] {
        let request = request(payload);
        let mut question = Question::empty();
        let query = Query::parse(&request, &mut question).unwrap();
        let envelope = Envelope::of(&query, Transport::Udp, 1232);
        let limit = payload.map_or(512, |payload| usize::from(payload.clamp(512, 1232)));
        let mut out = Vec::new();
        for text in ["short", &long] {
            let denial = Denial::negative(Rcode::NXDOMAIN, 30, 7, text);
            for reasons in [&[][..], &[&text as &dyn std::fmt::Display], &[&long, &text]] {
                denial::blocked(&mut out, &envelope, &denial, reasons);
                check(&out, limit, payload.is_some());
            }
            let error = ExtendedError { code: ErrorCode::PROHIBITED, text: &text };
            reply::error(&mut out, &envelope, Rcode::BADVERS, Some(error));
            check(&out, limit, payload.is_some());
        }
        reply::minimal_any(&mut out, &envelope);
        check(&out, limit, payload.is_some());
        reply::identity(&mut out, &envelope, &long);
        check(&out, 1232, payload.is_some());
        let large = Answer::parse(&upstream_reply(&vec![60; 100])).unwrap();
        reply::answer(&mut out, &envelope, large.as_ref(), Ageing::NONE, false);
        assert!(check(&out, limit, payload.is_some()).metadata.truncation);
    }
}

fn check(reply: &[u8], limit: usize, edns: bool) -> Message {
    assert!(reply.len() <= limit, "{} > {limit}", reply.len());
    let decoded = Message::from_vec(reply).unwrap();
    assert_eq!(decoded.metadata.id, 0xabcd);
    assert!(decoded.metadata.recursion_desired && decoded.metadata.checking_disabled);
    assert_eq!(&reply[HEADER..HEADER + QNAME.len()], QNAME, "the question's letter case is repeated");
    assert_eq!(decoded.edns.is_some(), edns);
    decoded
}

#[test]
fn opt_is_taken_out_wherever_it_stands() {
    let mut message = Header { id: 1, flags: Flags(0x8180), counts: [1, 1, 0, 2] }.to_bytes().to_vec();
    message.extend_from_slice(&QNAME.to_ascii_lowercase());
    message.extend_from_slice(&[0, 1, 0, 1]);
    record(&mut message, 1, 60, &[192, 0, 2, 1]);
    message.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
    record(&mut message, 1, 90, &[192, 0, 2, 2]);
    let answer = Answer::parse(&message).unwrap();
    assert_eq!(answer.as_ref().head().counts, [1, 0, 1]);
    assert_eq!(answer.as_ref().ttl_offsets().count(), 2);
}

#[test]
fn what_is_no_answer_is_refused() {
    let good = upstream_reply(&[60]);
    assert!(Answer::parse(&good).is_ok());
    for length in 0..good.len() {
        assert!(Answer::parse(&good[..length]).is_err(), "cut at {length}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(Answer::parse(&longer).is_err(), "a trailing byte");
    let mut forward = good.clone();
    let owner = HEADER + QNAME.len() + 4;
    forward[owner + 1] = owner as u8;
    assert!(Answer::parse(&forward).is_err(), "a pointer to itself");
    let mut count = good;
    count[7] = 9;
    assert!(Answer::parse(&count).is_err(), "a count higher than the number of records");
}

#[test]
fn an_answer_that_does_not_fit_over_tcp_goes_without_opt() {
    const NAME: &[u8] = b"\x01b\x07example\0";
    let question = [NAME, &[0xff, 0, 0, 1]].concat();
    for (length, opt, cookie) in [
        (65_496, true, true),
        (65_497, true, false),
        (65_524, true, false),
        (65_525, false, false),
        (65_535, false, false),
    ] {
        let data = length - HEADER - question.len() - 12;
        let flags = Flags(Flags::QR | Flags::RD | Flags::RA);
        let header = Header { id: 7, flags, counts: [1, 1, 0, 0] };
        let record =
            [&[0xc0, 12, 0xff, 0, 0, 1, 0, 0, 0, 60][..], &(data as u16).to_be_bytes(), &vec![5; data]]
                .concat();
        let message = [&header.to_bytes()[..], &question, &record].concat();
        assert_eq!(message.len(), length);
        let answer = Answer::parse(&message).unwrap();
        let request =
            [&Header { id: 9, flags: Flags(Flags::RD), counts: [1, 0, 0, 1] }.to_bytes()[..], &question]
                .concat();
        let request = [&request[..], &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]].concat();
        let mut read = Question::empty();
        let query = Query::parse(&request, &mut read).unwrap();
        let envelope = Envelope::of(&query, Transport::Tcp, 1232).with_cookie(Some([3; 28]));
        let mut out = Vec::new();
        reply::answer(&mut out, &envelope, answer.as_ref(), Ageing::NONE, false);
        let header = Header::parse(&out).unwrap();
        assert!(!header.flags.has(Flags::TC), "{length}");
        assert_eq!(header.counts, [1, 1, 0, u16::from(opt)], "{length}");
        let expected = length + if opt { 11 } else { 0 } + if cookie { 28 } else { 0 };
        assert_eq!(out.len(), expected, "{length}");
    }
}
