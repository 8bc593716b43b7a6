//! Tests grants that are for one client, a prefix or a client group.

use serde_json::Value;
use tempfile::TempDir;

use crate::admin::token::{TOKEN, write_token};
use crate::policy::allow::run;
use crate::support::command::Finished;
use crate::support::gate::Reload;
use crate::support::http::Http;
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream};

const A: [u8; 4] = [127, 0, 0, 2];
const B: [u8; 4] = [127, 0, 0, 3];
const BUILD: [u8; 4] = [127, 1, 0, 1];

const SETTINGS: &str = r#"
    server.allow_clients = ["127.0.0.0/8"]
    policy.dnssec_ancestors = true
    [[client]]
    name = "build"
    subnets = ["127.1.0.0/16"]
"#;

/// Namegate with a client group, an admin token and `more` settings; the directory has token and state.
fn gate_with_groups(upstream: &ScriptedUpstream, directory: &TempDir, more: &str) -> Gate {
    Gate::start(upstream, &settings(directory, more))
}

fn settings(directory: &TempDir, more: &str) -> String {
    let path = directory.path().join("token");
    write_token(&path, &format!("{TOKEN}\n"), 0o600);
    let state = directory.path().join("state");
    format!(
        "admin.token_file = \"{}\"\nserver.state_directory = \"{}\"\n{more}\n{SETTINGS}",
        path.display(),
        state.display()
    )
}

fn ask(gate: &Gate, client: [u8; 4], name: &str, qtype: &str) -> Message {
    gate.udp_from(client).ask(&Query::new(name, qtype).edns())
}

fn rcode(gate: &Gate, client: [u8; 4], name: &str) -> String {
    ask(gate, client, name, "A").rcode()
}

fn allow_for(gate: &Gate, name: &str, scope: &[&str]) -> Finished {
    let arguments = ["allow", name, "--for", "1h", "--reason", "a test", "--author", "tester"];
    run(gate, &[&arguments[..], scope].concat())
}

#[test]
fn grant_for_a_client_serves_no_other_even_from_the_cache() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let gate = gate_with_groups(&upstream, &directory, "");
    let said = allow_for(&gate, "wanted.example", &["--client", "127.0.0.2"]).expect_code(0).stdout;
    assert!(said.starts_with("Granted: wanted.example for client 127.0.0.2 until 20"), "{said}");
    for (client, name, expected) in [
        (B, "wanted.example", "NXDOMAIN"),
        (A, "wanted.example", "NOERROR"),
        (B, "wanted.example", "NXDOMAIN"),
        (A, "wanted.example", "NOERROR"),
        (BUILD, "wanted.example", "NXDOMAIN"),
    ] {
        assert_eq!(rcode(&gate, client, name), expected, "{client:?} {name}");
    }
    assert_eq!(upstream.asked(), ["wanted.example A"], "the second answer for A is cached");
}

#[test]
fn ancestor_of_a_clients_grant_is_one_for_that_client_only() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let gate = gate_with_groups(&upstream, &directory, "");
    allow_for(&gate, "a.wanted.example", &["--client", "127.0.0.2/32"]).expect_code(0);
    assert_eq!(rcode(&gate, A, "wanted.example"), "NOERROR", "NODATA: a name below it is allowed");
    assert_eq!(rcode(&gate, B, "wanted.example"), "NXDOMAIN");
    ask(&gate, B, "wanted.example", "DS");
    assert_eq!(upstream.asked(), [""; 0]);
    ask(&gate, A, "wanted.example", "DS");
    assert_eq!(upstream.asked(), ["wanted.example DS"]);
}

#[test]
fn one_name_can_be_granted_to_clients_and_a_group() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let gate = gate_with_groups(&upstream, &directory, "");
    allow_for(&gate, ".wanted.example", &["--client", "127.0.0.2"]).expect_code(0);
    allow_for(&gate, ".wanted.example", &["--group", "build"]).expect_code(0);
    let rcodes = |name| [A, B, BUILD].map(|client| rcode(&gate, client, name));
    assert_eq!(rcodes("x.wanted.example"), ["NOERROR", "NXDOMAIN", "NOERROR"]);
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(rcodes("x.wanted.example"), ["NOERROR", "NXDOMAIN", "NOERROR"], "after a reload");

    let listed = run(&gate, &["allowed"]).expect_code(0).stdout;
    assert!(listed.contains(".wanted.example for client 127.0.0.2  until "), "{listed}");
    assert!(listed.contains(".wanted.example for group build       until "), "{listed}");
    let list: Value = serde_json::from_str(&gate.get("/api/v1/allowed").1).expect("JSON");
    assert_eq!((&list[0]["client"], &list[1]["group"]), (&"127.0.0.2".into(), &"build".into()));

    run(&gate, &["allow", ".wanted.example", "--revoke"]).expect_code(1).expect_stderr(&["HTTP 404"]);
    let revoke = ["allow", ".wanted.example", "--revoke", "--client", "127.0.0.2/32"];
    let said = run(&gate, &revoke).expect_code(0).stdout;
    assert_eq!(said, "Revoked: .wanted.example for client 127.0.0.2\n");
    assert_eq!(rcodes("x.wanted.example"), ["NXDOMAIN", "NXDOMAIN", "NOERROR"]);
    run(&gate, &["allow", ".wanted.example", "--revoke", "--group", "build"]).expect_code(0);
    assert_eq!(rcodes("x.wanted.example"), ["NXDOMAIN"; 3]);
    assert_eq!(upstream.asked(), ["x.wanted.example A"], "the reload kept the cache entry");
    let audit = std::fs::read_to_string(directory.path().join("state/audit.log")).expect("an audit log");
    let revoked: Vec<&str> = audit.lines().filter(|line| line.contains("revoked")).collect();
    assert!(revoked[0].contains("\"client\":\"127.0.0.2\"") && revoked[1].contains("\"group\":\"build\""));
}

#[test]
fn group_that_a_reload_removes_has_no_grants() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let gate = gate_with_groups(&upstream, &directory, "");
    allow_for(&gate, "wanted.example", &["--group", "other"])
        .expect_code(1)
        .expect_stderr(&["no client group is named \"other\"", "help: use one of default, build"]);
    allow_for(&gate, "wanted.example", &["--group", "build"]).expect_code(0);
    assert_eq!(rcode(&gate, BUILD, "wanted.example"), "NOERROR");
    gate.write_settings(&settings(&directory, "").replace("name = \"build\"", "name = \"others\""));
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(rcode(&gate, BUILD, "wanted.example"), "NXDOMAIN");
    assert_eq!(upstream.asked(), ["wanted.example A"]);
}

#[test]
fn scoped_grants_outlive_a_restart() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let gate = gate_with_groups(&upstream, &directory, "");
    allow_for(&gate, "wanted.example", &["--client", "127.0.0.2"]).expect_code(0);
    gate.terminate();
    let gate = gate_with_groups(&upstream, &directory, "");
    assert_eq!([A, B].map(|client| rcode(&gate, client, "wanted.example")), ["NOERROR", "NXDOMAIN"]);
}

#[test]
fn inspected_alias_granted_to_one_client_is_blocked_for_others() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let answer = ["start.example 60 CNAME target.example", "target.example 60 A 192.0.2.1"];
    upstream.by_default(Script::reply(Response::answering(&answer)));
    let zone = "cname = \"inspect\"\n[[allow]]\nhost = \"start.example\"\n";
    let settings = settings(&directory, "policy.zones = [\"inspected.toml\"]")
        .replace("subnets", "allow = []\nzones = [\"inspected.toml\"]\nsubnets");
    let gate = Gate::with_files(&[upstream.address()], &settings, &[("inspected.toml", zone)]);
    assert_eq!(rcode(&gate, A, "start.example"), "NXDOMAIN");
    allow_for(&gate, "target.example", &["--client", "127.0.0.2"]).expect_code(0);
    for (client, expected) in [(A, "NOERROR"), (B, "NXDOMAIN"), (A, "NOERROR"), (BUILD, "NXDOMAIN")] {
        assert_eq!(rcode(&gate, client, "start.example"), expected, "{client:?}");
    }
}

#[test]
fn grant_to_one_client_changes_no_route_of_others() {
    let (usual, corp) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    let directory = TempDir::new().expect("a directory");
    let zone = format!("servers = [\"{}\"]\n[[allow]]\nhost = \"*.corp.example\"\n", corp.address());
    let settings = settings(&directory, "policy.zones = [\"corp.toml\"]");
    let gate = Gate::with_files(&[usual.address()], &settings, &[("corp.toml", &zone)]);
    allow_for(&gate, "a.corp.example", &["--client", "127.0.0.2"]).expect_code(0);
    assert_eq!([A, B].map(|client| rcode(&gate, client, "a.corp.example")), ["NOERROR"; 2]);
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!([A, B].map(|client| rcode(&gate, client, "a.corp.example")), ["NOERROR"; 2]);
    assert_eq!((usual.asked().len(), corp.asked()), (0, vec!["a.corp.example A".to_owned()]));
}

#[test]
fn a_request_names_its_clients_in_one_way() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let gate = gate_with_groups(&upstream, &directory, "");
    let http = Http::to(gate.admin()).token(TOKEN);
    for (scope, refused) in [
        (r#""client": "host-7""#, "`client` is not an IP address or prefix; help: "),
        (r#""client": "10.0.0.1", "group": "build""#, "exclude each other; help: "),
        (r#""group": "none\u001b[31m""#, "no client group is named \"none\\u{1b}[31m\"; help: "),
    ] {
        let body = format!(r#"{{"name": "wanted.example", "for": "1h", "reason": "r", {scope}}}"#);
        http.clone().json("POST", "/api/v1/allowed", &body).expect_error(422, &[refused]);
    }
    let body = r#"{"name": "wanted.example", "for": "1h", "reason": "r", "client": "127.0.0.9/31"}"#;
    let granted = http.clone().json("POST", "/api/v1/allowed", body);
    assert_eq!((granted.status, granted.value()["client"].as_str()), (201, Some("127.0.0.8/31")));
    let gone = http.send("DELETE", "/api/v1/allowed/wanted.example?client=127.0.0.8%2F31", "");
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(upstream.asked(), [""; 0]);
}
