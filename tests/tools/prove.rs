//! Tests `namegate prove` and canaries: a correct policy passes, and a leak is found.

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use crate::admin::token::{TOKEN, gate_with_token, write_token};
use crate::support::command::{Finished, namegate};
use crate::support::gate::Reload;
use crate::support::http::Http;
use crate::support::{Gate, Query, Record, Response, Script, ScriptedUpstream, UdpClient, eventually};

const CANARIES: &str =
    "prove.must_resolve = [\"www.allowed.example\"]\nprove.must_not_resolve = [\"canary.test\"]\n";

fn gate(upstream: &ScriptedUpstream, settings: &str) -> Gate {
    Gate::start(upstream, &format!("{CANARIES}{settings}"))
}

/// Runs `prove` with namegate's settings file.
fn prove(gate: &Gate, arguments: &[&str]) -> Finished {
    prove_at(gate, gate.address(), gate.admin(), arguments)
}

fn prove_at(gate: &Gate, server: SocketAddr, admin: SocketAddr, arguments: &[&str]) -> Finished {
    let (server, admin) = (server.to_string(), admin.to_string());
    let own = ["prove", "--config", "namegate.toml", "--server", &server, "--admin", &admin];
    namegate(gate.directory(), &[&own, arguments].concat())
}

fn report(run: &Finished) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error} in {}", run.stdout))
}

/// Sums the rows of a report: passed replies, and queries.
fn sums(report: &Value) -> (u64, u64) {
    let rows = report["rows"].as_array().expect("rows");
    let sum = |key: &str| -> u64 {
        rows.iter()
            .flat_map(|row| ["udp", "tcp"].map(|transport| row[transport][key].as_u64().expect("a count")))
            .sum()
    };
    (sum("proven"), sum("asked"))
}

#[test]
fn a_gate_that_holds_is_proven_and_nothing_reaches_the_upstream() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "");
    let run = prove(&gate, &["--json"]).expect_code(0);
    let report = report(&run);
    assert_eq!((&report["proven"], &report["failures"]), (&true.into(), &Value::Array(Vec::new())));
    let (proven, asked) = sums(&report);
    assert_eq!((proven, report["asked"].as_u64()), (asked, Some(asked)));
    assert!(asked > 300, "{asked}");
    let hash = report["gate"]["policy"].as_str().expect("a hash");
    assert!(gate.metrics().text.contains(&format!("hash=\"{hash}\"")), "{hash}");
    assert_eq!(report["gate"]["mode"], "enforce");
    assert_eq!(report["gate"]["servers"][0], gate.address().to_string());
    for time in ["started", "ended"] {
        let time = report[time].as_str().expect("a time");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
    let asked: Vec<String> = upstream.asked();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked == "www.allowed.example A"), "{asked:?}");
    gate.expect_clean_log();
}

#[test]
fn people_get_a_page_and_auditors_a_file() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "");
    let text = prove(&gate, &[]).expect_code(0).stdout;
    assert!(text.starts_with("namegate prove: PASSED\n"), "{text}");
    for part in [
        "\n  policy    ",
        "\nmust resolve ",
        "\n  www.allowed.example        address                      3/3         3/3\n",
        "\nmust not resolve ",
        "\n  canary.test                types                    140/140     140/140\n",
        " zone transfers ",
        " malformed messages ",
        "\n  look-alike names ",
        " dot inside a label ",
        ", 0 failures\n",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let run = prove(&gate, &["--output", "report.txt"]).expect_code(0);
    assert!(run.stdout.starts_with("passed: ") && run.stdout.ends_with("see report.txt\n"), "{}", run.stdout);
    let written = std::fs::read_to_string(gate.directory().join("report.txt")).expect("the report");
    assert!(written.starts_with("namegate prove: PASSED\n"), "{written}");
}

#[test]
fn every_way_to_answer_a_blocked_name_is_proof() {
    for answer in ["nodata", "refused"] {
        let upstream = ScriptedUpstream::start();
        let gate = gate(&upstream, &format!("block.answer = \"{answer}\""));
        prove(&gate, &[]).expect_code(0);
    }
}

#[test]
fn a_canary_above_allowed_names_is_proven_but_for_its_zone() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "policy.allow = [\".allowed.example\", \"a.canary.test\"]");
    let text = prove(&gate, &[]).expect_code(0).stdout;
    assert!(text.contains("NS, SOA, DS and DNSKEY of canary.test were not tested"), "{text}");
    assert!(upstream.asked().iter().all(|asked| asked == "www.allowed.example A"), "{:?}", upstream.asked());
}

#[test]
fn a_policy_that_leaks_is_found_with_the_very_query() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "policy.allow = [\".allowed.example\", \".canary.test\"]");
    let run = prove(&gate, &["--json"]).expect_code(1);
    let report = report(&run);
    assert_eq!(report["proven"], false);
    let failure = &report["failures"][0];
    assert_eq!(failure["what"], "canary.test A");
    assert_eq!(failure["found"], "NOERROR with 1 answer records, not denied by namegate");
    // Header with RD, `canary.test`, A, IN.
    assert_eq!(failure["query"], "0000010000010000000000000663616e61727904746573740000010001");
    assert!(
        upstream.asked().len() < 30,
        "a failing name is not queried in every form: {:?}",
        upstream.asked()
    );
    let text = prove(&gate, &[]).expect_code(1).stdout;
    assert!(text.starts_with("namegate prove: FAILED\n"), "{text}");
    assert!(text.contains("note: after 10 failures "), "{text}");
}

#[test]
fn what_an_upstream_denies_is_no_proof() {
    for answer in [
        Response::negative("NXDOMAIN", Record::soa("test", 300, 300)),
        Response::negative("NOERROR", Record::soa("test", 300, 300)),
        Response::failing("REFUSED"),
        Response::failing("SERVFAIL"),
    ] {
        let upstream = ScriptedUpstream::start();
        upstream.by_default(Script::reply(answer));
        upstream.on(
            "www.allowed.example",
            Script::reply(Response::answering(&["www.allowed.example 9 A 192.0.2.1"])),
        );
        let gate = gate(&upstream, "policy.allow = [\".allowed.example\", \"canary.test\"]");
        let run = prove(&gate, &[]).expect_code(1);
        assert!(run.stdout.contains("not denied by namegate"), "{}", run.stdout);
    }
}

#[test]
fn a_gate_that_only_observes_is_not_proven() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "policy.mode = \"observe\"");
    let run = prove(&gate, &[]).expect_code(1);
    assert!(run.stdout.contains("note: the resolver is in observe mode"), "{}", run.stdout);
    assert!(run.stdout.contains("mode observe"), "{}", run.stdout);
    assert!(upstream.asked().contains(&"canary.test A".to_owned()));
}

#[test]
fn a_name_that_must_resolve_and_does_not_is_found() {
    let upstream = ScriptedUpstream::start();
    let nowhere = Response::negative("NXDOMAIN", Record::soa("allowed.example", 300, 300));
    upstream.on("www.allowed.example", Script::reply(nowhere));
    let gate = gate(&upstream, "");
    let run = prove(&gate, &[]).expect_code(1);
    assert!(run.stdout.contains("www.allowed.example A at "), "{}", run.stdout);
    assert!(run.stdout.contains("NXDOMAIN with 0 answer records"), "{}", run.stdout);
}

#[test]
fn without_a_gate_nothing_can_be_told() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    let run = prove_at(&gate, gate.address(), closed, &[]).expect_code(2);
    run.expect_stderr(&["no answer from http://", "running resolver with --admin"]);
    let run = prove_at(&gate, closed, gate.admin(), &[]).expect_code(2);
    run.expect_stderr(&["cannot query 127.0.0.1", "with `--server`"]);
    let admin = gate.admin().to_string();
    namegate(gate.directory(), &["prove", "--config", "namegate.toml", "--admin", &admin])
        .expect_code(2)
        .expect_stderr(&["do not name a port", "--server"]);
}

#[test]
fn a_gate_that_does_not_serve_us_proves_nothing() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "server.allow_clients = [\"10.0.0.0/8\"]");
    prove(&gate, &[]).expect_code(2).expect_stderr(&["does not serve this host", "allow_clients"]);
}

#[test]
fn a_gate_asks_itself_and_tells_when_a_reload_leaks() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "prove.interval = \"1s\"");
    let ok = |expect: &str| {
        let labels = [("expect", expect)];
        let metrics = gate.metrics();
        metrics.has("namegate_canary_ok").then(|| metrics.sum("namegate_canary_ok", &labels))
    };
    let wait = |what: &str, expect: &str, wanted: f64| {
        eventually(what, || ok(expect).filter(|value| *value == wanted));
    };
    wait("the first round", "not_resolve", 1.0);
    assert_eq!(ok("resolve"), Some(1.0));
    assert!(gate.metrics().sum("namegate_canary_last_run_timestamp_seconds", &[]) > 1e9);
    let page: Value = serde_json::from_str(&gate.get("/api/v1/canaries").1).expect("JSON");
    assert_eq!(page["canaries"][1]["name"], "canary.test");
    assert_eq!((&page["canaries"][1]["ok"], &page["canaries"][0]["ok"]), (&true.into(), &true.into()));
    gate.expect_clean_log();

    gate.write_settings(&format!(
        "{CANARIES}prove.interval = \"1s\"\npolicy.allow = [\".allowed.example\", \".canary.test\"]"
    ));
    assert_eq!(gate.reload(), Reload::Success);
    wait("the leak", "not_resolve", 0.0);
    assert_eq!(ok("resolve"), Some(1.0));
    gate.stderr.expect("canary canary.test (not_resolve) failed: canary.test A at ");
    let page: Value = serde_json::from_str(&gate.get("/api/v1/canaries").1).expect("JSON");
    let fault = page["canaries"][1]["fault"].as_str().expect("a fault").to_owned();
    assert!(fault.starts_with("canary.test A at ") && fault.contains("over udp"), "{fault}");

    gate.write_settings(&format!("{CANARIES}prove.interval = \"1s\""));
    assert_eq!(gate.reload(), Reload::Success);
    wait("the leak's end", "not_resolve", 1.0);
    gate.stderr.expect("canary canary.test (not_resolve) recovered");

    gate.write_settings(&format!("{CANARIES}prove.interval = \"1s\"\npolicy.mode = \"observe\""));
    assert_eq!(gate.reload(), Reload::Success);
    gate.stderr.expect("canaries that must not resolve are not tested");
    wait("observing", "not_resolve", 0.0);
    wait("resolving", "resolve", 1.0);
}

/// Counters of clients that own queries must not touch.
const OF_CLIENTS: [&str; 8] = [
    "namegate_queries_total",
    "namegate_responses_total",
    "namegate_dropped_total",
    "namegate_blocked_total",
    "namegate_allowed_total",
    "namegate_cache_misses_total",
    "namegate_shadow_differences_total",
    "namegate_request_duration_seconds_count",
];

fn expect_nothing_counted(gate: &Gate) {
    let metrics = gate.metrics();
    for name in OF_CLIENTS {
        assert_eq!(metrics.sum(name, &[]), 0.0, "{name}");
    }
    let (queries, outcomes) = metrics.accounting();
    assert_eq!(queries, outcomes);
    assert_eq!(gate.get("/api/v1/recent").1, "{\"next\":0,\"lookups\":[]}");
    let rules = gate.get("/api/v1/rules").1;
    assert!(!rules.contains("last_used"), "{rules}");
}

#[test]
fn own_queries_count_only_as_own() {
    let upstream = ScriptedUpstream::start();
    let candidate = ("candidate.toml", "[policy]\nzones = []\nallow = [\"canary.test\"]\n");
    let settings = format!(
        "{CANARIES}prove.interval = \"1h\"\nlog.queries = \"all\"\npolicy.shadow = \"candidate.toml\"\n\
         tunnel_guard = {{ mode = \"observe\", new_names = 10 }}"
    );
    let gate = Gate::with_files(&[upstream.address()], &settings, &[candidate]);
    let metrics = gate.expect_metrics("a round", |metrics| metrics.has("namegate_canary_ok"));
    assert!(metrics.sum("namegate_own_queries_total", &[]) > 10.0);
    expect_nothing_counted(&gate);
    let admin = gate.admin().to_string();
    namegate(gate.directory(), &["shadow", "--admin", &admin]).expect_code(0);

    gate.ask("canary.test", "A");
    gate.stdout.expect("canary.test");
    eventually("another client's lookup", || {
        gate.get("/api/v1/recent").1.contains("\"next\":1").then_some(())
    });
    let lines = gate.stdout.all();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_queries_total", &[]), 1.0);
    assert_eq!(metrics.sum("namegate_top_blocked_queries", &[]), 1.0);
    namegate(gate.directory(), &["shadow", "--admin", &admin]).expect_code(1);
}

#[test]
fn observe_mode_tests_no_canary_and_says_so_once() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(
        &upstream,
        "policy.mode = \"observe\"\nprove.interval = \"1s\"\nprove.must_resolve = [\"www.allowed.example\"]\n\
         prove.must_not_resolve = [\"canary.test\", \"use-application-dns.net\"]",
    );
    let last_run = || gate.metrics().sum("namegate_canary_last_run_timestamp_seconds", &[]);
    let first = eventually("the first round", || Some(last_run()).filter(|ended| *ended > 0.0));
    eventually("another round", || (last_run() > first + 1.0).then_some(()));
    let metrics = gate.metrics();
    let ok = |name| {
        metrics.samples.iter().find(|sample| sample.labels.get("name").is_some_and(|have| have == name))
    };
    assert!(ok("canary.test").is_none(), "{}", metrics.text);
    assert_eq!(ok("use-application-dns.net").map(|sample| sample.value), Some(1.0), "blocked in every mode");
    assert_eq!(upstream.count("canary.test"), 0);
    let page: Value = serde_json::from_str(&gate.get("/api/v1/canaries").1).expect("JSON");
    assert_eq!((&page["canaries"][1]["ok"], &page["canaries"][1]["observed"]), (&false.into(), &true.into()));
    let lines = gate.stderr.all();
    let has = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((has("observe mode forwards their names (1)"), has(" failed: ")), (1, 0), "{lines:?}");
}

#[test]
fn canaries_follow_the_mode_of_their_own_group() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(
        &upstream,
        "policy.mode = \"observe\"\nprove.interval = \"1s\"\n\
         client = [{ name = \"host\", subnets = [\"127.0.0.1\"], mode = \"enforce\" }]",
    );
    let metrics = gate.expect_metrics("a round", |metrics| metrics.has("namegate_canary_ok"));
    assert_eq!(metrics.sum("namegate_canary_ok", &[("expect", "not_resolve")]), 1.0);
}

#[test]
fn prove_with_the_token_counts_as_no_client() {
    let (_upstream, directory, gate) = gate_with_token();
    let token = directory.path().join("token");
    let token = token.to_str().expect("a path in UTF-8");
    let run = prove(&gate, &["--token-file", token]).expect_code(0);
    assert_eq!(run.stderr, "");
    expect_nothing_counted(&gate);
    let own = gate.metrics().sum("namegate_own_queries_total", &[]);
    assert!(own > 300.0, "{own}");
    gate.stderr.expect("are not counted as a client's: registered by 127.0.0.1:");
    gate.stderr.expect("are counted again");
    assert_eq!(prove(&gate, &[]).expect_code(0).stderr, "");
    assert!(gate.metrics().sum("namegate_own_queries_total", &[]) > own, "the settings name the token too");
    expect_nothing_counted(&gate);
}

#[test]
fn prove_without_the_token_counts_as_a_client() {
    let (_upstream, directory, gate) = gate_with_token();
    let wrong = directory.path().join("wrong");
    write_token(&wrong, "not-the-token-of-this-gate", 0o600);
    let said = "warning: the resolver counts these lookups as a client's: ";
    let run = prove(&gate, &["--token-file", wrong.to_str().expect("a path in UTF-8")]).expect_code(0);
    assert_eq!(run.stderr.matches(said).count(), 1, "{}", run.stderr);
    run.expect_stderr(&["request rejected (HTTP 401)"]);
    let metrics = gate.settled_metrics();
    assert!(metrics.sum("namegate_queries_total", &[]) > 300.0);
    assert_eq!(metrics.sum("namegate_own_queries_total", &[]), 0.0);

    let upstream = ScriptedUpstream::start();
    let gate = self::gate(&upstream, "");
    let run = prove(&gate, &[]).expect_code(0);
    run.expect_stderr(&[said, "no admin token", "help: pass --token-file"]);
}

#[test]
fn only_the_registered_socket_is_own() {
    let (_upstream, _directory, gate) = gate_with_token();
    let (own, other) = (gate.udp(), gate.udp());
    let address = own.local_address();
    let body = format!("{{\"udp\": [\"[::ffff:{}]:{}\"]}}", address.ip(), address.port());
    let path = "/api/v1/own-clients";
    let http = || Http::to(gate.admin()).token(TOKEN);
    Http::to(gate.admin()).json("POST", path, &body).expect_error(401, &["missing or wrong"]);
    http().json("POST", path, "{\"udp\": [\"10.0.0.1\"]}").expect_error(422, &["socket address"]);
    let counted = || {
        let metrics = gate.settled_metrics();
        ["namegate_own_queries_total", "namegate_queries_total"].map(|name| metrics.sum(name, &[]))
    };
    let ask = |client: &UdpClient| client.ask(&Query::new("evil.example", "A").edns());
    ask(&own);
    assert_eq!(counted(), [0.0, 1.0]);
    assert_eq!(http().json("POST", path, &body).status, 204);
    ask(&own);
    ask(&other);
    assert_eq!(counted(), [1.0, 2.0]);
    assert_eq!(http().json("DELETE", path, &body).status, 204);
    ask(&own);
    assert_eq!(counted(), [1.0, 3.0]);
    let many: Vec<String> = (1..=257).map(|port| format!("\"10.0.0.1:{port}\"")).collect();
    let many = format!("{{\"tcp\": [{}]}}", many.join(","));
    http().json("POST", path, &many).expect_error(422, &["too many own clients", "help: "]);
}

#[test]
fn long_names_keep_the_columns_of_the_report() {
    let upstream = ScriptedUpstream::start();
    let long = "a-canary-with-a-rather-long-name.must-not.resolve.test";
    let gate = Gate::start(&upstream, &format!("prove.must_not_resolve = [\"{long}\"]"));
    let text = prove(&gate, &[]).expect_code(0).stdout;
    let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("must not resolve")).collect();
    let rows: Vec<&str> = table.iter().copied().take_while(|line| !line.is_empty()).collect();
    assert!(rows.len() > 5 && rows.iter().any(|row| row.contains(long)), "{text}");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
}

#[test]
fn a_gate_that_does_not_serve_its_own_machine_says_so_once() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "prove.interval = \"1s\"\nserver.allow_clients = [\"10.0.0.0/8\"]");
    gate.stderr.expect("does not serve this host");
    std::thread::sleep(std::time::Duration::from_secs(5));
    let lines = gate.stderr.all();
    assert_eq!(lines.iter().filter(|line| line.contains("does not serve this host")).count(), 1, "{lines:?}");
    assert!(!gate.metrics().has("namegate_canary_ok"));
}
