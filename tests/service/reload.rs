//! Tests reloads: all settings change at once or none, and nothing is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Duration;

use crate::support::gate::Reload;
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream};

const BOTH: &str = "policy.allow = [\".allowed.example\", \".more.example\"]";
const ONE: &str = "policy.allow = [\".allowed.example\"]";

#[test]
fn rules_are_added_and_removed() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, ONE);
    assert_eq!(gate.ask("ws.more.example", "A").rcode(), "NXDOMAIN");
    gate.write_settings(BOTH);
    assert_eq!(gate.ask("ws.more.example", "A").rcode(), "NXDOMAIN", "not before the reload");
    assert_eq!(gate.reload(), Reload::Success);
    gate.stderr.expect("reloaded");
    assert_eq!(gate.ask("ws.more.example", "A").rcode(), "NOERROR");
    gate.write_settings(ONE);
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("ws.more.example", "A").rcode(), "NXDOMAIN", "cached or not, it is blocked again");
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR");
    assert_eq!(upstream.asked(), ["ws.more.example A", "ws.allowed.example A"]);
}

#[test]
fn a_name_allowed_again_is_asked_again() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, BOTH);
    gate.ask("ws.more.example", "A");
    for settings in [ONE, BOTH] {
        gate.write_settings(settings);
        assert_eq!(gate.reload(), Reload::Success);
    }
    assert_eq!(gate.ask("ws.more.example", "A").rcode(), "NOERROR");
    assert_eq!(upstream.count("ws.more.example"), 2, "the cache is emptied of what a stricter policy blocks");
}

#[test]
fn what_stays_allowed_stays_kept() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, BOTH);
    gate.ask("ws.allowed.example", "A");
    gate.write_settings(ONE);
    assert_eq!(gate.reload(), Reload::Success);
    gate.ask("ws.allowed.example", "A");
    assert_eq!(upstream.count("ws.allowed.example"), 1);
}

#[test]
fn a_zone_file_is_read_again() {
    let upstream = ScriptedUpstream::start();
    let zone = |host: &str| {
        format!(
            "title = \"T\"\nsource = \"S\"\nrevised = 2026-01-01\n[[allow]]\nhost = \"{host}\"\npurpose = \"P\"\n"
        )
    };
    let settings = "policy.zones = [\"own\"]\npolicy.zones_directory = \"{dir}/zones\"";
    let gate = Gate::with_files(&[upstream.address()], settings, &[("zones/own.toml", &zone("a.example"))]);
    assert_eq!(gate.ask("b.example", "A").rcode(), "NXDOMAIN");
    gate.write_file("zones/own.toml", &zone("b.example"));
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("a.example", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.ask("b.example", "A").rcode(), "NOERROR");
    assert_eq!(upstream.asked(), ["b.example A"]);
}

#[test]
fn a_bad_rule_keeps_the_old_rules_and_is_named() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, ONE);
    let before = gate.metrics();
    let bad = std::fs::read_to_string(gate.settings_path()).expect("settings");
    gate.write_file("namegate.toml", &bad.replace("\".allowed.example\"", "\"*bad.example\""));
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("reload failed");
    let line = bad.lines().position(|line| line.contains(".allowed.example")).expect("the rule's line") + 1;
    gate.stderr.expect(&format!("namegate.toml:{line}:"));
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR");
    assert_eq!(gate.ask("x.bad.example", "A").rcode(), "NXDOMAIN");
    let after = gate.metrics();
    assert_eq!(after.sum("namegate_policy_last_reload_success", &[]), 0.0);
    assert_eq!(after.sum("namegate_policy_reloads_total", &[("result", "failure")]), 1.0);
    let loaded_at = "namegate_policy_last_reload_timestamp_seconds";
    assert_eq!(before.sum(loaded_at, &[]), after.sum(loaded_at, &[]));
    gate.write_file("namegate.toml", &bad);
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.metrics().sum("namegate_policy_last_reload_success", &[]), 1.0);
}

#[test]
fn settings_that_are_gone_or_no_toml_keep_the_old_ones() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, ONE);
    gate.write_file("namegate.toml", "[policy\n");
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("namegate.toml:1:");
    std::fs::remove_file(gate.settings_path()).expect("the settings can be removed");
    assert_eq!(gate.reload(), Reload::Failure);
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR");
}

#[test]
fn other_settings_are_reloaded_too() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "block.ttl = \"30s\"");
    gate.write_settings(
        "block.ttl = \"5s\"\nserver.allow_clients = [\"127.0.0.1\"]\npolicy.mode = \"observe\"",
    );
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NOERROR");
    let stranger = gate.udp_from([127, 0, 0, 2]);
    assert_eq!(stranger.ask(&Query::new("ws.allowed.example", "A")).rcode(), "REFUSED");
    gate.write_settings("block.ttl = \"5s\"");
    assert_eq!(gate.reload(), Reload::Success);
    let reply = gate.ask("evil.example", "A");
    assert_eq!((reply.rcode().as_str(), reply.authorities[0].ttl), ("NXDOMAIN", 5));
}

#[test]
fn an_answer_in_flight_for_a_removed_name_stays_here() {
    let upstream = ScriptedUpstream::start();
    let answer = Response::answering(&["ws.more.example 60 A 192.0.2.9"]);
    upstream.on("ws.more.example", Script::late(Duration::from_millis(800), answer));
    let gate = Gate::start(&upstream, BOTH);
    let (udp, mut tcp) = (gate.udp(), gate.tcp());
    let query = Query::new("ws.more.example", "A").edns();
    udp.send(&query.bytes());
    tcp.send(&query.bytes());
    upstream.wait_for("ws.more.example", 1);
    gate.write_settings(ONE);
    assert_eq!(gate.reload(), Reload::Success);
    for reply in [udp.receive(), tcp.receive()] {
        let reply = Message::expect(&reply);
        assert_eq!((reply.rcode().as_str(), reply.answers.len()), ("NXDOMAIN", 0));
        assert_eq!(reply.ede_codes(), [15]);
    }
}

#[test]
fn an_answer_in_flight_for_a_removed_name_is_not_kept() {
    let upstream = ScriptedUpstream::start();
    let answer = Response::answering(&["ws.more.example 60 A 192.0.2.9"]);
    upstream.on("ws.more.example", Script::late(Duration::from_millis(500), answer));
    let gate = Gate::start(&upstream, BOTH);
    let client = gate.udp();
    client.send(&Query::new("ws.more.example", "A").bytes());
    upstream.wait_for("ws.more.example", 1);
    gate.write_settings(ONE);
    assert_eq!(gate.reload(), Reload::Success);
    client.receive();
    assert_eq!(gate.settled_metrics().sum("namegate_cache_entries", &[]), 0.0);
}

#[test]
fn reloads_under_load_lose_nothing_and_leak_nothing() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, BOTH);
    let (gate, done) = (&gate, &AtomicBool::new(false));
    let asked = scope(|scope| {
        let clients = [0, 1, 2].map(|client| {
            scope.spawn(move || {
                let (udp, mut tcp, mut asked) = (gate.udp(), gate.tcp(), 0);
                while !done.load(Ordering::Relaxed) {
                    let blocked = Query::new(&format!("n{asked}.evil.example"), "A").edns();
                    assert_eq!(udp.ask(&blocked).ede_codes(), [15]);
                    let kept = Query::new(&format!("c{client}.allowed.example"), "A");
                    assert_eq!(udp.ask(&kept).answer_data(), ["192.0.2.1"]);
                    let changing = Query::new(&format!("n{}.more.example", asked % 7), "A");
                    let rcode = tcp.ask(&changing).rcode();
                    assert!(matches!(rcode.as_str(), "NOERROR" | "NXDOMAIN"), "{rcode}");
                    asked += 3;
                }
                asked
            })
        });
        for round in 0..20 {
            gate.write_settings([ONE, BOTH][round % 2]);
            assert_eq!(gate.reload(), Reload::Success);
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client without lost queries")).sum::<u64>()
    });
    assert!(asked > 100, "{asked} queries are too few");
    assert!(upstream.asked().iter().all(|query| !query.contains("evil")), "{:?}", upstream.asked());
    let (queries, outcomes) = gate.settled_metrics().accounting();
    assert_eq!((queries, outcomes), (asked as f64, asked as f64));
}

#[test]
fn a_removed_rule_never_answers_after_the_reload() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, BOTH);
    let client = gate.udp();
    for round in 0..10 {
        let query = Query::new(&format!("n{}.more.example", round % 2), "A");
        assert_eq!(client.ask(&query).rcode(), "NOERROR");
        gate.write_settings(ONE);
        assert_eq!(gate.reload(), Reload::Success);
        let before = upstream.queries().len();
        for _ in 0..20 {
            assert_eq!(client.ask(&query).rcode(), "NXDOMAIN");
        }
        assert_eq!(upstream.queries().len(), before);
        gate.write_settings(BOTH);
        assert_eq!(gate.reload(), Reload::Success);
    }
}
