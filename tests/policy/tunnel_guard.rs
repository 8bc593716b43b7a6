//! Tests the tunnel guard: a limit on new names per client below one rule.

use crate::support::{Gate, Query, Response, Script, ScriptedUpstream};

const ENFORCED: &str = r#"
    policy.allow = [".allowed.example", "*.wide.example"]
    tunnel_guard = { mode = "enforce", new_names = 10, name_bytes = "1KiB", window = "1h" }
    cache.max_bytes = "0B"
"#;

fn rcodes(gate: &Gate, names: impl Iterator<Item = String>) -> Vec<String> {
    let client = gate.udp();
    names.map(|name| client.ask(&Query::new(&name, "A").edns()).rcode()).collect()
}

#[test]
fn new_names_beyond_the_budget_are_blocked_for_that_client() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, ENFORCED);
    let many = rcodes(&gate, (0..14).map(|index| format!("n{index}.wide.example")));
    assert_eq!(many[..10], ["NOERROR"; 10]);
    assert_eq!(many[10..], ["SERVFAIL"; 4]);
    let known = rcodes(&gate, (0..10).map(|index| format!("n{index}.wide.example")));
    assert_eq!(known, ["NOERROR"; 10], "repeated names carry nothing new");
    assert_eq!(gate.ask("a.allowed.example", "A").rcode(), "NOERROR", "another rule");
    let other = gate.udp_from([127, 0, 0, 9]).ask(&Query::new("n99.wide.example", "A"));
    assert_eq!(other.rcode(), "NOERROR", "another client");
    assert_eq!(upstream.count("n11.wide.example"), 0);
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_tunnel_guard_exceeded_total", &[]), 4.0);
    assert_eq!(metrics.sum("namegate_tunnel_guard_suspects", &[]), 1.0);
    assert_eq!(metrics.sum("namegate_blocked_total", &[("reason", "tunnel")]), 4.0);
    let (status, page) = gate.get("/api/v1/tunnel-guard");
    assert_eq!(status, 200);
    assert!(page.contains(r#""client":"127.0.0.1","below":"wide.example","names":10"#), "{page}");
}

#[test]
fn long_names_use_the_budget_up_sooner() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, ENFORCED);
    let label = "x".repeat(60);
    let names = (0..8).map(|index| format!("{index}{label}.{label}.{label}.wide.example"));
    let rcodes = rcodes(&gate, names);
    // 184 bytes each before the rule's own labels: five fit 1024.
    assert_eq!(rcodes[..5], ["NOERROR"; 5]);
    assert_eq!(rcodes[5..], ["SERVFAIL"; 3]);
}

#[test]
fn types_of_an_exact_name_use_the_budget_up() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, &ENFORCED.replace("\"*.wide.example\"", "\"one.example\""));
    let client = gate.udp();
    let ask = |qtype: u16| client.ask(&Query::new("one.example", &format!("TYPE{qtype}")).edns()).rcode();
    let rcodes: Vec<String> = (3000..3014).map(ask).collect();
    assert_eq!(rcodes[..10], ["NOERROR"; 10]);
    assert_eq!(rcodes[10..], ["SERVFAIL"; 4]);
    assert_eq!(upstream.count("one.example"), 10);
    for usual in ["A", "AAAA", "HTTPS", "TXT"] {
        assert_eq!(client.ask(&Query::new("one.example", usual).edns()).rcode(), "NOERROR", "{usual}");
    }
}

#[test]
fn followed_names_use_the_budget_of_their_rule_up() {
    let upstream = ScriptedUpstream::start();
    let targets: Vec<String> = (0..14).map(|index| format!("a.example 60 CNAME t{index}.test")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    upstream.on("a.example", Script::reply(Response::answering(&targets)));
    let settings = format!("{ENFORCED}\npolicy.cname = \"follow\"");
    let gate = Gate::start(&upstream, &settings.replace("\"*.wide.example\"", "\"a.example\""));
    gate.send(&Query::new("a.example", "A").edns());
    let rcodes = rcodes(&gate, (0..14).map(|index| format!("t{index}.test")));
    assert_eq!(rcodes[..10], ["NOERROR"; 10]);
    assert_eq!(rcodes[10..], ["SERVFAIL"; 4]);
    assert_eq!(upstream.count("t10.test"), 0);
}

#[test]
fn common_types_of_exact_names_are_not_counted() {
    let upstream = ScriptedUpstream::start();
    let exact: Vec<String> = (0..30).map(|index| format!("\"h{index}.exact.example\"")).collect();
    let gate = Gate::start(
        &upstream,
        &format!("{ENFORCED}\npolicy.deny = []")
            .replace("policy.allow = [", &format!("policy.allow = [{}, ", exact.join(", "))),
    );
    let rcodes = rcodes(&gate, (0..30).map(|index| format!("h{index}.exact.example")));
    assert_eq!(rcodes, ["NOERROR"; 30]);
}

#[test]
fn by_default_it_counts_and_blocks_nothing() {
    let upstream = ScriptedUpstream::start();
    let settings = "policy.allow = [\"*.wide.example\"]\ntunnel_guard = { new_names = 10 }\n";
    let gate = Gate::start(&upstream, settings);
    let rcodes = rcodes(&gate, (0..14).map(|index| format!("n{index}.wide.example")));
    assert_eq!(rcodes, ["NOERROR"; 14]);
    assert_eq!(gate.settled_metrics().sum("namegate_tunnel_guard_exceeded_total", &[]), 4.0);
}

#[test]
fn clients_that_are_only_observed_are_blocked_nothing() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, &format!("{ENFORCED}\npolicy.mode = \"observe\""));
    let rcodes = rcodes(&gate, (0..14).map(|index| format!("n{index}.wide.example")));
    assert_eq!(rcodes, ["NOERROR"; 14]);
    assert_eq!(gate.settled_metrics().sum("namegate_tunnel_guard_exceeded_total", &[]), 4.0);
}
