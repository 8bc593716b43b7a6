//! Tests that requests that change state need the admin token.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::support::command::namegate;
use crate::support::http::{Http, Reply};
use crate::support::settings::write_settings;
use crate::support::{Gate, ScriptedUpstream};

pub(crate) const TOKEN: &str = "correct-horse-battery-staple";
const WISH: &str = r#"{"name": "wanted.example", "for": "1h", "reason": "a test"}"#;

pub(crate) fn write_token(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).expect("a file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode can be set");
}

/// Namegate with an admin token, and the directory of the token file.
pub(crate) fn gate_with_token() -> (ScriptedUpstream, TempDir, Gate) {
    let upstream = ScriptedUpstream::start();
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("token");
    write_token(&path, &format!("{TOKEN}\n"), 0o600);
    let gate = Gate::start(&upstream, &format!("admin.token_file = \"{}\"", path.display()));
    (upstream, directory, gate)
}

/// Every request that changes something.
fn changing(http: &Http) -> [Reply; 2] {
    let allow = http.clone().json("POST", "/api/v1/allowed", WISH);
    [allow, http.send("DELETE", "/api/v1/allowed/wanted.example", "")]
}

#[test]
fn without_a_token_set_nothing_can_be_changed() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for http in
        [Http::to(gate.admin()), Http::to(gate.admin()).token(""), Http::to(gate.admin()).token(TOKEN)]
    {
        for reply in changing(&http) {
            reply.expect_error(403, &["no token is set", "help: set `admin.token_file`"]);
        }
    }
    let list = Http::to(gate.admin()).send("GET", "/api/v1/allowed", "");
    assert_eq!((list.status, list.body.as_str()), (200, "[]"));
    assert_eq!(gate.ask("wanted.example", "A").rcode(), "NXDOMAIN");
    assert!(upstream.queries().is_empty());
}

#[test]
fn wrong_token_changes_nothing_and_leaks_nothing() {
    let (upstream, _directory, gate) = gate_with_token();
    let http = || Http::to(gate.admin());
    for client in [
        http(),
        http().token(""),
        http().token("correct-horse-battery-stapl"),
        http().token("correct-horse-battery-staple2"),
        http().token("Correct-horse-battery-staple"),
        http().header(&format!("Authorization: Basic {TOKEN}")),
        http().header(&format!("Authorization: {TOKEN}")),
        http().header(&format!("Cookie: token={TOKEN}")),
    ] {
        for reply in changing(&client) {
            reply.expect_error(
                401,
                &["missing or wrong", "help: send the header `Authorization: Bearer TOKEN`"],
            );
            assert!(reply.head.contains("\r\nwww-authenticate: bearer"), "{reply:?}");
            assert!(!reply.body.contains(TOKEN));
        }
    }
    let refused = gate.metrics().sum("namegate_admin_tokens_refused_total", &[]);
    assert_eq!(refused, 16.0);
    let told: Vec<String> =
        gate.stderr.all().into_iter().filter(|line| line.contains("admin request refused, ")).collect();
    // One line in ten seconds, however many requests there are.
    assert!((1..=2).contains(&told.len()) && told[0].contains("no token: POST from 127.0.0.1:"), "{told:?}");
    assert!(!told.concat().contains("horse"), "{told:?}");
    let in_the_address = http().json("POST", &format!("/api/v1/allowed?token={TOKEN}"), WISH);
    in_the_address.expect_error(401, &["missing or wrong"]);
    assert_eq!(gate.ask("wanted.example", "A").rcode(), "NXDOMAIN");
    assert!(upstream.queries().is_empty());
}

#[test]
fn malformed_change_requests_are_refused() {
    let (_upstream, _directory, gate) = gate_with_token();
    let http = || Http::to(gate.admin()).token(TOKEN);
    let post = |body: &str| http().json("POST", "/api/v1/allowed", body);
    http()
        .header("Content-Type: text/plain")
        .send("POST", "/api/v1/allowed", WISH)
        .expect_error(415, &["application/json"]);
    http().send("POST", "/api/v1/allowed", WISH).expect_error(415, &["application/json"]);
    post(&format!("{{\"name\": \"{}\"}}", "x".repeat(17 * 1024))).expect_error(413, &["length limit"]);
    post("{\"name\": \"a.example\",}").expect_error(400, &["line 1 column 22"]);
    post("{\"name\": \"a.example\", \"fro\": \"1h\"}").expect_error(422, &["fro", "unknown field"]);
    post("{\"name\": \"a.example\", \"for\": 1}").expect_error(422, &["for: invalid type", "column 30"]);
    post("[]").expect_error(422, &["invalid length 0"]);
    post("{\"for\": \"1h\"}").expect_error(422, &["missing field `name`"]);
    post(&WISH.replace("wanted", "*wanted")).expect_error(422, &["`name`: `*`", "help: write"]);
    post(&WISH.replace("1h", "0s")).expect_error(422, &["`for` must be at least 1s", "help: "]);
    post(&WISH.replace("1h", "25h")).expect_error(422, &["at most 1d", "max_temporary"]);
    post(&WISH.replace("a test", " ")).expect_error(422, &["`reason` is empty"]);
    post(&WISH.replace("wanted.example", "*.com"))
        .expect_error(422, &["every domain under a public suffix", "\"wide\": true"]);
    http().send("DELETE", "/api/v1/allowed/a..b", "").expect_error(422, &["`name`: empty label"]);
}

#[test]
fn other_methods_and_other_sites_change_nothing() {
    let (_upstream, _directory, gate) = gate_with_token();
    let http = || Http::to(gate.admin()).token(TOKEN);
    for method in ["PUT", "PATCH", "DELETE"] {
        assert_eq!(http().json(method, "/api/v1/allowed", WISH).status, 405, "{method}");
    }
    for method in ["GET", "POST", "PUT", "PATCH"] {
        assert_eq!(http().json(method, "/api/v1/allowed/wanted.example", WISH).status, 405, "{method}");
    }
    let rebound = http().header("Host: rebound.evil.example").json("POST", "/api/v1/allowed", WISH);
    assert_eq!(rebound.status, 403, "{rebound:?}");
    assert!(rebound.body.contains("IP address"), "{rebound:?}");
    for path in ["/api/v1/status", "/api/v1/top", "/api/v1/recent", "/metrics", "/healthz", "/"] {
        assert_eq!(http().json("POST", path, WISH).status, 405, "{path}");
    }
}

#[test]
fn a_new_token_holds_at_once() {
    let (_upstream, directory, gate) = gate_with_token();
    let path = directory.path().join("token");
    let status =
        |token: &str| Http::to(gate.admin()).token(token).json("POST", "/api/v1/allowed", "{").status;
    assert_eq!(status(TOKEN), 400, "the token is right, and the body is not");
    write_token(&path, "another-horse-battery-staple", 0o600);
    assert_eq!((status(TOKEN), status("another-horse-battery-staple")), (401, 400));
    write_token(&path, TOKEN, 0o644);
    let reply = Http::to(gate.admin()).token(TOKEN).json("POST", "/api/v1/allowed", WISH);
    reply.expect_error(403, &["cannot be read", "see namegate's log"]);
    gate.stderr.expect("other users can read or write it");
    fs::remove_file(&path).expect("a file can be removed");
    assert_eq!(status(TOKEN), 403);
}

#[test]
fn invalid_token_file_prevents_start() {
    for (content, mode, told) in [
        (TOKEN, 0o644, "chmod o="),
        ("short", 0o600, "at least 16"),
        ("", 0o600, "has 0 characters"),
        ("two words and more of them", 0o600, "without spaces"),
        ("correct-horse-battery\nstaple-and-another", 0o600, "one line"),
    ] {
        let directory = TempDir::new().expect("a temporary directory");
        write_token(&directory.path().join("token"), content, mode);
        write_settings(
            directory.path(),
            &["127.0.0.1:53535".parse().expect("an address")],
            "admin.token_file = \"{dir}/token\"",
        );
        let run = namegate(directory.path(), &["serve", "--config", "namegate.toml"]).expect_code(1);
        let run = run.expect_stderr(&["token file", told, "help: "]);
        assert!(content.is_empty() || !run.stderr.contains(content), "{}", run.stderr);
    }
    let directory = TempDir::new().expect("a temporary directory");
    let upstream = ["127.0.0.1:53535".parse().expect("an address")];
    write_settings(directory.path(), &upstream, "admin.token_file = \"{dir}/nowhere\"");
    namegate(directory.path(), &["serve", "--config", "namegate.toml"]).expect_code(1).expect_stderr(&[
        "nowhere",
        "No such file",
        "help: set `admin.token_file`",
    ]);
}
