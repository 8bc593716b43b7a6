//! Tests the JSON pages of the admin listener.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::browser::fetch;
use crate::support::http::Http;
use crate::support::{Gate, Query, Response, Script, ScriptedUpstream, eventually};

fn json(gate: &Gate, path: &str) -> Value {
    let (status, body) = gate.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error} in {body}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn status_shows_version_policy_and_totals() {
    let upstream = ScriptedUpstream::start();
    upstream.on("broken.allowed.example", Script::reply(Response::failing("SERVFAIL")));
    let gate = Gate::start(&upstream, "upstream.deadline = \"1s\"");
    for name in ["ws.allowed.example", "ws.allowed.example", "evil.example", "wpad", "broken.allowed.example"]
    {
        gate.ask(name, "A");
    }
    gate.ask("ws.allowed.example", "AXFR");
    gate.settled_metrics();
    let status = json(&gate, "/api/v1/status");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["policy"]["mode"], "enforce");
    assert_eq!(status["policy"]["rules"], 1);
    assert_eq!(status["policy"]["last_reload_succeeded"], true);
    assert_eq!(status["policy"]["zones"][0]["name"], "settings");
    let hash = status["policy"]["hash"].as_str().expect("a hash");
    assert!(gate.metrics().text.contains(&format!("hash=\"{hash}\"")));
    for (what, count) in [
        ("queries", 6),
        ("allowed", 2),
        ("blocked", 2),
        ("noise", 1),
        ("refused", 1),
        ("errors", 1),
        ("dropped", 0),
    ] {
        assert_eq!(status["totals"][what], count, "{what} in {status}");
    }
    assert_eq!(status["cache"]["hits"], 1);
    assert_eq!(status["cache"]["max_bytes"], 64 << 20);
    let server = &status["upstreams"][0];
    assert_eq!(server["name"], upstream.address().to_string());
    assert_eq!(
        (&server["up"], &server["max_in_flight"], &server["max_qps"]),
        (&true.into(), &180.into(), &900.into())
    );
    assert!(number(&server["answered"]) >= 1.0 && number(&server["failed"]) >= 1.0, "{server}");
    assert!(
        number(&server["mean_seconds"]) > 0.0 && number(&server["seconds_since_reply"]) < 10.0,
        "{server}"
    );
    let rates = eventually("a second's rates", || {
        let status = json(&gate, "/api/v1/status");
        let sum =
            |what: &str| status["rates"][what].as_array().expect("a list").iter().map(number).sum::<f64>();
        Some((sum("allowed"), sum("blocked"), sum("other"))).filter(|(allowed, ..)| *allowed > 0.0)
    });
    assert!(rates.0 <= 3.0 && rates.1 <= 2.0 && rates.2 <= 1.0, "{rates:?}");
}

#[test]
fn blocked_lookups_are_shown_as_they_come() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.deny = [\"*.denied.example\"]");
    assert_eq!(json(&gate, "/api/v1/recent"), serde_json::json!({ "next": 0, "lookups": [] }));
    gate.ask("ws.allowed.example", "A");
    gate.ask("Evil.example", "AAAA");
    gate.ask("x.denied.example", "A");
    let page =
        eventually("both lookups", || Some(json(&gate, "/api/v1/recent")).filter(|page| page["next"] == 2));
    let lookups = page["lookups"].as_array().expect("lookups");
    assert_eq!(lookups.len(), 2, "{page}");
    let first = &lookups.iter().find(|lookup| lookup["name"] == "evil.example").expect("the first");
    for (key, value) in
        [("client", "127.0.0.1"), ("type", "AAAA"), ("decision", "blocked"), ("reason", "not_listed")]
    {
        assert_eq!(first[key], value, "{first}");
    }
    let second = &lookups.iter().find(|lookup| lookup["name"] == "x.denied.example").expect("the second");
    assert_eq!((&second["reason"], &second["rule"]), (&"denied".into(), &"*.denied.example".into()));
    assert!(second["place"].as_str().is_some_and(|place| place.contains("namegate.toml:")), "{second}");
    gate.ask("third.example", "A");
    let page = eventually("the third", || {
        Some(json(&gate, "/api/v1/recent?after=2")).filter(|page| page["next"] == 3)
    });
    assert_eq!(page["lookups"].as_array().expect("lookups").len(), 1, "{page}");
    assert_eq!(page["lookups"][0]["sequence"], 2);
}

#[test]
fn blocked_lookup_history_is_bounded() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    for number in 0..300 {
        client.ask(&Query::new(&format!("n{number}.evil.example"), "A"));
    }
    let page =
        eventually("all lookups", || Some(json(&gate, "/api/v1/recent")).filter(|page| page["next"] == 300));
    let lookups = page["lookups"].as_array().expect("lookups");
    assert_eq!((lookups.len(), &lookups[0]["sequence"]), (200, &100.into()));
}

#[test]
fn explain_page_shows_verdict_for_name() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.deny = [\"*.denied.example\"]");
    let explain = |query: &str| json(&gate, &format!("/api/v1/explain?{query}"));
    let allowed = explain("name=WS.allowed.example.&type=AAAA");
    assert_eq!((&allowed["name"], &allowed["type"]), (&"ws.allowed.example".into(), &"AAAA".into()));
    assert_eq!((&allowed["verdict"], &allowed["rule"]), (&"allowed".into(), &".allowed.example".into()));
    assert!(allowed["place"].as_str().is_some_and(|place| place.contains("namegate.toml:")), "{allowed}");
    assert_eq!(allowed.get("snippet"), None);
    let blocked = explain("name=evil.example");
    assert_eq!((&blocked["verdict"], &blocked["type"]), (&"blocked".into(), &"A".into()));
    let snippet = blocked["snippet"].as_str().expect("a snippet");
    assert!(snippet.contains("evil.example"), "{snippet}");
    assert_eq!(explain("name=x.denied.example")["rule"], "*.denied.example");
    assert_eq!(explain("name=ws.allowed.example&type=AXFR")["verdict"], "refused");
    assert_eq!(explain("name=ws.allowed.example&client=192.0.2.1")["verdict"], "refused");
    for query in ["name=a..b", "name=ws.allowed.example&type=NOPE", "name=x&client=here", "", "name=a&name=b"]
    {
        let (status, body) = gate.get(&format!("/api/v1/explain?{query}"));
        assert_eq!(status, 400, "{query}");
        let error: Value = serde_json::from_str(&body).expect("JSON");
        assert!(error["error"].as_str().is_some_and(|text| text.len() > 10), "{error}");
    }
    assert_eq!(gate.get("/api/v1/recent?after=abc").0, 400);
    assert!(upstream.queries().is_empty(), "explaining sends no upstream query");
    let metrics = gate.metrics();
    assert_eq!(metrics.sum("namegate_queries_total", &[]), 0.0, "and counts nothing");
}

#[test]
fn explain_page_knows_the_client_and_what_happened() {
    let (upstream, directory, gate) = crate::admin::token::gate_with_token();
    let settings = "[[client]]\nname = \"build\"\nsubnets = [\"127.0.0.1\"]\nmode = \"observe\"\n";
    let token = format!("admin.token_file = \"{}/token\"\n", directory.path().display());
    gate.write_settings(&(token + settings));
    gate.reload();
    let explain = |query: &str| json(&gate, &format!("/api/v1/explain?{query}"));
    let client = explain("name=new.example&client=127.0.0.1");
    assert_eq!(
        (&client["client"], &client["group"], &client["mode"]),
        (&"127.0.0.1".into(), &"build".into(), &"observe".into())
    );
    assert_eq!(client["route"], upstream.address().to_string().as_str());
    let entry = client["entry"]["text"].as_str().expect("an entry");
    assert_eq!(entry, "[[client]]\nname = \"build\"\nallow = [\".allowed.example\", \"new.example\"]\n");
    assert!(client["entry"]["file"].as_str().is_some_and(|file| file.ends_with("namegate.toml")), "{client}");
    let other = explain("name=new.example&client=10.0.0.4");
    assert_eq!(
        (&other["group"], &other["mode"], other.get("route")),
        (&"default".into(), &"enforce".into(), None)
    );

    crate::policy::allow::allow(&gate, "*.allowed.example", "1h").expect_code(0);
    gate.ask("www.allowed.example", "A");
    let granted = explain("name=www.allowed.example");
    assert_eq!(granted["grants"][0]["pattern"], "*.allowed.example");
    assert_eq!(
        (&granted["grants"][0]["reason"], &granted["grants"][0]["author"]),
        (&"a test".into(), &"tester".into())
    );
    assert_eq!((granted.get("entry"), &granted["rule"]), (None, &".allowed.example".into()));
    let run =
        crate::policy::allow::run(&gate, &["explain", "www.allowed.example", "--running"]).expect_code(0);
    for line in [
        "allowed: www.allowed.example A\n",
        "  mode     enforce\n",
        "  grant    *.allowed.example until 20",
        "  route    127.0.0.1:",
    ] {
        assert!(run.stdout.contains(line), "`{line}` is not in\n{}", run.stdout);
    }
}

#[test]
fn the_snippet_shown_allows_the_name() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let blocked = json(&gate, "/api/v1/explain?name=needed.example");
    gate.write_settings(blocked["snippet"].as_str().expect("a snippet"));
    gate.reload();
    assert_eq!(gate.ask("needed.example", "A").rcode(), "NOERROR");
}

#[test]
fn pages_are_not_for_other_sites() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let status = |host: &str, path: &str| {
        let mut stream = TcpStream::connect(gate.admin()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response.split(' ').nth(1).unwrap().to_owned()
    };
    for path in
        ["/", "/api/v1/status", "/api/v1/top", "/api/v1/recent", "/api/v1/explain?name=a.example", "/metrics"]
    {
        assert_eq!(status("rebound.evil.example", path), "403", "{path}");
        assert_eq!(status("localhost:9153", path), "200", "{path}");
    }
    assert_eq!(status("gate.monitoring.example:9153", "/healthz"), "200", "a probe may use any Host name");
}

#[test]
fn idle_connections_take_no_descriptors_from_queries() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(gate.admin()).unwrap()).collect();
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR");
    std::thread::sleep(Duration::from_millis(200));
    let open = std::fs::read_dir(format!("/proc/{}/fd", gate.pid())).unwrap().count();
    assert!(open < 64 + 60, "{open} descriptors are open");
    drop(silent);
    assert_eq!(gate.get("/healthz").0, 200);
}

#[test]
fn totals_add_up_after_observing() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.mode = \"observe\"");
    for _ in 0..3 {
        gate.ask("wpad", "A");
    }
    gate.write_settings("policy.mode = \"enforce\"");
    gate.reload();
    gate.ask("evil.example", "A");
    gate.settled_metrics();
    let totals = &json(&gate, "/api/v1/status")["totals"];
    assert_eq!((&totals["observed"], &totals["blocked"]), (&3.into(), &1.into()), "{totals}");
    assert_eq!(totals["noise"], 3);
}

/// The text between `open` and `close`.
fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let (_, rest) = text.split_once(open).unwrap_or_else(|| panic!("no `{open}`"));
    rest.split_once(close).unwrap_or_else(|| panic!("no `{close}` after `{open}`")).0
}

#[test]
fn the_page_is_one_document_that_runs_nothing_else() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let (head, body) = fetch(gate.admin(), "/");
    for line in [
        "HTTP/1.1 200 OK",
        "content-type: text/html; charset=utf-8",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(head.lines().any(|have| have == line), "`{line}` is missing in\n{head}");
    }
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
    let policy = policy.expect("a content policy");
    let directives: Vec<&str> = policy.split("; ").collect();
    for directive in [
        "default-src 'none'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(directives.contains(&directive), "`{directive}` is missing in {policy}");
    }
    for (directive, text) in [
        ("style-src", between(&body, "<style>", "</style>")),
        ("script-src", between(&body, "<script type=\"module\">", "</script>")),
    ] {
        let hash = BASE64_STANDARD.encode(Sha256::digest(text));
        let wanted = format!("{directive} 'sha256-{hash}'");
        assert!(directives.contains(&wanted.as_str()), "`{wanted}` is missing in {policy}");
    }
    for outside in ["http://", "https://", "=\"//", "url(", "@import", "innerHTML", " style=", " onclick="] {
        assert!(!body.contains(outside), "the page holds `{outside}`");
    }
}

#[test]
fn every_response_forbids_browsers_to_guess_and_to_run() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/v1/status",
        "/api/v1/explain?name=a.example",
        "/api/v1/explain",
        "/api/v1/allowed",
        "/api/v1/none",
        "/none",
    ] {
        for http in [Http::to(gate.admin()), Http::to(gate.admin()).header("Host: other.example")] {
            let head = http.send("GET", path, "").head;
            for line in [
                "x-content-type-options: nosniff",
                "content-security-policy: default-src 'none'; frame-ancestors 'none'",
                "referrer-policy: no-referrer",
                "cache-control: no-store",
            ] {
                assert_eq!(
                    head.lines().filter(|have| *have == line).count(),
                    1,
                    "{path}: `{line}` in\n{head}"
                );
            }
        }
    }
    let head = Http::to(gate.admin()).json("POST", "/api/v1/allowed", "{").head;
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
}

#[test]
fn other_paths_get_404() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for path in [
        "/index.html",
        "/style.css",
        "/page/script.js",
        "/../Cargo.toml",
        "/api/v1/",
        "/api/v1/nothing",
        "//",
    ] {
        assert_eq!(gate.get(path).0, 404, "{path}");
    }
}
