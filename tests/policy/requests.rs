//! Tests requests for grants: clients file them without a token, holders of the token decide them.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin::token::{TOKEN, write_token};
use crate::policy::allow::run;
use crate::support::http::{Http, Reply};
use crate::support::{Gate, Query, ScriptedUpstream, eventually};

const A: [u8; 4] = [127, 0, 0, 2];
const B: [u8; 4] = [127, 0, 0, 3];

const SETTINGS: &str = r#"
    requests.enabled = true
    server.allow_clients = ["127.0.0.0/16", "127.1.0.0/16"]
    policy.zones = ["own.toml"]
    [[client]]
    name = "build"
    subnets = ["127.1.0.0/16"]
"#;

const OWN: &str = "[[allow]]\nhost = \"own.example\"\npurpose = \"a test\"\n";

fn gate(upstream: &ScriptedUpstream, directory: &TempDir) -> Gate {
    let path = directory.path().join("token");
    write_token(&path, &format!("{TOKEN}\n"), 0o600);
    let state = directory.path().join("state");
    let paths = format!("admin.token_file = {:?}\nserver.state_directory = {:?}\n{SETTINGS}", path, state);
    Gate::with_files(&[upstream.address()], &paths, &[("own.toml", OWN)])
}

fn start() -> (ScriptedUpstream, TempDir, Gate) {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let gate = gate(&upstream, &directory);
    (upstream, directory, gate)
}

fn file(gate: &Gate, client: [u8; 4], name: &str) -> Reply {
    let body = json!({"name": name, "reason": "a job", "for": "1h", "author": "ana"}).to_string();
    Http::to(gate.admin()).from(client).json("POST", "/api/v1/requests", &body)
}

/// Files a request that is accepted; its id.
fn filed(gate: &Gate, client: [u8; 4], name: &str) -> String {
    let reply = file(gate, client, name);
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.value()["id"].as_str().expect("an id").to_owned()
}

fn get(gate: &Gate, path: &str) -> Value {
    Http::to(gate.admin()).send("GET", path, "").value()
}

fn decide(gate: &Gate, id: &str, what: &str, body: &str) -> Reply {
    let path = format!("/api/v1/requests/{id}/{what}");
    Http::to(gate.admin()).token(TOKEN).json("POST", &path, body)
}

fn rcode(gate: &Gate, client: [u8; 4], name: &str) -> String {
    gate.udp_from(client).ask(&Query::new(name, "A").edns()).rcode()
}

#[test]
fn approved_request_resolves_for_its_client_until_it_ends() {
    let (upstream, directory, gate) = start();
    assert_eq!(rcode(&gate, A, "wanted.example"), "NXDOMAIN");
    let id = filed(&gate, A, "Wanted.example");
    assert_eq!(rcode(&gate, A, "wanted.example"), "NXDOMAIN", "nobody has approved it");
    let reply = decide(&gate, &id, "approve", r#"{"for": "2s", "scope": "client", "author": "bo"}"#);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(rcode(&gate, A, "wanted.example"), "NOERROR");
    assert_eq!(rcode(&gate, B, "wanted.example"), "NXDOMAIN");
    let request = get(&gate, &format!("/api/v1/requests/{id}"));
    assert_eq!((&request["state"], &request["scope"]), (&"approved".into(), &"client".into()));
    let grants = get(&gate, "/api/v1/allowed");
    let reason = format!("a job (request {id} by ana)");
    assert_eq!((&grants[0]["author"], &grants[0]["reason"]), (&"bo".into(), &reason.into()));
    assert_eq!(grants[0]["client"], "127.0.0.2");
    eventually("the expiry", || (rcode(&gate, A, "wanted.example") == "NXDOMAIN").then_some(()));
    eventually("the request's expiry", || {
        (get(&gate, &format!("/api/v1/requests/{id}"))["state"] == "expired").then_some(())
    });
    assert_eq!(upstream.asked(), ["wanted.example A"]);
    // The grant is over by the clock; its record follows within a second.
    let events = eventually("the record of the end", || {
        let audit = std::fs::read_to_string(directory.path().join("state/audit.log")).expect("an audit log");
        let events: Vec<Value> = audit
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["event"].clone())
            .collect();
        (events.len() >= 4).then_some(events)
    });
    assert_eq!(events, ["requested", "allowed", "approved", "ended"]);
}

#[test]
fn approval_may_be_for_the_group_or_all() {
    let (_upstream, _directory, gate) = start();
    let build = [127, 1, 0, 1];
    let id = filed(&gate, build, "wanted.example");
    decide(&gate, &id, "approve", r#"{"scope": "group"}"#);
    let rcodes = |name| [A, [127, 1, 0, 2]].map(|client| rcode(&gate, client, name));
    assert_eq!(rcodes("wanted.example"), ["NXDOMAIN", "NOERROR"]);
    let id = filed(&gate, build, "other.example");
    decide(&gate, &id, "approve", r#"{"scope": "all"}"#);
    assert_eq!(rcodes("other.example"), ["NOERROR", "NOERROR"]);
    let gone = Http::to(gate.admin()).token(TOKEN).send("DELETE", "/api/v1/allowed/other.example", "");
    assert_eq!(gone.status, 204);
    assert_eq!(get(&gate, &format!("/api/v1/requests/{id}"))["state"], "expired", "its grant is revoked");
}

#[test]
fn deciding_needs_the_token_and_happens_once() {
    let (_upstream, _directory, gate) = start();
    let id = filed(&gate, A, "wanted.example");
    let http = || Http::to(gate.admin());
    for (method, what, body) in [
        ("POST", "approve", r#"{"scope": "all"}"#),
        ("POST", "deny", r#"{"reason": "no"}"#),
        ("GET", "rule", ""),
    ] {
        let path = format!("/api/v1/requests/{id}/{what}");
        http().json(method, &path, body).expect_error(401, &["token missing or wrong"]);
        http().token("wrong-wrong-wrong").json(method, &path, body).expect_error(401, &["token"]);
    }
    assert_eq!(rcode(&gate, A, "wanted.example"), "NXDOMAIN");
    let denied = decide(&gate, &id, "deny", r#"{"reason": "use the mirror", "author": "bo"}"#).value();
    assert_eq!((&denied["state"], &denied["answer"]), (&"denied".into(), &"use the mirror".into()));
    decide(&gate, &id, "approve", r#"{"scope": "all"}"#).expect_error(409, &["already decided"]);
    for (id, status, told) in [
        ("0123", 400, "not a request id"),
        ("..%2Fallowed", 400, "not a request id"),
        ("00000000000000000000000000000000", 404, "no such request"),
    ] {
        decide(&gate, id, "approve", "{}").expect_error(status, &[told]);
    }
    assert_eq!(rcode(&gate, A, "wanted.example"), "NXDOMAIN");
}

#[test]
fn what_cannot_be_granted_is_refused_at_once() {
    let (_upstream, _directory, gate) = start();
    for (name, status, told) in [
        ("mask.icloud.com", 422, "denied by a built-in rule"),
        ("example.com", 422, "example.com must not resolve (`prove.must_not_resolve`)"),
        (".example.com", 422, "example.com must not resolve"),
        ("*.com", 422, "every domain under a public suffix"),
        ("own.example", 409, "already allowed for client 127.0.0.2: by rule own.example"),
        ("a b", 422, "`name`: "),
    ] {
        file(&gate, A, name).expect_error(status, &[told]);
    }
    let long = json!({"name": "a.example", "reason": "x".repeat(201)}).to_string();
    Http::to(gate.admin()).json("POST", "/api/v1/requests", &long).expect_error(422, &["201 characters"]);
    file(&gate, [127, 2, 0, 1], "a.example").expect_error(403, &["not permitted by server.allow_clients"]);
    assert_eq!(get(&gate, "/api/v1/requests"), json!({"requests": []}));
    let upstream = ScriptedUpstream::start();
    let off = Gate::start(&upstream, "");
    file(&off, A, "a.example").expect_error(403, &["help: set `requests.enabled = true`"]);
}

#[test]
fn one_client_cannot_use_up_the_requests_of_others() {
    let (_upstream, _directory, gate) = start();
    for name in ["a", "b", "c", "d", "e"] {
        filed(&gate, A, &format!("{name}.example"));
    }
    file(&gate, A, "f.example").expect_error(429, &["5 pending requests"]);
    file(&gate, A, "a.example").expect_error(409, &["for the same name is pending"]);
    filed(&gate, B, "a.example");
    let metrics = gate.metrics();
    assert_eq!(metrics.sum("namegate_requests", &[("state", "pending")]), 6.0);
}

#[test]
fn request_that_cannot_be_saved_has_no_grant() {
    let (_upstream, directory, gate) = start();
    let id = filed(&gate, A, "a.example");
    let file = directory.path().join("state/requests.json");
    std::fs::remove_file(&file).expect("requests are saved there");
    std::fs::create_dir_all(file.join("in-the-way")).expect("a directory in its place");
    let path = format!("/api/v1/requests/{id}");
    let approve = Http::to(gate.admin()).token(TOKEN).json("POST", &format!("{path}/approve"), "{}");
    approve.expect_error(503, &["cannot save the requests", "; help: "]);
    assert_eq!(get(&gate, &path)["state"], "pending");
    let refused = self::file(&gate, B, "b.example");
    refused.expect_error(503, &["cannot be saved", "; help: "]);
    assert!(!refused.body.contains('/'), "no path for those who have no token: {refused:?}");
    assert_eq!(rcode(&gate, A, "a.example"), "NXDOMAIN");
    std::fs::remove_dir_all(&file).expect("it can be removed");
    decide(&gate, &id, "deny", r#"{"reason": "no"}"#);
    assert_eq!(rcode(&gate, A, "a.example"), "NXDOMAIN");
}

#[test]
fn requests_outlive_a_restart() {
    let (upstream, directory, gate) = start();
    let (first, second) = (filed(&gate, A, "a.example"), filed(&gate, B, "b.example"));
    decide(&gate, &first, "deny", r#"{"reason": "no"}"#);
    gate.terminate();
    let gate = self::gate(&upstream, &directory);
    let states: Vec<Value> = get(&gate, "/api/v1/requests")["requests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|request| json!([request["id"], request["state"]]))
        .collect();
    assert_eq!(states, [json!([second, "pending"]), json!([first, "denied"])]);
}

#[test]
fn commands_request_decide_and_list() {
    let (_upstream, _directory, gate) = start();
    let said = run(&gate, &["requests"]).expect_code(0).stdout;
    assert_eq!(said, "No requests\n");
    let ask = ["request", "wanted.example", "--reason", "a \"job\"", "--author", "ana"];
    let said = run(&gate, &ask).expect_code(0).stdout;
    let id = said.lines().next().and_then(|line| line.strip_prefix("Requested: wanted.example as "));
    let id = id.unwrap_or_else(|| panic!("{said}")).to_owned();
    assert!(said.contains(&format!("namegate request --status {id}")), "{said}");
    let said = run(&gate, &["request", "--status", &id]).expect_code(0).stdout;
    assert!(said.starts_with("Pending: wanted.example, filed 20"), "{said}");
    let listed = run(&gate, &["requests"]).expect_code(0).stdout;
    assert!(listed.contains("    4h for client 127.0.0.1 (default), ana: a \"job\"\n"), "{listed}");
    let said =
        run(&gate, &["requests", "approve", &id, "--for", "2h", "--author", "bo"]).expect_code(0).stdout;
    assert!(said.starts_with("Approved: wanted.example for client 127.0.0.1 until 20"), "{said}");
    assert_eq!(rcode(&gate, [127, 0, 0, 1], "wanted.example"), "NOERROR");
    let rule = run(&gate, &["requests", "rule", &id]).expect_code(0).stdout;
    let path = gate.directory().join("own.toml");
    let text = rule.strip_prefix(&format!("# For {}\n", path.display())).unwrap_or_else(|| panic!("{rule}"));
    assert!(text.contains("purpose = 'a \"job\"'") && text.contains(&format!("ticket = \"{id}\"")), "{text}");
    gate.write_file("own.toml", &format!("{OWN}{text}"));
    run(&gate, &["check", "--allow", "outdated"]).expect_code(0);
    run(&gate, &["requests", "deny", &id, "--reason", "late"]).expect_code(1).expect_stderr(&[
        "HTTP 409",
        "already decided",
        "help: ",
    ]);
    run(&gate, &["request", "--status", "123"]).expect_code(2).expect_stderr(&["32 hexadecimal digits"]);
}
