//! Tests what survives a reload and what must not: counters, answers in flight, followed names, grants.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::admin::token::{TOKEN, write_token};
use crate::support::gate::Reload;
use crate::support::http::Http;
use crate::support::metrics::Metrics;
use crate::support::process::memory;
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream, eventually};

/// All counters, by series; a histogram's parts are counters too.
fn counters(metrics: &Metrics) -> BTreeMap<String, f64> {
    let is_counter =
        |name: &str| ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
    let counters = metrics.samples.iter().filter(|sample| is_counter(&sample.name));
    counters.map(|sample| (format!("{} {:?}", sample.name, sample.labels), sample.value)).collect()
}

/// Sends queries of every counted kind; `round` makes their names new.
fn traffic(gate: &Gate, round: &str) {
    let mut tcp = gate.tcp();
    for number in 0..20 {
        gate.ask(&format!("n{number}-{round}.wide.example"), "A");
        gate.ask(&format!("n{number}-{round}.wide.example"), "A");
        gate.ask(&format!("n{number}-{round}.evil.example"), "A");
        gate.ask("candidate.example", "A");
        gate.ask(&format!("failing-{round}.allowed.example"), "A");
        gate.send(&Query::of_class("ws.allowed.example", "A", "CH"));
        tcp.ask(&Query::new(&format!("t{number}-{round}.allowed.example"), "AAAA"));
    }
    gate.ask("alias.allowed.example", "A");
}

#[test]
fn every_counter_goes_on_over_a_reload() {
    let upstream = ScriptedUpstream::start();
    upstream.by_choice(|query| match query.asked() {
        asked if asked.starts_with("failing") => Script::reply(Response::failing("SERVFAIL")),
        asked => {
            let name = asked.split(' ').next().unwrap_or_default();
            Script::reply(Response::answering(&[&format!("{name} 60 A 192.0.2.1")]))
        }
    });
    let settings = |ttl: u32, candidate: &str| {
        format!(
            "policy.allow = [\".allowed.example\", \"*.wide.example\"]\npolicy.shadow = \"{candidate}\"\n\
             block.ttl = \"{ttl}s\"\n\
             tunnel_guard = {{ mode = \"observe\", new_names = {ttl}, name_bytes = \"1MiB\", window = \"1h\" }}\n\
             rate_limit = {{ responses_per_second = {} }}\ncache.max_bytes = \"{ttl}MiB\"",
            1000 + ttl
        )
    };
    let candidate = "[policy]\nzones = []\nallow = [\"candidate.example\"]\n";
    let files = [("one.toml", candidate), ("two.toml", candidate)];
    let gate = Gate::with_files(&[upstream.address()], &settings(10, "one.toml"), &files);
    let start = counters(&gate.settled_metrics());
    traffic(&gate, "first");
    let first = counters(&gate.settled_metrics());
    // Everything that a reload can replace is replaced.
    gate.write_settings(&settings(11, "two.toml"));
    assert_eq!(gate.reload(), Reload::Success);
    let reloaded = counters(&gate.settled_metrics());
    traffic(&gate, "second");
    let second = counters(&gate.settled_metrics());
    let rise = |from: &BTreeMap<String, f64>, to: &BTreeMap<String, f64>, series: &str| {
        to.get(series).copied().unwrap_or(0.0) - from.get(series).copied().unwrap_or(0.0)
    };
    let rose: Vec<&String> = first.keys().filter(|series| rise(&start, &first, series) > 0.0).collect();
    for wanted in
        ["shadow_differences", "tunnel_guard_exceeded", "cache_hits", "blocked_total", "upstream_queries"]
    {
        assert!(rose.iter().any(|series| series.contains(wanted)), "{wanted} is not tested: {rose:#?}");
    }
    for series in rose {
        assert!(rise(&first, &reloaded, series) >= 0.0, "{series} falls with a reload");
        // Durations and their buckets vary.
        if ["_total ", "_count "].iter().any(|kind| series.contains(kind)) && !series.contains("process_") {
            let (once, again) = (rise(&start, &first, series), rise(&reloaded, &second, series));
            assert!(again > 0.0, "{series} rose by {once} before the reload, and by {again} after it");
            // The tunnel guard's budget, and names seen before, stay as they were.
            if series.contains("shadow_differences") || series.contains("blocked_total") {
                assert!((again - once).abs() < 1.5, "{series} rose by {once} and by {again}");
            }
        }
    }
}

#[test]
fn answer_from_two_reloads_ago_is_not_used() {
    let [usual, slow, second, third] = [0; 4].map(|_| ScriptedUpstream::start());
    let answer = |ip: &str| Response::answering(&[&format!("a.corp.allowed.example 300 A {ip}")]);
    slow.on("a.corp.allowed.example", Script::late(Duration::from_millis(900), answer("192.0.2.1")));
    second.by_default(Script::reply(answer("192.0.2.2")));
    third.by_default(Script::reply(answer("192.0.2.3")));
    let route = |upstream: &ScriptedUpstream| {
        format!("[[route]]\nnames = [\".corp.allowed.example\"]\nservers = [\"{}\"]\n", upstream.address())
    };
    let gate = Gate::start(&usual, &route(&slow));
    let query = Query::new("a.corp.allowed.example", "A");
    let early = gate.udp();
    early.send(&query.bytes());
    slow.wait_for("a.corp.allowed.example", 1);
    for upstream in [&second, &third] {
        gate.write_settings(&route(upstream));
        assert_eq!(gate.reload(), Reload::Success);
    }
    let late = gate.udp();
    late.send(&query.bytes());
    let (early, late) = (Message::expect(&early.receive()), Message::expect(&late.receive()));
    assert_ne!(early.answer_data(), ["192.0.2.1"], "the first list's answer no longer applies");
    assert_eq!(late.answer_data(), ["192.0.2.3"]);
    sleep(Duration::from_millis(1000));
    assert_eq!(gate.send(&query).answer_data(), ["192.0.2.3"], "and is not cached");
    assert_eq!((slow.count("a.corp.allowed.example"), second.count("a.corp.allowed.example")), (1, 0));
}

#[test]
fn names_two_aliases_away_stay_allowed() {
    let upstream = ScriptedUpstream::start();
    let on = |name: &str, record: &str| upstream.on(name, Script::reply(Response::answering(&[record])));
    on("a.allowed.example", "a.allowed.example 300 CNAME b.elsewhere.test");
    on("b.elsewhere.test", "b.elsewhere.test 300 CNAME c.beyond.test");
    on("c.beyond.test", "c.beyond.test 300 A 192.0.2.1");
    let settings = "policy.cname = \"follow\"\nblock.ttl = ";
    let gate = Gate::start(&upstream, &format!("{settings}\"5s\""));
    for name in ["a.allowed.example", "b.elsewhere.test", "c.beyond.test"] {
        assert_eq!(gate.ask(name, "A").rcode(), "NOERROR", "{name}");
    }
    for round in 6..8 {
        gate.write_settings(&format!("{settings}\"{round}s\""));
        assert_eq!(gate.reload(), Reload::Success);
        for name in ["b.elsewhere.test", "c.beyond.test"] {
            assert_eq!(gate.ask(name, "TXT").rcode(), "NOERROR", "{name} after reload {}", round - 5);
        }
    }
}

/// A revocation during a slow reload takes effect at once.
#[test]
fn a_revocation_does_not_wait_for_a_reload() {
    const RULES: usize = 400_000;
    let upstream = ScriptedUpstream::start();
    let directory = tempfile::TempDir::new().expect("a directory");
    let token = directory.path().join("token");
    write_token(&token, TOKEN, 0o600);
    let settings = format!("admin.token_file = \"{}\"\n", token.display());
    let files = [("many.list", "one.example\n")];
    let with_list = format!("{settings}policy.zones = [\"many.list\"]\n");
    let gate = Gate::with_files(&[upstream.address()], &with_list, &files);
    let http = || Http::to(gate.admin()).token(TOKEN);
    let body = "{\"name\": \"wanted.example\", \"for\": \"1h\", \"reason\": \"a test\"}";
    assert_eq!(http().json("POST", "/api/v1/allowed", body).status, 201);
    let mut list = String::new();
    for number in 0..RULES {
        let _ = writeln!(list, "h{number}.many.example");
    }
    gate.write_file("many.list", &list);
    let reloads = || gate.metrics().sum("namegate_policy_reloads_total", &[("result", "success")]);
    let ordered = Instant::now();
    gate.signal("HUP");
    // The thread has started when it reads; a moment later it is still running.
    sleep(Duration::from_millis(20));
    let asked = Instant::now();
    assert_eq!(http().send("DELETE", "/api/v1/allowed/wanted.example", "").status, 204);
    let revoked_after = asked.elapsed();
    let during = reloads();
    assert_eq!(gate.ask("wanted.example", "A").rcode(), "NXDOMAIN");
    eventually("the reload", || (reloads() == 1.0).then_some(()));
    let reloaded_after = ordered.elapsed();
    eprintln!("revoked after {revoked_after:?}, reloaded after {reloaded_after:?}");
    assert_eq!(during, 0.0, "the reload ended first: the revocation took {revoked_after:?}");
    assert!(revoked_after * 3 < reloaded_after, "{revoked_after:?} of {reloaded_after:?}");
    assert_eq!(gate.ask("wanted.example", "A").rcode(), "NXDOMAIN", "the reload does not bring it back");
    assert_eq!(gate.ask("h7.many.example", "A").rcode(), "NOERROR");
}

/// Groups with their own allowlists, whose names go to their own servers.
#[test]
fn zones_with_servers_cost_no_more_with_many_groups() {
    const GROUPS: usize = 60;
    const RULES: usize = 1000;
    let upstream = ScriptedUpstream::start();
    let resident = |servers: bool| {
        let zones: Vec<(String, String)> = (0..GROUPS)
            .map(|group| {
                let mut zone = match servers {
                    true => format!("servers = [\"{}\"]\n", upstream.address()),
                    false => String::new(),
                };
                for rule in 0..RULES {
                    let _ = write!(zone, "[[allow]]\nhost = \"h{rule}.g{group}.example\"\n");
                }
                (format!("z{group}.toml"), zone)
            })
            .collect();
        let files: Vec<(&str, &str)> = zones.iter().map(|(path, zone)| (&**path, &**zone)).collect();
        let mut settings = String::new();
        for group in 0..GROUPS {
            let _ = write!(
                settings,
                "[[client]]\nname = \"g{group}\"\nsubnets = [\"127.0.{group}.0/24\"]\nzones = [\"z{group}.toml\"]\n"
            );
        }
        memory(&Gate::with_files(&[upstream.address()], &settings, &files))
    };
    let (without, with) = (resident(false), resident(true));
    eprintln!("{} KiB without servers, {} KiB with", without / 1024, with / 1024);
    assert!(with < without * 2, "{with} bytes with servers, {without} without");
}

/// Operators compare the hash to see whether two instances answer the same.
#[test]
fn whatever_changes_an_answer_changes_the_policy_hash() {
    let upstream = ScriptedUpstream::start();
    let zone = |head: &str| format!("{head}[[allow]]\nhost = \"*.own.example\"\n");
    let local = |address: &str| {
        format!(
            "$ORIGIN corp.example.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 30\n@ NS ns\nns A 10.0.0.2\nwww A {address}\n"
        )
    };
    let settings =
        "policy.zones = [\"own.toml\"]\n[[local]]\norigin = \"corp.example\"\nfile = \"corp.zone\"\n";
    let files = [("own.toml", &*zone("")), ("moved.toml", &*zone("")), ("corp.zone", &*local("10.0.0.80"))];
    let gate = Gate::with_files(&[upstream.address()], settings, &files);
    let hash = || {
        let metrics = gate.metrics();
        let info = metrics.samples.iter().find(|sample| sample.name == "namegate_policy_info");
        info.expect("a policy").labels["hash"].clone()
    };
    let first = hash();
    let mut seen = vec![first.clone()];
    let server = "10.0.0.4";
    for (case, change, file, content) in [
        (
            "the servers of a zone",
            settings.to_owned(),
            "own.toml",
            zone(&format!("servers = [\"{server}\"]\n")),
        ),
        ("the aliases of a zone", settings.to_owned(), "own.toml", zone("cname = \"inspect\"\n")),
        ("the zone of a rule", settings.replace("own.toml", "moved.toml"), "own.toml", zone("")),
        ("a record of a local zone", settings.to_owned(), "corp.zone", local("10.0.0.81")),
        (
            "how blocked names are answered",
            format!("block.answer = \"nodata\"\n{settings}"),
            "own.toml",
            zone(""),
        ),
        ("for how long", format!("block.ttl = \"7s\"\n{settings}"), "own.toml", zone("")),
        (
            "where names go",
            format!("{settings}[[route]]\nnames = [\".own.example\"]\nservers = [\"{server}\"]\n"),
            "own.toml",
            zone(""),
        ),
    ] {
        gate.write_file(file, &content);
        gate.write_settings(&change);
        assert_eq!(gate.reload(), Reload::Success, "{case}");
        let changed = hash();
        assert!(!seen.contains(&changed), "{case} changes the hash");
        seen.push(changed);
        gate.write_file("own.toml", &zone(""));
        gate.write_file("corp.zone", &local("10.0.0.80"));
        gate.write_settings(&format!("log.level = \"warn\"\n{settings}"));
        assert_eq!(gate.reload(), Reload::Success);
        assert_eq!(hash(), first, "{case} back, and another level of the log");
    }
}
