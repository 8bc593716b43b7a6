//! Tests allowlist settings on answers: where aliases may lead, and which addresses are expected.

use crate::support::gate::Reload;
use crate::support::{Gate, Query, Response, Script, ScriptedUpstream};

/// Namegate with the allowlist `zone.toml` only.
fn gate(upstream: &ScriptedUpstream, zone: &str, settings: &str) -> Gate {
    let settings = format!("policy.zones = [\"zone.toml\"]\npolicy.allow = []\n{settings}");
    Gate::with_files(&[upstream.address()], &settings, &[("zone.toml", zone)])
}

fn chain() -> ScriptedUpstream {
    let upstream = ScriptedUpstream::start();
    upstream.on(
        "a.example",
        Script::reply(Response::answering(&[
            "a.example 60 CNAME a.privatelink.example",
            "a.privatelink.example 60 CNAME edge.cdn.test",
            "edge.cdn.test 60 A 192.0.2.1",
        ])),
    );
    upstream.on("b.example", Script::reply(Response::answering(&["b.example 60 A 192.0.2.2"])));
    upstream.on("edge.cdn.test", Script::reply(Response::answering(&["edge.cdn.test 60 A 192.0.2.1"])));
    upstream
}

#[test]
fn aliases_are_trusted_unless_a_zone_says_otherwise() {
    let upstream = chain();
    let gate = gate(&upstream, "[[allow]]\nhost = \"a.example\"\n", "");
    assert_eq!(gate.ask("a.example", "A").answer_texts().len(), 3);
    assert_eq!(
        gate.ask("edge.cdn.test", "A").rcode(),
        "NXDOMAIN",
        "a followed target is not allowed by that"
    );
}

#[test]
fn inspected_answers_are_given_where_every_hop_is_allowed() {
    let upstream = chain();
    let zone = "cname = \"inspect\"\n[[allow]]\nhost = \"*.example\"\n";
    let gate = gate(&upstream, zone, "");
    for attempt in ["fetched", "cached"] {
        let reply = gate.ask("a.example", "A");
        assert_eq!((reply.rcode().as_str(), reply.answer_texts().len()), ("NXDOMAIN", 0), "{attempt}");
        assert_eq!(reply.ede_codes(), [15]);
        assert_eq!(gate.ask("b.example", "A").rcode(), "NOERROR");
    }
    let over_tcp = gate.tcp().ask(&Query::new("a.example", "A"));
    assert_eq!(over_tcp.rcode(), "NXDOMAIN");
    assert_eq!(gate.settled_metrics().sum("namegate_blocked_total", &[("reason", "alias")]), 3.0);
    gate.write_file("zone.toml", &format!("{zone}[[allow]]\nhost = \".cdn.test\"\n"));
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("a.example", "A").answer_texts().len(), 3);
}

#[test]
fn a_hop_that_a_rule_denies_is_no_hop() {
    let upstream = chain();
    let zone = "cname = \"inspect\"\n[[allow]]\nhost = \".example\"\n[[allow]]\nhost = \".cdn.test\"\n[[deny]]\nhost = \"edge.cdn.test\"\n";
    assert_eq!(gate(&upstream, zone, "").ask("a.example", "A").rcode(), "NXDOMAIN");
}

#[test]
fn observe_mode_gives_what_inspection_would_block() {
    let upstream = chain();
    let gate = gate(
        &upstream,
        "cname = \"inspect\"\n[[allow]]\nhost = \"*.example\"\n",
        "policy.mode = \"observe\"",
    );
    assert_eq!(gate.ask("a.example", "A").answer_texts().len(), 3);
    assert_eq!(gate.settled_metrics().sum("namegate_blocked_total", &[("reason", "alias")]), 1.0);
}

#[test]
fn followed_targets_are_allowed_to_those_who_were_led_there() {
    let upstream = chain();
    let zone = "cname = \"follow\"\n[[allow]]\nhost = \"a.example\"\n[[deny]]\nhost = \"denied.test\"\n";
    let settings = "server.allow_clients = [\"127.0.0.0/8\"]\n[[client]]\nname = \"others\"\nsubnets = [\"127.9.0.0/16\"]\n";
    let gate = gate(&upstream, zone, settings);
    assert_eq!(gate.ask("edge.cdn.test", "A").rcode(), "NXDOMAIN", "no answer has led there yet");
    gate.ask("a.example", "A");
    assert_eq!(gate.ask("edge.cdn.test", "A").rcode(), "NOERROR");
    assert_eq!(gate.ask("a.privatelink.example", "A").rcode(), "NOERROR");
    assert_eq!(gate.ask("x.edge.cdn.test", "A").rcode(), "NXDOMAIN", "the target alone");
    let from_others = gate.udp_from([127, 9, 0, 1]).ask(&Query::new("edge.cdn.test", "A"));
    assert_eq!(from_others.rcode(), "NXDOMAIN", "other clients were not led there");
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("edge.cdn.test", "A").rcode(), "NOERROR", "a reload does not change it");
    gate.write_file("zone.toml", "cname = \"follow\"\n[[allow]]\nhost = \"b.example\"\n");
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("edge.cdn.test", "A").rcode(), "NXDOMAIN", "the alias is no longer allowed");
    assert_eq!(upstream.count("edge.cdn.test"), 1);
}

#[test]
fn a_followed_target_that_a_rule_denies_stays_blocked() {
    let upstream = chain();
    let zone = "cname = \"follow\"\n[[allow]]\nhost = \"a.example\"\n[[deny]]\nhost = \".cdn.test\"\n";
    let gate = gate(&upstream, zone, "");
    gate.ask("a.example", "A");
    assert_eq!(gate.ask("edge.cdn.test", "A").rcode(), "NXDOMAIN");
    assert_eq!(upstream.count("edge.cdn.test"), 0);
}

/// Answers for names below `flood.example` lead to 32 names each that no other answer leads to.
fn hostile() -> ScriptedUpstream {
    let upstream = chain();
    upstream.by_choice(|query| {
        let name = query.name();
        let targets: Vec<String> =
            (0..32).map(|index| format!("{name} 86400 CNAME t{index}.{}.test", &name[..6])).collect();
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        Script::reply(Response::answering(&targets))
    });
    upstream
}

#[test]
fn a_hostile_zone_leaves_others_their_followed_names() {
    let upstream = hostile();
    let zone = "cname = \"follow\"\n[[allow]]\nhost = \"a.example\"\n[[allow]]\nhost = \"*.flood.example\"\n";
    let gate = gate(&upstream, zone, "server.allow_clients = [\"127.0.0.0/8\"]\n");
    // More than twice the limit, from 20 clients.
    let mut asked = 0;
    for client in 1..=20 {
        let client = gate.udp_from([127, 8, 0, client]);
        for batch in 0..11 {
            let queries: Vec<Query> = (0..20)
                .map(|index| Query::new(&format!("n{:05}.flood.example", asked + index), "A").edns())
                .collect();
            asked += queries.len();
            let replies =
                queries.iter().map(|query| client.ask(query)).filter(|reply| reply.rcode() == "NOERROR");
            assert_eq!(replies.count(), 20, "batch {batch}");
        }
    }
    assert!(asked * 32 > 2 * 65_536, "{asked}");
    let metrics = gate.settled_metrics();
    let (held, refused) =
        (metrics.sum("namegate_followed_names", &[]), metrics.sum("namegate_followed_refused_total", &[]));
    assert!(held <= 32_768.0, "one rule holds {held}");
    assert!(refused > 65_536.0, "{refused}");
    gate.stderr.expect("has used up its share of followed names");
    for round in ["beside it", "after a reload"] {
        for client in [[127, 0, 0, 1], [127, 8, 0, 1], [127, 9, 0, 1]] {
            let ask = |name: &str| gate.udp_from(client).ask(&Query::new(name, "A")).rcode();
            assert_eq!(ask("a.example"), "NOERROR", "{round}");
            assert_eq!(ask("a.privatelink.example"), "NOERROR", "{client:?} {round}");
            assert_eq!(ask("edge.cdn.test"), "NOERROR", "{client:?} {round}");
        }
        assert_eq!(gate.reload(), Reload::Success);
    }
    assert_eq!(
        gate.settled_metrics().sum("namegate_followed_refused_total", &[]),
        refused,
        "counting continues"
    );
}

const EXPECTING: &str = "[[allow]]\nhost = \"*.link.example\"\nexpect = \"private\"\n[[allow]]\nhost = \"*.public.example\"\nexpect = \"public\"\n";

fn addressed() -> ScriptedUpstream {
    let upstream = ScriptedUpstream::start();
    for (name, record) in [
        ("good.link.example", "A 10.1.0.4"),
        ("bad.link.example", "A 20.42.65.84"),
        ("v6.link.example", "AAAA 2603:1061:f::1"),
        ("good.public.example", "A 20.42.65.84"),
        ("bad.public.example", "A 10.1.0.4"),
        ("loop.public.example", "A 127.0.0.1"),
        ("mapped.public.example", "AAAA ::ffff:10.1.0.4"),
    ] {
        upstream.on(name, Script::reply(Response::answering(&[&format!("{name} 60 {record}")])));
    }
    upstream
}

#[test]
fn unexpected_addresses_are_counted_and_logged() {
    let upstream = addressed();
    let gate = gate(&upstream, EXPECTING, "");
    for (name, qtype) in [
        ("good.link.example", "A"),
        ("bad.link.example", "A"),
        ("bad.public.example", "A"),
        ("good.public.example", "A"),
    ] {
        assert_eq!(gate.ask(name, qtype).rcode(), "NOERROR", "{name}: not enforced");
    }
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_unexpected_answers_total", &[("expect", "private")]), 1.0);
    assert_eq!(metrics.sum("namegate_unexpected_answers_total", &[("expect", "public")]), 1.0);
    gate.stdout
        .expect("allowed client=127.0.0.1 protocol=udp name=bad.link.example type=A reason=unexpected");
    gate.stdout.expect("name=bad.public.example type=A reason=unexpected");
    assert_eq!(gate.stdout.all().len(), 2, "{:?}", gate.stdout.all());
}

#[test]
fn enforced_expectations_make_servfail() {
    let upstream = addressed();
    let gate = gate(&upstream, EXPECTING, "policy.enforce_expect = true");
    for (name, qtype, rcode) in [
        ("good.link.example", "A", "NOERROR"),
        ("bad.link.example", "A", "SERVFAIL"),
        ("bad.link.example", "A", "SERVFAIL"),
        ("v6.link.example", "AAAA", "SERVFAIL"),
        ("good.public.example", "A", "NOERROR"),
        ("bad.public.example", "A", "SERVFAIL"),
        ("loop.public.example", "A", "SERVFAIL"),
        ("mapped.public.example", "AAAA", "SERVFAIL"),
    ] {
        let reply = gate.ask(name, qtype);
        assert_eq!(reply.rcode(), rcode, "{name}");
        if rcode == "SERVFAIL" {
            assert_eq!((reply.ede_codes(), reply.answer_texts().len()), (vec![15], 0), "{name}");
        }
    }
    assert_eq!(gate.settled_metrics().sum("namegate_blocked_total", &[("reason", "unexpected")]), 6.0);
}

#[test]
fn a_zone_that_asks_for_what_is_not_there_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (zone, said) in [
        ("cname = \"inspekt\"\n", &["zone.toml:1:9", "expected one of `trust`, `inspect`, `follow`"][..]),
        (
            "[[allow]]\nhost = \"a.example\"\nexpect = \"intern\"\n",
            &["zone.toml:3:10", "write `private`, `public` or `any`"],
        ),
        (
            "[[deny]]\nhost = \"a.example\"\nexpect = \"private\"\n",
            &["zone.toml:3:10", "`deny.expect`: only allow rules"],
        ),
        ("servers = [\"10.0.0.0/8\"]\n", &["zone.toml:1:12", "invalid IP address"]),
    ] {
        std::fs::write(directory.path().join("zone.toml"), zone).unwrap();
        crate::support::command::namegate(directory.path(), &["check", "--zones", "zone.toml"])
            .expect_code(1)
            .expect_stderr(said);
    }
}

#[test]
fn an_inspected_answer_that_renames_without_alias_is_blocked() {
    let upstream = ScriptedUpstream::start();
    let renamed = ["y.example 60 DNAME out.test", "x.out.test 60 A 192.0.2.1"];
    upstream.on("x.y.example", Script::reply(Response::answering(&renamed)));
    let gate = gate(&upstream, "cname = \"inspect\"\n[[allow]]\nhost = \".example\"\n", "");
    assert_eq!(gate.ask("x.y.example", "A").rcode(), "NXDOMAIN");
}
