//! Fuzzes replies built from any answer, of any age, for any client: nothing is written outside the records, no TTL
//! grows, and no message exceeds the client's size limit.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use hickory_proto::op::Message;
use namegate::wire::answer::{Answer, AnswerHead, AnswerRef, Lifetime};
use namegate::wire::code::{ErrorCode, Rcode};
use namegate::wire::denial::{self, Denial};
use namegate::wire::edns::Edns;
use namegate::wire::reply::{self, Ageing, Envelope, ExtendedError, MAX_MESSAGE, Transport};

use super::{Flags, HEADER, Header, Name};

/// The first private-use type (RFC 6895 section 3.1): hickory-proto leaves its data unchanged.
const PRIVATE_USE: u16 = 65_280;

/// TTL of stale answers in seconds.
const STALE_TTL: u32 = 30;

/// What a client's query says about its reply.
#[derive(Arbitrary, Debug)]
struct Asked {
    id: u16,
    flags: u16,
    edns: Option<(u16, bool)>,
    over_tcp: bool,
    udp_payload: u16,
}

/// `data` is a query and the answers to it.
pub fn run(data: &[u8]) {
    // Input that is neither proves nothing.
    let _ = try_run(&mut Unstructured::new(data));
}

fn try_run(input: &mut Unstructured<'_>) -> Result<()> {
    let asked = Asked::arbitrary(input)?;
    let question = question(input)?;
    let edns = asked.edns.map(|(payload, dnssec_ok)| Edns {
        udp_payload: payload.max(512),
        version: 0,
        dnssec_ok,
        cookie: None,
        wants_structured_errors: false,
    });
    let header = Header { id: asked.id, flags: Flags(asked.flags & 0x07ff), counts: [1, 0, 0, 0] };
    let transport = if asked.over_tcp { Transport::Tcp } else { Transport::Udp };
    let udp_payload = asked.udp_payload.clamp(512, 4096);
    let envelope = Envelope::new(header, &question, edns, transport, udp_payload);
    let limit = match (transport, edns) {
        (Transport::Tcp, _) => MAX_MESSAGE,
        (Transport::Udp, None) => 512,
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_payload.min(udp_payload)),
    };
    let mut out = vec![0xff; 40];
    let check = |out: &[u8]| {
        assert!(out.len() <= limit, "{} bytes where {limit} are allowed", out.len());
        let message = Message::from_vec(out).unwrap_or_else(|error| panic!("{error}: {out:02x?}"));
        assert_eq!((message.metadata.id, &out[HEADER..HEADER + question.len()]), (asked.id, &question[..]));
        assert_eq!(message.edns.is_some(), edns.is_some());
        message
    };

    let text = String::arbitrary(input)?;
    let denial = Denial::negative(Rcode::NXDOMAIN, u32::arbitrary(input)?, 7, &text);
    for reasons in [&[][..], &[&text as &dyn std::fmt::Display]] {
        denial::blocked(&mut out, &envelope, &denial, reasons);
        check(&out);
    }
    let error = ExtendedError { code: ErrorCode(u16::arbitrary(input)?), text: &text };
    reply::error(&mut out, &envelope, Rcode::BADVERS, Some(error));
    check(&out);
    reply::minimal_any(&mut out, &envelope);
    check(&out);

    let age = Duration::from_millis(u64::arbitrary(input)?);
    let max_ttl = Duration::from_secs(u64::arbitrary(input)?);
    let message = upstream_message(input, &question)?;
    if let Ok(answer) = Answer::parse(&message) {
        let answer = answer.as_ref();
        let sent = Message::from_vec(&message).unwrap();
        for offset in answer.ttl_offsets() {
            assert!(offset + 4 <= answer.records().len(), "a TTL at {offset}");
        }
        for ageing in [Ageing::By { age, max_ttl }, Ageing::Stale, Ageing::NONE] {
            reply::answer(&mut out, &envelope, answer, ageing, false);
            let given = check(&out);
            assert!(given.metadata.truncation || given.answers.len() == sent.answers.len());
            for (given, sent) in given.answers.iter().zip(&sent.answers) {
                let ttl = if sent.ttl > i32::MAX as u32 { 0 } else { sent.ttl };
                let most = match ageing {
                    Ageing::Stale => STALE_TTL,
                    Ageing::By { age, max_ttl } => {
                        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
                        ttl.min(seconds(max_ttl)).saturating_sub(seconds(age))
                    }
                };
                assert!(given.ttl <= most, "{} s where {most} s are left of {ttl} s", given.ttl);
                assert_eq!((&given.name, &given.data), (&sent.name, &sent.data));
            }
        }
    }

    // A torn cache entry, if there were one: it makes no sense, but does no harm.
    let bytes = Vec::<u8>::arbitrary(input)?;
    let ttls = u16::arbitrary(input)? % (bytes.len() as u16 / 2 + 1);
    let rest = bytes.len() as u16 - 2 * ttls;
    let extended_errors = u16::arbitrary(input)? % (rest + 1);
    let head = AnswerHead {
        flags: Flags(u16::arbitrary(input)?),
        counts: [u16::arbitrary(input)?, 0, u16::arbitrary(input)? & 0x7fff],
        records: rest - extended_errors,
        ttls,
        extended_errors,
        lifetime: Lifetime::Negative(u32::arbitrary(input)?),
    };
    let torn = AnswerRef::new(head, &bytes).unwrap();
    for ageing in [Ageing::By { age, max_ttl }, Ageing::Stale] {
        reply::answer(&mut out, &envelope, torn, ageing, true);
        assert!(out.len() <= limit);
    }
    Ok(())
}

fn question(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut labels = Vec::new();
    for _ in 0..input.int_in_range(0..=5)? {
        let length = input.int_in_range(1..=63)?;
        labels.push(input.bytes(length)?);
    }
    let name = Name::from_labels(labels).unwrap_or(Name::ROOT);
    Ok([name.as_bytes(), &PRIVATE_USE.to_be_bytes(), &[0, 1]].concat())
}

/// A message with any records that hickory-proto leaves unchanged, and with an OPT before, after or between them.
fn upstream_message(input: &mut Unstructured<'_>, question: &[u8]) -> Result<Vec<u8>> {
    let mut records = Vec::new();
    let count = input.int_in_range(0..=30_u16)?;
    let opt_at = input.int_in_range(0..=count + 3)?;
    // The section with the OPT is the last one.
    let answers = if opt_at <= count { 0 } else { count };
    for index in 0..=count {
        if index == opt_at {
            let options = Vec::<u8>::arbitrary(input)?;
            records.extend_from_slice(&[0, 0, 41, 4, 0xd0, 0, 0, 0, 0]);
            records.extend_from_slice(&(options.len() as u16 + 6).to_be_bytes());
            // An Extended DNS Error with these bytes as its text.
            records.extend_from_slice(&[0, 15]);
            records.extend_from_slice(&(options.len() as u16 + 2).to_be_bytes());
            records.extend_from_slice(&[0, 3]);
            records.extend_from_slice(&options);
        }
        if index < count {
            // hickory-proto reads a record without data as part of an update.
            let data = [vec![7], Vec::arbitrary(input)?].concat();
            records.extend_from_slice(&[0xc0, HEADER as u8]);
            records.extend_from_slice(&PRIVATE_USE.to_be_bytes());
            records.extend_from_slice(&[0, 1]);
            records.extend_from_slice(&u32::arbitrary(input)?.to_be_bytes());
            records.extend_from_slice(&(data.len() as u16).to_be_bytes());
            records.extend_from_slice(&data);
        }
    }
    let additionals = count - answers + u16::from(opt_at <= count);
    let header = Header { id: 1, flags: Flags(0x8180), counts: [1, answers, 0, additionals] };
    Ok([&header.to_bytes()[..], question, &records].concat())
}
