//! How much more a client gets than it sends: what a forged source address could have sent to somebody else.

use crate::support::{Gate, Query, ScriptedUpstream};

/// What a reply that is no answer may have beyond its query, in bytes: a SOA record to keep the denial by (RFC 2308
/// section 3), an OPT record and the reason (RFC 8914).
const MOST_MORE: usize = 130;

/// How many times the bytes of a usual query, with EDNS, its reply may have.
const MOST_TIMES: f64 = 3.0;

/// Names as they are asked for: an OPT record, and 25 bytes or more.
const USUAL: [&str; 3] = [
    "telemetry.vendor.example.com",
    "h0001.telemetry.example.net",
    "some-long-host-name.region.cloud.example",
];

/// Sends a query over UDP; its length and that of its reply.
fn lengths(gate: &Gate, source: [u8; 4], query: &Query) -> (usize, usize) {
    let (client, bytes) = (gate.udp_from(source), query.bytes());
    client.send(&bytes);
    (bytes.len(), client.receive().len())
}

#[test]
fn a_denial_is_at_most_three_times_its_query() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for name in USUAL {
        for qtype in ["A", "ANY", "TXT", "DNSKEY"] {
            let (sent, received) = lengths(&gate, [127, 0, 0, 1], &Query::new(name, qtype).edns());
            assert!(received as f64 <= sent as f64 * MOST_TIMES, "{name} {qtype}: {sent} → {received} bytes");
        }
    }
    assert!(upstream.queries().is_empty());
}

#[test]
fn what_is_not_answered_is_little_longer_than_what_was_asked() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.allow_clients = [\"127.0.0.1\"]");
    let mut broken = Query::new("ws.allowed.example", "A").edns();
    broken.counts = Some([2, 0, 0, 1]);
    let mut notify = Query::new("ws.allowed.example", "A").edns();
    notify.opcode = 4;
    let cases = [
        ("the root, ANY", [127, 0, 0, 1], Query::new(".", "ANY"), MOST_MORE),
        ("a short name", [127, 0, 0, 1], Query::new("a.example", "TXT").edns(), MOST_MORE),
        ("a stranger", [127, 0, 0, 2], Query::new("ws.allowed.example", "ANY").edns(), 64),
        ("two questions", [127, 0, 0, 1], broken, 64),
        ("another opcode", [127, 0, 0, 1], notify, 64),
    ];
    for (case, source, query, most) in cases {
        let (sent, received) = lengths(&gate, source, &query);
        assert!(received <= sent + most, "{case}: {sent} → {received} bytes");
    }
    assert!(upstream.queries().is_empty());
}
