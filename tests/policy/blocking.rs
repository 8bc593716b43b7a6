//! Tests replies for blocked names, and that blocked names are not forwarded.

use crate::support::code::{AA, CD, RA, RD};
use crate::support::{Gate, Query, ScriptedUpstream};

/// Settings with allow and deny rules.
const RULES: &str = r#"
    [policy]
    allow = [".allowed.example", "*.storage.example"]
    deny = ["*.search.storage.example"]
"#;

#[test]
fn the_reply_is_a_name_error_with_an_soa_of_ours() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, RULES);
    let reply = gate.send(&Query::new("evil.example", "A").edns().flags(RD | CD));
    assert_eq!(reply.rcode(), "NXDOMAIN");
    assert!(reply.has(RA | RD | CD) && !reply.has(AA));
    assert_eq!(reply.asked(), "evil.example A");
    let [soa] = reply.authorities.as_slice() else { panic!("one SOA record: {reply:?}") };
    assert_eq!((soa.owner.as_str(), soa.ttl, soa.soa_minimum()), ("evil.example", 30, 30));
    assert!(soa.data_text().starts_with("namegate.invalid hostmaster.invalid "), "{}", soa.data_text());
    assert_eq!(reply.extended_errors(), [(15, "not on the allowlist".to_owned())]);
    assert!(upstream.queries().is_empty());
}

#[test]
fn the_reason_names_the_rule_and_needs_opt() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, RULES);
    let reply = gate.ask("x.search.storage.example", "A");
    assert_eq!(reply.extended_errors(), [(15, "denied by rule *.search.storage.example".to_owned())]);
    let reply = gate.send(&Query::new("x.search.storage.example", "A"));
    assert_eq!((reply.rcode().as_str(), reply.edns), ("NXDOMAIN", None));
    assert!(upstream.queries().is_empty());
}

#[test]
fn the_reply_is_little_larger_than_the_query() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, RULES);
    for query in [Query::new("evil.example", "A"), Query::new("evil.example", "TXT").edns()] {
        let (sent, received) = (query.bytes().len(), gate.send(&query).bytes.len());
        assert!(received <= 4 * sent, "{received} bytes for {sent}");
    }
}

#[test]
fn the_time_to_live_is_a_setting() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "block.ttl = \"7s\"");
    let soa = &gate.ask("evil.example", "A").authorities[0];
    assert_eq!((soa.ttl, soa.soa_minimum().min(7)), (7, 7));
}

#[test]
fn no_data_can_be_the_answer() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "block.answer = \"nodata\"");
    let reply = gate.ask("evil.example", "A");
    assert_eq!((reply.rcode().as_str(), reply.answers.len(), reply.authorities.len()), ("NOERROR", 0, 1));
    assert_eq!(reply.ede_codes(), [15]);
    assert!(upstream.queries().is_empty());
}

#[test]
fn refused_can_be_the_answer() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "block.answer = \"refused\"");
    let reply = gate.ask("evil.example", "A");
    assert_eq!((reply.rcode().as_str(), reply.authorities.len()), ("REFUSED", 0));
    assert_eq!(reply.ede_codes(), [15]);
    let blocked = gate
        .settled_metrics()
        .sum("namegate_responses_total", &[("decision", "blocked"), ("rcode", "refused")]);
    assert_eq!(blocked, 1.0);
    assert!(upstream.queries().is_empty());
}

#[test]
fn observe_mode_forwards_and_counts() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, &format!("{RULES}\nmode = \"observe\""));
    assert_eq!(gate.ask("evil.example", "A").answer_data(), ["192.0.2.1"]);
    assert_eq!(gate.ask("x.search.storage.example", "A").answer_data(), ["192.0.2.1"]);
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.1"]);
    assert_eq!(upstream.asked(), ["evil.example A", "x.search.storage.example A", "ws.allowed.example A"]);
    let metrics = gate.settled_metrics();
    let responses = |decision| metrics.sum("namegate_responses_total", &[("decision", decision)]);
    assert_eq!((responses("observed"), responses("allowed"), responses("blocked")), (2.0, 1.0, 0.0));
    assert_eq!(metrics.sum("namegate_blocked_total", &[("reason", "not_listed")]), 1.0);
    assert_eq!(metrics.sum("namegate_blocked_total", &[("reason", "denied")]), 1.0);
    assert_eq!(metrics.sum("namegate_policy_info", &[("mode", "observe")]), 1.0);
    gate.stdout.expect(" observed client=127.0.0.1 protocol=udp name=evil.example type=A reason=not_listed");
}

#[test]
fn observe_mode_still_refuses_what_is_never_forwarded() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.mode = \"observe\"");
    assert_eq!(gate.ask("evil.example", "AXFR").rcode(), "REFUSED");
    assert_eq!(gate.send(&Query::of_class("evil.example", "A", "CH")).rcode(), "REFUSED");
    assert!(upstream.queries().is_empty());
}

#[test]
fn the_most_specific_rule_decides_and_deny_wins_a_tie() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(
        &upstream,
        r#"
        [policy]
        allow = [".tie.example", "*.b.example", "ok.search.b.example"]
        deny = [".tie.example", "*.search.b.example"]
        "#,
    );
    for (name, rcode) in [
        ("tie.example", "NXDOMAIN"),
        ("x.tie.example", "NXDOMAIN"),
        ("x.b.example", "NOERROR"),
        ("x.search.b.example", "NXDOMAIN"),
        ("ok.search.b.example", "NOERROR"),
    ] {
        assert_eq!(gate.ask(name, "A").rcode(), rcode, "{name}");
    }
    assert_eq!(upstream.asked(), ["x.b.example A", "ok.search.b.example A"]);
}

/// An allowlist with a parameter and a broad rule.
const ZONE: &str = r#"
title = "Test"
source = "a test"
revised = 2026-01-01

[[allow]]
host = "{acr}.registry.example"
purpose = "images"

[[allow]]
host = ".wide.example"
purpose = "anything"
broad = true

[[allow]]
host = "narrow.example"
purpose = "one name"
"#;

const ZONE_SETTINGS: &str = r#"
    policy.zones = ["test"]
    policy.zones_directory = "{dir}/zones"
"#;

fn with_zone(upstream: &ScriptedUpstream, settings: &str) -> Gate {
    let settings = format!("{ZONE_SETTINGS}\n{settings}");
    Gate::with_files(&[upstream.address()], &settings, &[("zones/test.toml", ZONE)])
}

#[test]
fn a_parameter_makes_a_rule_for_each_value() {
    let upstream = ScriptedUpstream::start();
    let gate = with_zone(&upstream, "parameters.acr = [\"contoso\", \"fabrikam\"]");
    assert_eq!(gate.ask("contoso.registry.example", "A").rcode(), "NOERROR");
    assert_eq!(gate.ask("fabrikam.registry.example", "A").rcode(), "NOERROR");
    assert_eq!(gate.ask("other.registry.example", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.settled_metrics().sum("namegate_allowed_total", &[("zone", "test")]), 2.0);
}

#[test]
fn rule_with_unset_parameter_is_inactive() {
    let upstream = ScriptedUpstream::start();
    let gate = with_zone(&upstream, "");
    for name in ["registry.example", "acr.registry.example", "{acr}.registry.example"] {
        assert_eq!(gate.ask(name, "A").rcode(), "NXDOMAIN", "{name}");
    }
    assert_eq!(gate.ask("narrow.example", "A").rcode(), "NOERROR");
    assert_eq!(upstream.asked(), ["narrow.example A"]);
}

#[test]
fn strict_leaves_out_broad_rules() {
    let upstream = ScriptedUpstream::start();
    let lenient = with_zone(&upstream, "");
    assert_eq!(lenient.ask("x.wide.example", "A").rcode(), "NOERROR");
    let strict = with_zone(&upstream, "policy.strict = true");
    assert_eq!(strict.ask("x.wide.example", "A").rcode(), "NXDOMAIN");
    assert_eq!(strict.ask("narrow.example", "A").rcode(), "NOERROR");
    assert_eq!(upstream.asked(), ["x.wide.example A", "narrow.example A"]);
}

#[test]
fn clients_not_on_the_list_are_refused() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.allow_clients = [\"127.0.0.0/31\"]");
    let stranger = gate.udp_from([127, 0, 0, 2]);
    for name in ["ws.allowed.example", "evil.example"] {
        let reply = stranger.ask(&Query::new(name, "A").edns());
        assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("REFUSED", vec![18]), "{name}");
    }
    assert_eq!(stranger.ask(&Query::new("ws.allowed.example", "A")).edns, None);
    assert!(upstream.queries().is_empty());
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR");
    // Cached or not, the reply is REFUSED.
    assert_eq!(stranger.ask(&Query::new("ws.allowed.example", "A")).rcode(), "REFUSED");
    let refused = gate.settled_metrics().sum("namegate_responses_total", &[("decision", "refused")]);
    assert_eq!(refused, 4.0);
}
