//! Tests ancestors of allowed names: they exist, have no data, and their zones can be validated.

use crate::admin::token::gate_with_token;
use crate::policy::allow::{allow, run};
use crate::support::code::{AD, RA, RD};
use crate::support::command::namegate;
use crate::support::gate::Reload;
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream};

const ONLY_BELOW: &str = "some subdomains of this name are allowed, but not the name itself";

/// Asserts that `reply` is NODATA for `name`.
fn expect_no_data(reply: &Message, name: &str, text: &str) {
    let owners: Vec<&str> = reply.authorities.iter().map(|record| record.owner.as_str()).collect();
    assert_eq!((reply.rcode().as_str(), reply.answers.len(), owners), ("NOERROR", 0, vec![name]), "{name}");
    assert!(reply.authorities[0].data_text().starts_with("namegate.invalid hostmaster.invalid "), "{name}");
    assert_eq!(reply.extended_errors(), [(15, text.to_owned())], "{name}");
}

#[test]
fn an_ancestor_of_allowed_names_has_no_data() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.allow = [\"*.deep.storage.example\", \"x.y.other.test\"]");
    let client = gate.udp();
    for name in
        [".", "example", "storage.example", "deep.storage.example", "y.other.test", "other.test", "TEST"]
    {
        for qtype in ["A", "AAAA", "TXT", "HTTPS", "CNAME", "ANY", "RRSIG", "TYPE65534"] {
            expect_no_data(&client.ask(&Query::new(name, qtype).edns()), name, ONLY_BELOW);
        }
        expect_no_data(&gate.tcp().ask(&Query::new(name, "A").edns()), name, ONLY_BELOW);
    }
    for name in ["com", "storagex.example", "z.y.other.test", "z.x.y.other.test", "sub.other.test"] {
        let reply = client.ask(&Query::new(name, "A").edns());
        assert_eq!((reply.rcode().as_str(), reply.authorities[0].owner.as_str()), ("NXDOMAIN", name));
    }
    assert_eq!(client.ask(&Query::new("a.deep.storage.example", "A")).answer_data(), ["192.0.2.1"]);
    assert_eq!(upstream.asked(), ["a.deep.storage.example A"]);
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_blocked_total", &[("reason", "ancestor")]), 7.0 * 9.0);
    gate.stdout.expect("name=storage.example type=A reason=ancestor rcode=noerror source=policy");
}

#[test]
fn explain_tells_ancestors_apart() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.allow = [\"a.b.example\"]");
    for (query, verdict, text) in [
        (
            "name=b.example",
            "blocked",
            "some subdomains of this name are allowed, but not the name itself; answered with NODATA, not NXDOMAIN",
        ),
        ("name=b.example&type=DS", "allowed", "policy.dnssec_ancestors"),
        ("name=c.example", "blocked", "not on the allowlist"),
    ] {
        let (_, explained) = gate.get(&format!("/api/v1/explain?{query}"));
        assert!(
            explained.contains(&format!("\"{verdict}\"")) && explained.contains(text),
            "{query}: {explained}"
        );
    }
    for (name, answer) in [("b.example", "NODATA"), ("c.example", "NXDOMAIN")] {
        let arguments = ["explain", name, "--config", "namegate.toml"];
        let run = namegate(gate.directory(), &arguments).expect_code(1);
        assert!(
            run.stdout.contains(&format!("answer   {answer}, cached by clients for 30s")),
            "{}",
            run.stdout
        );
    }
    assert!(upstream.queries().is_empty());
}

#[test]
fn an_ancestor_that_a_rule_denies_has_no_data_either() {
    let upstream = ScriptedUpstream::start();
    let settings = r#"
        [policy]
        allow = ["*.deep.storage.example", ".wide.test"]
        deny = [".storage.example", "hole.wide.test"]
    "#;
    let gate = Gate::start(&upstream, settings);
    for (name, rule) in [
        ("storage.example", ".storage.example"),
        ("deep.storage.example", ".storage.example"),
        ("hole.wide.test", "hole.wide.test"),
    ] {
        expect_no_data(&gate.ask(name, "A"), name, &format!("denied by rule {rule}; {ONLY_BELOW}"));
    }
    assert_eq!(gate.ask("x.storage.example", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.ask("x.hole.wide.test", "A").rcode(), "NOERROR");
    assert_eq!(upstream.asked(), ["x.hole.wide.test A"]);
    assert_eq!(gate.settled_metrics().sum("namegate_blocked_total", &[("reason", "denied")]), 4.0);
}

#[test]
fn another_answer_for_blocked_names_is_given_to_ancestors_too() {
    let upstream = ScriptedUpstream::start();
    for (answer, rcode) in [("nodata", "NOERROR"), ("refused", "REFUSED")] {
        let settings = format!("policy.allow = [\"a.b.example\"]\nblock.answer = \"{answer}\"");
        let gate = Gate::start(&upstream, &settings);
        let reply = gate.ask("b.example", "A");
        assert_eq!((reply.rcode().as_str(), reply.ede_codes()), (rcode, vec![15]), "{answer}");
    }
    assert!(upstream.queries().is_empty());
}

#[test]
fn observe_mode_forwards_ancestors() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.allow = [\"a.b.example\"]\npolicy.mode = \"observe\"");
    assert_eq!(gate.ask("b.example", "A").answer_data(), ["192.0.2.1"]);
    assert_eq!(upstream.asked(), ["b.example A"]);
    assert_eq!(gate.settled_metrics().sum("namegate_blocked_total", &[("reason", "ancestor")]), 1.0);
}

#[test]
fn a_reload_takes_ancestors_away() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.allow = [\"a.b.example\"]");
    assert_eq!(gate.ask("b.example", "A").rcode(), "NOERROR");
    assert_eq!(gate.ask("b.example", "DS").rcode(), "NOERROR");
    gate.write_settings("policy.allow = [\"a.c.example\"]");
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("b.example", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.ask("b.example", "DS").rcode(), "NXDOMAIN");
    assert_eq!(upstream.asked(), ["b.example DS"]);
}

#[test]
fn a_grant_has_ancestors_while_it_lasts() {
    let (upstream, _directory, gate) = gate_with_token();
    assert_eq!(gate.ask("b.granted.test", "A").rcode(), "NXDOMAIN");
    allow(&gate, "*.a.b.granted.test", "1h").expect_code(0);
    for name in ["a.b.granted.test", "b.granted.test", "granted.test", "test"] {
        expect_no_data(&gate.ask(name, "A"), name, ONLY_BELOW);
    }
    assert_eq!(gate.ask("c.granted.test", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.reload(), Reload::Success);
    expect_no_data(&gate.ask("b.granted.test", "A"), "b.granted.test", ONLY_BELOW);
    run(&gate, &["allow", "*.a.b.granted.test", "--revoke"]).expect_code(0);
    assert_eq!(gate.ask("b.granted.test", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.ask("b.granted.test", "DS").rcode(), "NXDOMAIN");
    assert!(upstream.queries().is_empty());
}

#[test]
fn a_local_zone_has_ancestors() {
    let upstream = ScriptedUpstream::start();
    let zone = "$ORIGIN a.corp.test.\n$TTL 300\n@ IN SOA ns hostmaster 1 7200 900 1209600 60\n@ IN NS ns\nns IN A 10.0.0.53\n";
    let settings = "[[local]]\norigin = \"a.corp.test\"\nfile = \"corp.zone\"";
    let gate = Gate::with_files(&[upstream.address()], settings, &[("corp.zone", zone)]);
    for name in ["corp.test", "test", "."] {
        expect_no_data(&gate.ask(name, "A"), name, ONLY_BELOW);
    }
    assert_eq!(gate.ask("b.corp.test", "A").rcode(), "NXDOMAIN");
    assert!(upstream.queries().is_empty());
}

#[test]
fn a_followed_name_has_ancestors() {
    let upstream = ScriptedUpstream::start();
    let alias = ["a.example 60 CNAME x.y.cdn.test", "x.y.cdn.test 60 A 192.0.2.9"];
    upstream.on("a.example", Script::reply(Response::answering(&alias)));
    let gate = Gate::start(&upstream, "policy.allow = [\"a.example\"]\npolicy.cname = \"follow\"");
    assert_eq!(gate.ask("y.cdn.test", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.ask("a.example", "A").rcode(), "NOERROR");
    expect_no_data(&gate.ask("y.cdn.test", "A"), "y.cdn.test", ONLY_BELOW);
    assert_eq!(gate.ask("z.y.cdn.test", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.ask("cdn.test", "DS").rcode(), "NOERROR");
    assert_eq!(gate.reload(), Reload::Success);
    expect_no_data(&gate.ask("y.cdn.test", "A"), "y.cdn.test", ONLY_BELOW);
    assert_eq!(upstream.asked(), ["a.example A", "cdn.test DS"]);
}

#[test]
fn ancestors_are_those_of_the_clients_group() {
    let upstream = ScriptedUpstream::start();
    let settings = r#"
        server.allow_clients = ["127.0.0.0/8"]
        policy.allow = ["a.everyone.test"]
        [[client]]
        name = "build"
        subnets = ["127.1.0.0/16"]
        allow = ["a.build.test"]
    "#;
    let gate = Gate::start(&upstream, settings);
    for (client, name, rcode) in [
        ([127, 0, 0, 1], "everyone.test", "NOERROR"),
        ([127, 0, 0, 1], "build.test", "NXDOMAIN"),
        ([127, 1, 0, 1], "build.test", "NOERROR"),
        ([127, 1, 0, 1], "everyone.test", "NXDOMAIN"),
    ] {
        for qtype in ["A", "DNSKEY"] {
            let reply = gate.udp_from(client).ask(&Query::new(name, qtype).edns());
            assert_eq!(reply.rcode(), rcode, "{client:?} {name} {qtype}");
        }
    }
    assert_eq!(upstream.asked(), ["everyone.test DNSKEY", "build.test DNSKEY"]);
}

#[test]
fn zones_above_allowed_names_can_be_asked_for() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.allow = [\"a.b.example\"]\npolicy.deny = [\".b.example\"]");
    let (names, types) = (["example", "b.example"], ["DS", "DNSKEY", "NS", "SOA"]);
    // The scripted upstream treats `. NS` as a health probe.
    assert_eq!(gate.ask(".", "NS").answers.len(), 1);
    assert_eq!(gate.ask(".", "DNSKEY").ede_codes(), [0_u16; 0]);
    for name in names {
        for qtype in types {
            assert_eq!(gate.ask(name, qtype).ede_codes(), [0_u16; 0], "{name} {qtype}");
        }
    }
    assert_eq!(gate.ask("example", "DS").rcode(), "NOERROR");
    let of_names = names.iter().flat_map(|name| types.map(|qtype| format!("{name} {qtype}")));
    let wanted: Vec<String> = std::iter::once(". DNSKEY".to_owned()).chain(of_names).collect();
    assert_eq!(upstream.asked(), wanted, "the second time from the cache");
    for (name, qtype) in [("test", "DS"), ("c.b.example", "DNSKEY"), ("com", "NS")] {
        assert_eq!(gate.ask(name, qtype).ede_codes(), [15], "{name} {qtype}");
    }
    assert_eq!(upstream.asked(), wanted);
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_allowed_total", &[("zone", "ancestors")]), 11.0);
    gate.expect_clean_log();
}

#[test]
fn zones_above_allowed_names_are_left_alone_by_setting() {
    let upstream = ScriptedUpstream::start();
    let settings = "policy.allow = [\"a.b.example\"]\npolicy.dnssec_ancestors = false";
    let gate = Gate::start(&upstream, settings);
    for qtype in ["DS", "DNSKEY", "NS", "SOA"] {
        expect_no_data(&gate.ask("b.example", qtype), "b.example", ONLY_BELOW);
    }
    assert!(upstream.queries().is_empty());
}

#[test]
fn ad_is_always_requested_and_given_on_request() {
    let upstream = ScriptedUpstream::start();
    let secure = || Response::answering(&["a.example 60 A 192.0.2.1"]).flags(AD | RA);
    upstream.on("a.example", Script::reply(secure()));
    let gate = Gate::start(&upstream, "policy.allow = [\"a.example\"]");
    let client = gate.udp();
    for (query, gets_ad) in [
        (Query::new("a.example", "A"), false),
        (Query::new("a.example", "A").edns(), false),
        (Query::new("a.example", "A").flags(RD | AD), true),
        (Query::new("a.example", "A").dnssec_ok(), true),
    ] {
        assert_eq!(client.ask(&query).has(AD), gets_ad, "{query:?}");
    }
    let received = upstream.queries();
    assert_eq!(received.len(), 2, "with and without DO");
    assert!(received.iter().all(|query| query.message.has(AD)));
}
