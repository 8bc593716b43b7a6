//! Tests validating resolvers that forward to namegate: their verdicts on a signed tree are the same as without
//! namegate.
//!
//! Needs Debian's bind9, unbound, knot-resolver, pdns-recursor, dnsmasq-base and systemd-resolved, so a plain `cargo
//! test` skips it; `.ci/run` installs them and runs these with the release binary.

mod resolver;
mod world;

use crate::support::code::{AD, RD};
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream};
use resolver::{Kind, Resolver};
use world::World;

/// Allowed parts of [`world::ZONES`]: with the zone's own name, without it, and a single name.
const RULES: &str = r#"
    [policy]
    allow = [".signed.test", "*.nsec3.test", ".unsigned.test", "www.exact.test", ".bogus.test"]
"#;

/// A validator's verdict on a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    /// Answered with AD.
    Secure,
    /// Answered without AD.
    Insecure,
    /// SERVFAIL.
    Bogus,
}
use Security::{Bogus, Insecure, Secure};

/// A question, and the result of a validator that queries the upstream directly.
type Case = (&'static str, &'static str, &'static str, Security);

/// Questions whose answers are the same with and without namegate.
const CASES: [Case; 46] = [
    ("www.signed.test", "A", "NOERROR", Secure),
    ("www.signed.test", "AAAA", "NOERROR", Secure),
    ("www.signed.test", "TXT", "NOERROR", Secure),
    ("missing.signed.test", "A", "NXDOMAIN", Secure),
    ("x.wild.signed.test", "A", "NOERROR", Secure),
    ("x.wild.signed.test", "AAAA", "NOERROR", Secure),
    ("alias.signed.test", "A", "NOERROR", Secure),
    ("across.signed.test", "A", "NOERROR", Secure),
    ("b.ent.signed.test", "A", "NOERROR", Secure),
    ("a.b.ent.signed.test", "A", "NOERROR", Secure),
    ("www.dname.signed.test", "A", "NOERROR", Secure),
    ("dname.signed.test", "DNAME", "NOERROR", Secure),
    ("www.sub.signed.test", "A", "NOERROR", Secure),
    ("missing.sub.signed.test", "A", "NXDOMAIN", Secure),
    ("www.plain.signed.test", "A", "NOERROR", Insecure),
    ("missing.plain.signed.test", "A", "NXDOMAIN", Insecure),
    ("www.nsec3.test", "A", "NOERROR", Secure),
    ("www.nsec3.test", "AAAA", "NOERROR", Secure),
    ("missing.nsec3.test", "A", "NXDOMAIN", Secure),
    ("x.wild.nsec3.test", "A", "NOERROR", Secure),
    ("x.wild.nsec3.test", "AAAA", "NOERROR", Secure),
    ("b.ent.nsec3.test", "A", "NOERROR", Secure),
    ("alias.nsec3.test", "A", "NOERROR", Insecure),
    ("www.unsigned.test", "A", "NOERROR", Insecure),
    ("www.unsigned.test", "AAAA", "NOERROR", Insecure),
    ("missing.unsigned.test", "A", "NXDOMAIN", Insecure),
    ("x.wild.unsigned.test", "A", "NOERROR", Insecure),
    ("alias.unsigned.test", "A", "NOERROR", Insecure),
    ("www.exact.test", "A", "NOERROR", Secure),
    ("www.exact.test", "AAAA", "NOERROR", Secure),
    ("www.bogus.test", "A", "SERVFAIL", Bogus),
    ("signed.test", "DS", "NOERROR", Secure),
    ("signed.test", "DNSKEY", "NOERROR", Secure),
    ("signed.test", "SOA", "NOERROR", Secure),
    ("sub.signed.test", "DS", "NOERROR", Secure),
    ("plain.signed.test", "DS", "NOERROR", Secure),
    ("nsec3.test", "DNSKEY", "NOERROR", Secure),
    ("nsec3.test", "SOA", "NOERROR", Secure),
    ("unsigned.test", "DS", "NOERROR", Secure),
    ("exact.test", "DS", "NOERROR", Secure),
    ("exact.test", "DNSKEY", "NOERROR", Secure),
    ("test", "DS", "NOERROR", Secure),
    ("test", "DNSKEY", "NOERROR", Secure),
    ("test", "NS", "NOERROR", Secure),
    (".", "DNSKEY", "NOERROR", Secure),
    (".", "NS", "NOERROR", Secure),
];

/// Blocked names, including ancestors of allowed names: their non-existence cannot be signed, and a validator reports
/// that.
const BLOCKED: [Case; 4] = [
    ("test", "A", "NOERROR", Secure),
    ("exact.test", "TXT", "NOERROR", Secure),
    ("www.off.test", "A", "NOERROR", Secure),
    ("off.test", "DNSKEY", "NOERROR", Secure),
];

/// An allowed name in a signed zone whose alias leaves the allowlist.
const LEAVING: Case = ("out.signed.test", "A", "NOERROR", Secure);

/// The expected result of `case` if `kind` cannot do what the others do.
fn beyond(kind: Kind, case: Case) -> Option<(&'static str, bool)> {
    match (kind, case.0, case.1) {
        // Dnsmasq 2.90 cannot validate DNAME.
        (Kind::Dnsmasq, "www.dname.signed.test", _) => Some(("SERVFAIL", false)),
        // systemd-resolved queries no server for the address of a single label.
        (Kind::Resolved, "test", "A") => Some(("REFUSED", false)),
        _ => None,
    }
}

/// PowerDNS Recursor has the root servers built in, and queries them at any time.
fn is_left_out(kind: Kind, case: Case) -> bool {
    (kind, case.0, case.1) == (Kind::PowerDns, ".", "NS")
}

/// Queries as a stub that wants to know whether the answer was validated.
fn ask(resolver: &Resolver, name: &str, qtype: &str) -> Message {
    resolver.client().ask(&Query::new(name, qtype).edns().flags(RD | AD))
}

/// Response code, AD, and the answers without their TTLs.
fn said(message: &Message) -> (String, bool, Vec<String>) {
    let mut answers: Vec<String> = message
        .answers
        .iter()
        .map(|record| format!("{} {} {}", record.owner, record.rtype, record.data_text()))
        .collect();
    answers.sort();
    (message.rcode(), message.has(AD), answers)
}

fn expect_direct(kind: Kind, direct: &Message, case: Case) {
    let (name, qtype, rcode, security) = case;
    let expected = beyond(kind, case).unwrap_or((rcode, security == Secure));
    assert_eq!((direct.rcode().as_str(), direct.has(AD)), expected, "{kind:?} by itself: {name} {qtype}");
}

fn compare(kind: Kind) {
    let world = World::start();
    let gate = Gate::with_upstreams(&[world.upstream()], RULES);
    let direct = Resolver::validating(kind, world.upstream(), world.anchor());
    let through = Resolver::validating(kind, gate.address(), world.anchor());
    // Blocked names first, so that their results are cached when allowed names are queried.
    for case in BLOCKED {
        let (name, qtype, ..) = case;
        expect_direct(kind, &ask(&direct, name, qtype), case);
        let blocked = beyond(kind, case).map_or("SERVFAIL", |(rcode, _)| rcode);
        assert_eq!(ask(&through, name, qtype).rcode(), blocked, "{kind:?}: {name} {qtype}");
    }
    let mut differences = Vec::new();
    for case in CASES.into_iter().filter(|case| !is_left_out(kind, *case)) {
        let (name, qtype, ..) = case;
        let by_itself = ask(&direct, name, qtype);
        expect_direct(kind, &by_itself, case);
        let (by_itself, through) = (said(&by_itself), said(&ask(&through, name, qtype)));
        if by_itself != through {
            differences.push(format!("{name} {qtype}: {through:?} instead of {by_itself:?}"));
        }
    }
    assert!(differences.is_empty(), "{kind:?} through namegate:\n{}", differences.join("\n"));
    gate.expect_clean_log();

    let following = Gate::with_upstreams(&[world.upstream()], &format!("{RULES}\n cname = \"follow\""));
    let through = Resolver::validating(kind, following.address(), world.anchor());
    let (name, qtype, ..) = LEAVING;
    let by_itself = ask(&direct, name, qtype);
    expect_direct(kind, &by_itself, LEAVING);
    assert_eq!(
        said(&ask(&through, name, qtype)),
        said(&by_itself),
        "{kind:?}: {name} with cname = \"follow\""
    );
}

#[test]
#[ignore = "needs bind9 and unbound; .ci/run"]
fn unbound_validates_through_namegate() {
    compare(Kind::Unbound);
}

#[test]
#[ignore = "needs bind9 and unbound; .ci/run"]
fn bind_validates_through_namegate() {
    compare(Kind::Bind);
}

#[test]
#[ignore = "needs bind9, unbound and knot-resolver; .ci/run"]
fn knot_resolver_validates_through_namegate() {
    compare(Kind::Knot);
}

#[test]
#[ignore = "needs bind9, unbound and pdns-recursor; .ci/run"]
fn powerdns_validates_through_namegate() {
    compare(Kind::PowerDns);
}

#[test]
#[ignore = "needs bind9, unbound and dnsmasq-base; .ci/run"]
fn dnsmasq_validates_through_namegate() {
    compare(Kind::Dnsmasq);
}

#[test]
#[ignore = "needs bind9, unbound, the files of systemd-resolved, and root for a mount namespace; .ci/run"]
fn systemd_resolved_validates_through_namegate() {
    compare(Kind::Resolved);
}

/// A blocked name, queried first, does not affect the allowed names below it, with each resolver's default
/// configuration, whether or not zones may be queried.
#[test]
#[ignore = "needs bind9, unbound, knot-resolver, pdns-recursor and dnsmasq-base; .ci/run"]
fn blocked_ancestors_cut_nothing_off() {
    let upstream = ScriptedUpstream::start();
    let allowed = "mcr.microsoft.com";
    upstream.on(allowed, Script::reply(Response::answering(&["mcr.microsoft.com 60 A 192.0.2.7"])));
    upstream.by_default(Script::reply(Response::answering(&[])));
    for asks_about_zones in [true, false] {
        let settings =
            format!("policy.allow = [\"{allowed}\"]\npolicy.dnssec_ancestors = {asks_about_zones}");
        let gate = Gate::start(&upstream, &settings);
        for kind in Kind::PLAIN {
            for (name, qtype) in [("com", "NS"), ("com", "A"), ("microsoft.com", "A"), (".", "TXT")] {
                let resolver = Resolver::forwarding(kind, gate.address());
                resolver.client().ask(&Query::new(name, qtype).edns());
                let reply = resolver.client().ask(&Query::new(allowed, "A").edns());
                let shown = (reply.rcode(), reply.answer_data());
                assert_eq!(
                    shown,
                    ("NOERROR".to_owned(), vec!["192.0.2.7".to_owned()]),
                    "{kind:?} after {name} {qtype}, dnssec_ancestors = {asks_about_zones}"
                );
            }
        }
    }
}
