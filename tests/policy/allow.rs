//! Tests grants: clients with the admin token allow names temporarily, and grants expire.

use serde_json::Value;
use tempfile::TempDir;

use crate::admin::token::{TOKEN, gate_with_token, write_token};
use crate::support::command::{Finished, namegate};
use crate::support::gate::Reload;
use crate::support::http::{Http, Reply};
use crate::support::{Gate, Response, Script, ScriptedUpstream, eventually};

/// Runs a command with namegate's settings file.
pub(crate) fn run(gate: &Gate, arguments: &[&str]) -> Finished {
    let admin = gate.admin().to_string();
    namegate(gate.directory(), &[arguments, &["--config", "namegate.toml", "--admin", &admin]].concat())
}

pub(crate) fn allow(gate: &Gate, name: &str, duration: &str) -> Finished {
    run(gate, &["allow", name, "--for", duration, "--reason", "a test", "--author", "tester"])
}

fn post(gate: &Gate, body: &str) -> Reply {
    Http::to(gate.admin()).token(TOKEN).json("POST", "/api/v1/allowed", body)
}

fn rcode(gate: &Gate, name: &str) -> String {
    gate.ask(name, "A").rcode()
}

#[test]
fn grant_and_revoke_take_effect() {
    let (upstream, _directory, gate) = gate_with_token();
    assert_eq!(run(&gate, &["allowed"]).expect_code(0).stdout, "No grants in force\n");
    assert_eq!(rcode(&gate, "wanted.example"), "NXDOMAIN");
    let said = allow(&gate, "*.Wanted.example", "1h").expect_code(0).stdout;
    assert!(said.starts_with("Granted: *.wanted.example until 20"), "{said}");
    assert_eq!(rcode(&gate, "a.wanted.example"), "NOERROR");
    assert_eq!(gate.ask("wanted.example", "A").ede_codes(), [15], "not the name itself");
    let listed = run(&gate, &["allowed"]).expect_code(0).stdout;
    assert!(
        listed.starts_with("*.wanted.example  until 20") && listed.ends_with("  tester: a test\n"),
        "{listed}"
    );
    let json: Value =
        serde_json::from_str(&run(&gate, &["allowed", "--json"]).expect_code(0).stdout).expect("JSON");
    assert_eq!((&json[0]["pattern"], &json[0]["author"]), (&"*.wanted.example".into(), &"tester".into()));
    gate.stderr.expect("*.wanted.example");

    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(rcode(&gate, "b.wanted.example"), "NOERROR", "a reload ends no grant");

    let said = run(&gate, &["allow", "*.wanted.example", "--revoke"]).expect_code(0).stdout;
    assert_eq!(said, "Revoked: *.wanted.example\n");
    assert_eq!(rcode(&gate, "a.wanted.example"), "NXDOMAIN", "its cache entries are not served");
    let again = run(&gate, &["allow", "*.wanted.example", "--revoke"]).expect_code(1);
    again.expect_stderr(&["request rejected (HTTP 404)", "help: run `namegate allowed`"]);
    assert_eq!(upstream.asked(), ["a.wanted.example A", "b.wanted.example A"]);
}

#[test]
fn it_ends_by_itself() {
    let (_upstream, _directory, gate) = gate_with_token();
    allow(&gate, "wanted.example", "2s").expect_code(0);
    assert_eq!(rcode(&gate, "wanted.example"), "NOERROR");
    eventually("the expiry", || (rcode(&gate, "wanted.example") == "NXDOMAIN").then_some(()));
    eventually("an empty list", || (gate.get("/api/v1/allowed").1 == "[]").then_some(()));
}

#[test]
fn the_reply_says_what_is_allowed_and_a_second_one_renews_it() {
    let (_upstream, _directory, gate) = gate_with_token();
    let first = post(&gate, r#"{"name": "Wanted.example", "for": "1h", "reason": " one "}"#);
    assert_eq!(first.status, 201, "{first:?}");
    let granted = first.value();
    assert_eq!((&granted["pattern"], &granted["reason"]), (&"wanted.example".into(), &"one".into()));
    assert_eq!(granted["author"], "unknown");
    let second = post(&gate, r#"{"name": "wanted.example", "for": "2h", "reason": "two", "author": "ops"}"#);
    assert_eq!(second.status, 201, "{second:?}");
    let list: Value = serde_json::from_str(&gate.get("/api/v1/allowed").1).expect("JSON");
    assert_eq!(list, Value::Array(vec![second.value()]));
    let gone = Http::to(gate.admin()).token(TOKEN).send("DELETE", "/api/v1/allowed/wanted.example", "");
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    let again = Http::to(gate.admin()).token(TOKEN).send("DELETE", "/api/v1/allowed/wanted.example", "");
    again.expect_error(404, &["no grant for `wanted.example`"]);
}

#[test]
fn who_is_refused_is_told_why() {
    let (_upstream, directory, gate) = gate_with_token();
    allow(&gate, "wanted.example", "25h")
        .expect_code(1)
        .expect_stderr(&["rejected (HTTP 422): `for` is too long: at most 1d", "\n  help: "]);
    allow(&gate, "*wanted.example", "1h")
        .expect_code(1)
        .expect_stderr(&["rejected (HTTP 422): `name`: ", "\n  help: write `"]);
    run(&gate, &["allow", "wanted.example", "--for", "1h"]).expect_code(2).expect_stderr(&["--reason"]);
    run(&gate, &["allow", "wanted.example", "--for", "soon", "--reason", "x"]).expect_code(2);
    run(&gate, &["allow", "a/../b", "--revoke"]).expect_code(1).expect_stderr(&["without port or path"]);
    let other = directory.path().join("other");
    std::fs::write(&other, "another-horse-battery-staple").expect("a file can be written");
    let with_other = |gate: &Gate| {
        let file = other.to_str().expect("a path");
        run(gate, &["allow", "wanted.example", "--for", "1h", "--reason", "x", "--token-file", file])
    };
    with_other(&gate).expect_code(1).expect_stderr(&["other users can read or write it", "chmod o="]);
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    with_other(&gate).expect_code(1).expect_stderr(&["rejected (HTTP 401)", "missing or wrong"]);
    assert_eq!(rcode(&gate, "wanted.example"), "NXDOMAIN");
}

#[test]
fn a_canary_that_is_allowed_for_a_while_is_found() {
    let (_upstream, _directory, gate) = gate_with_token();
    let refused = allow(&gate, "example.com", "1h").expect_code(1);
    refused.expect_stderr(&[
        "would allow `example.com`, which must not resolve",
        "help: use a narrower",
        "`--force`",
    ]);
    assert_eq!(gate.get("/api/v1/allowed").1, "[]");
    run(&gate, &["allow", "example.com", "--for", "1h", "--reason", "a test", "--force"]).expect_code(0);
    let server = gate.address().to_string();
    let proven = run(&gate, &["prove", "--server", &server]).expect_code(1).stdout;
    assert!(proven.contains("note: 1 grant in force"), "{proven}");
    assert!(proven.contains("example.com A at "), "{proven}");
}

#[test]
fn an_allowed_name_goes_where_its_zone_sends_it() {
    let (usual, corp) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    let private = ["secret.corp.example 60 A 192.0.2.1", "secret.corp.example 60 AAAA 2001:db8::1"];
    corp.by_default(Script::reply(Response::answering(&private)));
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("token");
    write_token(&path, &format!("{TOKEN}\n"), 0o600);
    let settings = format!(
        r#"
        admin.token_file = "{}"
        policy.zones = ["corp.toml"]
        policy.deny = ["secret.corp.example"]
        policy.enforce_expect = true
        "#,
        path.display()
    );
    let zone = format!(
        "servers = [\"{}\"]\n[[allow]]\nhost = \"*.corp.example\"\nexpect = \"private\"\n",
        corp.address()
    );
    let gate = Gate::with_files(&[usual.address()], &settings, &[("corp.toml", &zone)]);
    assert_eq!(gate.ask("secret.corp.example", "A").ede_codes(), [15], "denied");
    assert_eq!(rcode(&gate, "other.corp.example"), "SERVFAIL", "not private");
    allow(&gate, "*.corp.example", "1h").expect_code(0);
    assert_eq!(rcode(&gate, "secret.corp.example"), "NOERROR");
    assert_eq!(rcode(&gate, "other.corp.example"), "NOERROR");
    assert_eq!(usual.asked(), [""; 0], "a private name must not reach the default upstreams");
}

#[test]
fn what_is_allowed_outlives_a_restart() {
    let upstream = ScriptedUpstream::start();
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("token");
    write_token(&path, &format!("{TOKEN}\n"), 0o600);
    let state = directory.path().join("state");
    let token = format!("admin.token_file = \"{}\"\n", path.display());
    let settings = format!("{token}server.state_directory = \"{}\"", state.display());
    let gate = Gate::start(&upstream, &settings);
    allow(&gate, "wanted.example", "1h").expect_code(0);
    allow(&gate, "brief.example", "1s").expect_code(0);
    allow(&gate, "regretted.example", "1h").expect_code(0);
    run(&gate, &["allow", "regretted.example", "--revoke"]).expect_code(0);
    gate.terminate();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let gate = Gate::start(&upstream, &settings);
    assert_eq!(rcode(&gate, "wanted.example"), "NOERROR");
    assert_eq!(rcode(&gate, "brief.example"), "NXDOMAIN", "it has expired meanwhile");
    assert_eq!(rcode(&gate, "regretted.example"), "NXDOMAIN");
    assert_eq!(gate.metrics().sum("namegate_temporary_allowances", &[]), 1.0);
    let audit = std::fs::read_to_string(state.join("audit.log")).expect("an audit log");
    let events = |name: &str| {
        let lines = audit.lines().filter(|line| line.contains(name));
        lines
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["event"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(events("wanted.example"), ["allowed"]);
    assert_eq!(events("brief.example"), ["allowed", "ended"]);
    assert_eq!(events("regretted.example"), ["allowed", "revoked"]);
    let without = Gate::start(&upstream, &token);
    assert_eq!(rcode(&without, "wanted.example"), "NXDOMAIN", "nothing is stored without a state directory");
}

#[test]
fn author_under_sudo_is_the_person() {
    let (_upstream, directory, gate) = gate_with_token();
    let token = directory.path().join("token").display().to_string();
    for (user, sudo_user, author) in
        [("root", "alice", "alice"), ("root", "", "root"), ("bob", "alice", "bob")]
    {
        let output = std::process::Command::new(crate::support::command::binary())
            .args(["allow", "wanted.example", "--for", "1h", "--reason", "a test", "--token-file", &token])
            .args(["--admin", &gate.admin().to_string()])
            .envs([("USER", user), ("SUDO_USER", sudo_user)])
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        gate.stderr.expect(&format!("by \"{author}\": \"a test\""));
    }
}
