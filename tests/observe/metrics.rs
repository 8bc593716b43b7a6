//! Tests the metrics page and the health pages.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use namegate::observe::metric::{LabelValues, METRICS, Metric, markdown};
use namegate::util::label::Label;

use crate::support::code::QR;
use crate::support::metrics::Sample;
use crate::support::{Gate, Query, Response, Script, ScriptedUpstream, eventually};

/// Sends one query of every kind: allowed, cached, blocked, refused, malformed, ignored, failed, over both transports.
fn mixed_run(gate: &Gate) -> u64 {
    let (udp, mut tcp) = (gate.udp(), gate.tcp());
    let mut sent = 0;
    for _ in 0..2 {
        for name in ["ws.allowed.example", "evil.example", "broken.allowed.example"] {
            udp.ask(&Query::new(name, "A").edns());
            tcp.ask(&Query::new(name, "AAAA"));
            sent += 2;
        }
    }
    for query in [
        Query::new("ws.allowed.example", "ANY"),
        Query::new("ws.allowed.example", "AXFR"),
        Query::of_class("ws.allowed.example", "A", "CH"),
        Query::new("ws.allowed.example", "TYPE4711"),
        Query { opcode: 5, ..Query::new("ws.allowed.example", "A") },
        Query { tail: vec![1], ..Query::new("ws.allowed.example", "A") },
        Query::new("cold.allowed.example", "A").flags(0),
    ] {
        udp.ask(&query);
        tcp.ask(&query);
        sent += 2;
    }
    assert!(udp.is_ignored(&[0; 5]));
    assert!(udp.is_ignored(&Query::new("ws.allowed.example", "A").flags(QR).bytes()));
    sent + 4
}

fn mixed_gate() -> (ScriptedUpstream, Gate) {
    let upstream = ScriptedUpstream::start();
    upstream.on("broken.allowed.example", Script::reply(Response::failing("SERVFAIL")));
    let gate = Gate::start(&upstream, "upstream.deadline = \"1s\"");
    (upstream, gate)
}

#[test]
fn metrics_page_has_exactly_the_documented_metrics() {
    let upstream = ScriptedUpstream::start();
    upstream.on("broken.allowed.example", Script::reply(Response::failing("SERVFAIL")));
    let gate = Gate::start(
        &upstream,
        "upstream.deadline = \"1s\"\ndnstap.socket = \"{dir}/nobody.sock\"\nprove.interval = \"1h\"",
    );
    mixed_run(&gate);
    gate.expect_metrics("the canaries", |metrics| metrics.has("namegate_canary_ok"));
    gate.expect_metrics("the most blocked names", |metrics| metrics.has("namegate_top_blocked_queries"));
    let metrics = gate.settled_metrics();
    let heads = metrics.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut found: Vec<(&str, &str)> = heads.filter(|(name, _)| name.starts_with("namegate_")).collect();
    let mut documented: Vec<(&str, &str)> =
        METRICS.iter().map(|metric| (metric.name, metric.kind.label())).collect();
    found.sort_unstable();
    documented.sort_unstable();
    assert_eq!(found, documented);
    for Metric { name, labels, help, .. } in METRICS {
        assert!(metrics.text.contains(&format!("# HELP {name} {help}\n")), "{name} has another help text");
        let values = *labels;
        let labels: BTreeSet<&str> = labels.iter().map(|(label, _)| *label).collect();
        let family = |sample: &&Sample| {
            ["", "_bucket", "_sum", "_count"].iter().any(|end| sample.name.strip_suffix(end) == Some(name))
        };
        let samples: Vec<&Sample> = metrics.samples.iter().filter(family).collect();
        assert!(!samples.is_empty(), "{name} has no sample");
        for sample in samples {
            let found: BTreeSet<&str> =
                sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
            assert_eq!(found, labels, "labels of {name}");
            for (label, values) in values {
                let LabelValues::Of(values) = values else { continue };
                assert!(
                    values.contains(&&*sample.labels[*label]),
                    "{label} of {name}: {}",
                    sample.labels[*label]
                );
            }
        }
    }
    assert!(metrics.has("process_resident_memory_bytes"), "{}", metrics.text);
}

/// `UPDATE_DOCS=1 cargo test documented` rewrites the list.
#[test]
fn the_documented_list_is_the_one_in_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(&path).expect("docs/metrics.md");
    let (head, rest) = text.split_once("<!-- list -->\n").expect("the mark before the list");
    let (list, tail) = rest.split_once("<!-- end of list -->\n").expect("the mark after the list");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{head}<!-- list -->\n{}<!-- end of list -->\n{tail}", markdown());
        std::fs::write(path, text).expect("docs/metrics.md can be written");
    } else {
        assert_eq!(list, markdown());
    }
}

#[test]
fn search_suffix_noise_is_counted_apart() {
    let upstream = ScriptedUpstream::start();
    let rules = "policy.deny = [\".evil.internal\"]";
    let gate = Gate::start(&upstream, rules);
    let client = gate.udp();
    for _ in 0..3 {
        for name in ["wpad", "ml.azure.com.reddog.microsoft.com", "printer.local"] {
            assert_eq!(client.ask(&Query::new(name, "A").edns()).rcode(), "NXDOMAIN", "{name}");
        }
        client.ask(&Query::new("meant.example", "A"));
        client.ask(&Query::new("denied.evil.internal", "A"));
    }
    let metrics =
        gate.expect_metrics("all lookups", |metrics| metrics.sum("namegate_blocked_total", &[]) == 15.0);
    for (reason, count) in [("noise", 9.0), ("not_listed", 3.0), ("denied", 3.0)] {
        assert_eq!(metrics.sum("namegate_blocked_total", &[("reason", reason)]), count, "{reason}");
    }
    let metrics = gate.expect_metrics("the most blocked names", |metrics| {
        metrics.sum("namegate_top_blocked_queries", &[]) == 6.0
    });
    for (name, count) in [("meant.example", 3.0), ("denied.evil.internal", 3.0)] {
        assert_eq!(metrics.sum("namegate_top_blocked_queries", &[("name", name)]), count, "{name}");
    }
    assert_eq!(metrics.sum("namegate_top_blocked_clients", &[("client", "127.0.0.1")]), 6.0);
    assert!(upstream.queries().is_empty());
    let quiet = Gate::start(&upstream, "block = { noise = [], noise_single_labels = false }\nadmin.top = 0");
    quiet.ask("wpad", "A");
    let metrics =
        quiet.expect_metrics("the lookup", |metrics| metrics.sum("namegate_blocked_total", &[]) == 1.0);
    assert_eq!(metrics.sum("namegate_blocked_total", &[("reason", "not_listed")]), 1.0);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!quiet.metrics().has("namegate_top_blocked_queries"));
}

#[test]
fn a_flood_of_random_names_makes_no_series() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    // Fewer than are recorded individually in a tenth of a second.
    for number in 0..400 {
        client.ask(&Query::new(&format!("r{number}.evil.example"), "A"));
        if number % 20 == 0 {
            client.ask(&Query::new("often.evil.example", "A"));
        }
    }
    let metrics = gate.expect_metrics("the frequent name", |metrics| {
        metrics.sum("namegate_top_blocked_queries", &[("name", "often.evil.example")]) == 20.0
    });
    let names = metrics.samples.iter().filter(|sample| sample.name == "namegate_top_blocked_queries");
    assert_eq!(names.count(), 1);
    let (_, page) = gate.get("/api/v1/top");
    let top: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    assert_eq!(top["names"].as_array().expect("names").len(), 20);
    assert_eq!(top["names"][0], serde_json::json!({ "key": "often.evil.example", "count": 20 }));
}

#[test]
fn clients_with_ever_new_names_make_few_series_over_time() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    let (mut series, mut lookups) = (BTreeSet::new(), 0);
    for scrape in 0..20 {
        // At most as many in a tenth of a second as are recorded individually.
        std::thread::sleep(Duration::from_millis(110));
        // Each round queries new names more often than all earlier ones.
        for number in 0..20 {
            for _ in 0..=scrape {
                lookups += 1;
                client.ask(&Query::new(&format!("n{scrape}-{number}.evil.example"), "A"));
            }
        }
        eventually("lookups on the page", || {
            let recent: serde_json::Value = serde_json::from_str(&gate.get("/api/v1/recent").1).ok()?;
            (recent["next"] == lookups).then_some(())
        });
        let metrics = gate.metrics();
        let names = metrics.samples.iter().filter(|sample| sample.name == "namegate_top_blocked_queries");
        series.extend(names.map(|sample| sample.labels["name"].clone()));
    }
    eprintln!("{lookups} lookups of 400 names made {} series in 20 scrapes", series.len());
    assert!(series.len() <= 40, "{series:?}");
    // The page shows the current top names.
    let top: serde_json::Value = serde_json::from_str(&gate.get("/api/v1/top").1).expect("JSON");
    let first = top["names"][0]["key"].as_str().expect("a name");
    assert!(first.starts_with("n19-"), "{top}");
}

#[test]
fn every_metric_follows_the_conventions() {
    let (_upstream, gate) = mixed_gate();
    mixed_run(&gate);
    let metrics = gate.settled_metrics();
    let types: Vec<(&str, &str)> = metrics
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .filter(|(name, _)| name.starts_with("namegate_"))
        .collect();
    assert!(types.len() > 20, "{types:?}");
    for (name, kind) in &types {
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
        assert!(metrics.text.contains(&format!("# HELP {name} ")), "{name} has no help text");
        assert!(
            !["_ms", "_milliseconds", "_kb", "_percent"].iter().any(|unit| name.contains(unit)),
            "{name}"
        );
    }
    let series = metrics.samples.len();
    assert_eq!(metrics.series().len(), series, "duplicate series");
}

#[test]
fn every_query_has_one_outcome() {
    let (_upstream, gate) = mixed_gate();
    let sent = mixed_run(&gate) as f64;
    let metrics = gate.expect_metrics("all outcomes", |metrics| metrics.accounting() == (sent, sent));
    assert_eq!(metrics.sum("namegate_queries_in_flight", &[]), 0.0);
    let count = |decision| metrics.sum("namegate_responses_total", &[("decision", decision)]);
    // evil.example twice over each transport, and the queries that prove silence.
    assert_eq!(count("blocked"), 6.0);
    assert_eq!(metrics.sum("namegate_blocked_total", &[("reason", "not_listed")]), 6.0);
    assert_eq!(count("refused"), 6.0, "AXFR, class CH and the cold name without RD, over each transport");
    assert_eq!(count("error"), 4.0, "opcode and trailing byte, over each transport");
    let durations = metrics.sum("namegate_request_duration_seconds_count", &[]);
    assert_eq!(durations, metrics.sum("namegate_responses_total", &[]));
    let other = metrics.sum("namegate_queries_total", &[("type", "other")]);
    assert_eq!(
        other, 10.0,
        "AXFR, TYPE4711, opcode and trailing byte over each transport, and the ignored messages"
    );
}

#[test]
fn queries_under_way_are_in_flight() {
    let upstream = ScriptedUpstream::start();
    let answer = Response::answering(&["slow.allowed.example 60 A 192.0.2.9"]);
    upstream.on("slow.allowed.example", Script::late(Duration::from_millis(700), answer));
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    client.send(&Query::new("slow.allowed.example", "A").bytes());
    upstream.wait_for("slow.allowed.example", 1);
    let metrics = gate.metrics();
    assert_eq!(metrics.sum("namegate_queries_in_flight", &[]), 1.0);
    assert_eq!(metrics.accounting(), (1.0, 1.0));
    let upstream_label = upstream.address().to_string();
    assert_eq!(metrics.sum("namegate_upstream_in_flight", &[("upstream", &upstream_label)]), 1.0);
    client.receive();
    gate.expect_metrics("nothing in flight", |metrics| {
        metrics.sum("namegate_queries_in_flight", &[]) == 0.0 && metrics.accounting() == (1.0, 1.0)
    });
}

#[test]
fn clients_make_no_series() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    let ask_all = |round: usize| {
        for number in 0..60_u16 {
            client.ask(&Query::new(
                &format!("r{round}n{number}.evil.example"),
                &format!("TYPE{}", 60_000 + number),
            ));
            client.ask(&Query::new(
                &format!("r{round}n{number}.allowed.example"),
                &format!("TYPE{}", 61_000 + number),
            ));
            client.ask(&Query::of_class("x.example", "A", &format!("CLASS{}", 100 + number)));
        }
    };
    let series = || {
        let all = gate.settled_metrics().series();
        all.into_iter().filter(|series| !series.starts_with("namegate_top_blocked")).collect::<Vec<_>>()
    };
    ask_all(0);
    let before = series();
    ask_all(1);
    assert_eq!(series(), before);
}

#[test]
fn hostile_names_do_not_break_the_page() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    let hostile = [
        r#"a\"} 1.evil.example"#.replace(' ', r"\032"),
        r"line\010feed.evil.example".to_owned(),
        r"back\\slash\\n.evil.example".to_owned(),
        r"\226\128\174.\000.\255.evil.example".to_owned(),
        "<script>.evil.example".to_owned(),
    ];
    for name in &hostile {
        for _ in 0..200 {
            client.ask(&Query::new(name, "A"));
        }
    }
    gate.expect_metrics("the most blocked names", |metrics| metrics.has("namegate_top_blocked_queries"));
    let metrics = gate.metrics();
    for sample in metrics.samples.iter().filter(|sample| sample.name == "namegate_top_blocked_queries") {
        let name = &sample.labels["name"];
        assert!(name.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{name:?}");
    }
}

#[test]
fn health_pages_tell_life_from_readiness() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    assert_eq!(gate.get("/healthz").0, 200);
    eventually("readiness", || (gate.get("/readyz").0 == 200).then_some(()));
    let dead = ScriptedUpstream::start();
    dead.ignore_probes();
    dead.by_default(Script::silent());
    let gate = Gate::start(&dead, "upstream.deadline = \"1s\"");
    let (status, reason) = gate.get("/readyz");
    assert_eq!(status, 503);
    assert!(reason.contains(&dead.address().to_string()), "{reason}");
    // A load balancer that removed every instance would also take away blocked and cached replies.
    for path in ["/healthz", "/livez"] {
        assert_eq!(gate.get(path), (200, "ok\n".to_owned()), "{path}");
    }
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
}

/// The selectors in a rule file's expressions: metric name and labels as written.
fn selectors(rules: &str) -> Vec<(String, Vec<(String, String)>)> {
    let lines = rules.lines().filter(|line| !line.trim_start().starts_with(['#', '-']));
    let text: String = lines.filter(|line| !line.contains("summary:")).collect::<Vec<_>>().join("\n");
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let starts = text.match_indices("namegate_").filter(|(at, _)| !text[..*at].ends_with(is_word));
    let selector = |(at, _): (usize, &str)| {
        let end = text[at..].find(|c| !is_word(c)).unwrap_or(0);
        let labels = text[at + end..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let labels = labels.map_or("", |(labels, _)| labels).split("\",");
        let labels = labels.filter_map(|label| label.split_once('=')).filter(|(key, _)| !key.ends_with('!'));
        let labels = labels.map(|(key, value)| (key.to_owned(), value.trim_matches(['~', '"']).to_owned()));
        (text[at..at + end].to_owned(), labels.collect())
    };
    starts.map(selector).collect()
}

#[test]
fn series_that_alerts_use_exist_from_the_start() {
    let upstream = ScriptedUpstream::start();
    let metrics = Gate::start(&upstream, "").metrics();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus");
    let mut seen = 0;
    for file in ["rules.yml", "alerts.yml"] {
        let rules = std::fs::read_to_string(directory.join(file)).expect("a rule file");
        for (name, labels) in selectors(&rules) {
            // Gauges describe what exists now; dnstap and canaries must be configured first.
            let is_counter = ["_total", "_bucket"].iter().any(|end| name.ends_with(end));
            if !is_counter || ["dnstap", "canary"].iter().any(|part| name.contains(part)) {
                continue;
            }
            seen += 1;
            let is_wanted = |sample: &&Sample| {
                sample.name == name
                    && labels.iter().all(|(key, value)| {
                        let have = sample.labels.get(key);
                        have.is_some_and(|have| value.split('|').any(|value| value == have))
                    })
            };
            let found = metrics.samples.iter().filter(is_wanted).count();
            let wanted: usize = labels.iter().map(|(_, value)| value.split('|').count()).product();
            assert!(
                found >= wanted,
                "{file}: {name}{labels:?} has {found} series of {wanted} before any query"
            );
        }
    }
    assert!(seen > 10, "{seen} selectors");
}

#[test]
fn other_pages_do_not_exist() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for path in ["/nothing", "/metrics/", "/../etc/passwd", "/api/v1/nothing"] {
        assert_eq!(gate.get(path).0, 404, "{path}");
    }
}
