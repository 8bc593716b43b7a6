//! Tests signing in, the two roles, and that another site uses no session.

use std::path::Path;

use tempfile::TempDir;

use crate::admin::token::{TOKEN, write_token};
use crate::policy::allow::run;
use crate::support::command::namegate;
use crate::support::http::{Http, Reply};
use crate::support::settings::write_settings;
use crate::support::{Gate, ScriptedUpstream};

const VIEWER: &str = "viewers-may-look-and-no-more";
const WISH: &str = r#"{"name": "wanted.example", "for": "1h", "reason": "a test"}"#;

/// Namegate with both tokens, the directory of their files, and more settings.
fn gate_with_tokens(settings: &str) -> (ScriptedUpstream, TempDir, Gate) {
    let upstream = ScriptedUpstream::start();
    let directory = TempDir::new().expect("a temporary directory");
    let path = |name: &str, token: &str| {
        let path = directory.path().join(name);
        write_token(&path, token, 0o600);
        path.display().to_string()
    };
    let (approver, viewer) = (path("token", TOKEN), path("viewer", VIEWER));
    let tokens = format!("admin.token_file = \"{approver}\"\nadmin.viewer_token_file = \"{viewer}\"\n");
    let gate = Gate::start(&upstream, &(tokens + settings));
    (upstream, directory, gate)
}

fn sign_in(http: Http, token: &str) -> Reply {
    http.json("POST", "/api/v1/session", &serde_json::json!({ "token": token }).to_string())
}

/// A browser that has signed in, and its CSRF token.
fn signed_in(gate: &Gate, token: &str) -> (Http, String) {
    let reply = sign_in(Http::to(gate.admin()), token);
    assert_eq!(reply.status, 200, "{reply:?}");
    let csrf = reply.value()["csrf"].as_str().expect("a CSRF token").to_owned();
    (Http::to(gate.admin()).header(&format!("Cookie: {}", cookie(&reply))), csrf)
}

/// `NAME=VALUE` of the cookie that a reply sets; the head is in lower case, which a value is not.
fn cookie(reply: &Reply) -> String {
    let line = reply.raw_head.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie: "));
    let line = line.unwrap_or_else(|| panic!("no cookie: {reply:?}"));
    line["set-cookie: ".len()..].split(';').next().expect("a pair").to_owned()
}

fn role(http: &Http) -> String {
    http.send("GET", "/api/v1/session", "").value()["role"].as_str().expect("a role").to_owned()
}

fn allow(http: &Http, csrf: &str) -> Reply {
    http.clone().header(&format!("X-Namegate-CSRF: {csrf}")).json("POST", "/api/v1/allowed", WISH)
}

#[test]
fn an_approver_signs_in_changes_and_signs_out() {
    let (_upstream, _directory, gate) = gate_with_tokens("admin.read = \"token\"");
    let stranger = Http::to(gate.admin());
    let shown = stranger.send("GET", "/api/v1/session", "");
    assert_eq!(shown.value(), serde_json::json!({ "role": "none", "can_sign_in": true }));
    stranger
        .send("GET", "/api/v1/status", "")
        .expect_error(401, &["not signed in; help: sign in on the page"]);

    let reply = sign_in(stranger, TOKEN);
    assert_eq!((reply.status, &reply.value()["role"]), (200, &"approver".into()));
    let attributes = "; path=/; httponly; samesite=strict; max-age=43200\r\n";
    assert!(reply.head.contains("set-cookie: namegate=") && reply.head.contains(attributes), "{reply:?}");
    assert!(!reply.body.contains(TOKEN) && !reply.head.contains("secure"), "{reply:?}");
    gate.stderr.expect("signed in as approver from 127.0.0.1:");

    let (browser, csrf) = signed_in(&gate, TOKEN);
    assert_eq!(role(&browser), "approver");
    assert_eq!(browser.send("GET", "/api/v1/session", "").value()["csrf"], csrf.as_str());
    assert_eq!(browser.send("GET", "/api/v1/status", "").status, 200);
    assert_eq!(allow(&browser, &csrf).status, 201);
    assert_eq!(gate.ask("wanted.example", "A").rcode(), "NOERROR");

    browser.send("DELETE", "/api/v1/session", "").expect_error(403, &["X-Namegate-CSRF"]);
    assert_eq!(role(&browser), "approver", "another site signs nobody out");
    let out =
        browser.clone().header(&format!("X-Namegate-CSRF: {csrf}")).send("DELETE", "/api/v1/session", "");
    assert_eq!(out.status, 204);
    assert!(out.head.contains("set-cookie: namegate=; ") && out.head.contains("max-age=0"), "{out:?}");
    assert_eq!(role(&browser), "none");
    allow(&browser, &csrf).expect_error(401, &["not signed in"]);
    assert_eq!(browser.send("GET", "/api/v1/status", "").status, 401);
    assert!(!gate.stderr.all().concat().contains("horse"), "no token in the log");
}

#[test]
fn a_viewer_reads_and_changes_nothing() {
    let (_upstream, _directory, gate) = gate_with_tokens("admin.read = \"token\"");
    let (browser, csrf) = signed_in(&gate, VIEWER);
    assert_eq!(role(&browser), "viewer");
    assert_eq!(browser.send("GET", "/api/v1/status", "").status, 200);
    allow(&browser, &csrf).expect_error(403, &["the viewer token may only read; help: use the admin token"]);
    let bearer = Http::to(gate.admin()).token(VIEWER);
    assert_eq!((role(&bearer), bearer.send("GET", "/api/v1/status", "").status), ("viewer".to_owned(), 200));
    for (method, path) in [
        ("POST", "/api/v1/allowed"),
        ("DELETE", "/api/v1/allowed/wanted.example"),
        ("POST", "/api/v1/reload"),
    ] {
        bearer.clone().json(method, path, WISH).expect_error(403, &["may only read"]);
    }
    assert_eq!(gate.ask("wanted.example", "A").rcode(), "NXDOMAIN");
}

#[test]
fn other_sites_cannot_use_a_session() {
    let (_upstream, _directory, gate) = gate_with_tokens("");
    let (browser, csrf) = signed_in(&gate, TOKEN);
    let with_csrf = browser.clone().header(&format!("X-Namegate-CSRF: {csrf}"));
    for (case, http, status) in [
        ("no CSRF token", browser.clone(), 403),
        (
            "that of another session",
            browser.header(&format!("X-Namegate-CSRF: {}", signed_in(&gate, TOKEN).1)),
            403,
        ),
        ("another site", with_csrf.clone().header("Sec-Fetch-Site: cross-site"), 403),
        ("another port of this host", with_csrf.clone().header("Sec-Fetch-Site: same-site"), 403),
        ("another origin", with_csrf.clone().header("Origin: http://evil.example"), 403),
        ("a sandboxed frame", with_csrf.clone().header("Origin: null"), 403),
    ] {
        assert_eq!(http.json("POST", "/api/v1/allowed", WISH).status, status, "{case}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let form = with_csrf.clone().header(&format!("Content-Type: {kind}"));
        assert_eq!(form.send("POST", "/api/v1/allowed", WISH).status, 415, "{kind}");
    }
    for line in ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"] {
        let reply = sign_in(Http::to(gate.admin()).header(line), TOKEN);
        reply.expect_error(403, &["a page of another site sent this request"]);
    }
    assert_eq!(gate.get("/api/v1/allowed").1, "[]");
    let own =
        with_csrf.header(&format!("Origin: http://{}", gate.admin())).header("Sec-Fetch-Site: same-origin");
    assert_eq!(own.json("POST", "/api/v1/allowed", WISH).status, 201);
}

#[test]
fn behind_tls_the_cookie_is_secure() {
    let (_upstream, _directory, gate) = gate_with_tokens("admin.hosts = [\"gate.corp.example\"]");
    let proxied =
        Http::to(gate.admin()).header("Host: gate.corp.example").header("Origin: https://gate.corp.example");
    let reply = sign_in(proxied.clone(), TOKEN);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(
        reply.head.contains("set-cookie: __host-namegate=") && reply.head.contains("; secure\r\n"),
        "{reply:?}"
    );
    assert_eq!(role(&proxied.header(&format!("Cookie: a=b; {}", cookie(&reply)))), "approver");
}

#[test]
fn sessions_end_with_their_token() {
    let (_upstream, directory, gate) = gate_with_tokens("admin.read = \"token\"");
    let ((approver, csrf), (viewer, _)) = (signed_in(&gate, TOKEN), signed_in(&gate, VIEWER));
    write_token(&directory.path().join("token"), "another-horse-battery-staple", 0o600);
    allow(&approver, &csrf).expect_error(401, &["not signed in"]);
    assert_eq!((role(&approver), role(&viewer)), ("none".to_owned(), "viewer".to_owned()));
    write_token(&directory.path().join("token"), TOKEN, 0o600);
    assert_eq!(role(&approver), "none", "it has ended for good");
    std::fs::remove_file(directory.path().join("viewer")).expect("a file can be removed");
    viewer.send("GET", "/api/v1/status", "").expect_error(403, &["a token cannot be read"]);
    assert_eq!(role(&signed_in(&gate, TOKEN).0), "approver", "the other token still works");
}

/// The status of a sign-in from the loopback address 127.0.0.`host`.
fn from(host: u8, gate: &Gate, token: &str) -> u16 {
    sign_in(Http::to(gate.admin()).from([127, 0, 0, host]), token).status
}

#[test]
fn a_flood_of_wrong_tokens_locks_out_only_its_sender() {
    let (_upstream, _directory, gate) = gate_with_tokens("");
    let guesses: Vec<u16> = (0..15).map(|_| from(66, &gate, "wrong-horse-battery-staple")).collect();
    assert_eq!((&guesses[..10], &guesses[11..]), (&[401; 10][..], &[429; 4][..]), "{guesses:?}");
    assert_eq!(from(66, &gate, TOKEN), 429, "its tokens are not looked at");
    assert_eq!(from(67, &gate, TOKEN), 200);
    assert!(gate.metrics().sum("namegate_admin_tokens_refused_total", &[]) >= 15.0);
    let told =
        gate.stderr.all().into_iter().filter(|line| line.contains("admin request refused, a wrong token"));
    assert_eq!(told.count(), 1, "one line in ten seconds");
}

#[test]
fn only_documents_and_health_are_open_to_all() {
    let (_upstream, _directory, gate) = gate_with_tokens("admin.read = \"token\"");
    let status = |http: &Http, path: &str| http.send("GET", path, "").status;
    let stranger = Http::to(gate.admin());
    for path in ["/", "/livez", "/healthz", "/api/v1/session"] {
        assert_eq!(status(&stranger, path), 200, "{path}");
    }
    assert_ne!(status(&stranger, "/readyz"), 401);
    let (mut closed, open) = (0, ["/api/v1/session", "/api/v1/requests/{id}"]);
    for path in super::limits::routes().iter().filter(|path| path.starts_with("/api/") || *path == "/metrics")
    {
        if !open.contains(&path.as_str()) {
            // 405: the path only takes changes.
            assert!(matches!(status(&stranger, path), 401 | 405), "{path}");
            closed += 1;
        }
    }
    assert!(closed >= 12, "{closed}");
    assert_eq!(status(&Http::to(gate.admin()).token(VIEWER), "/metrics"), 200);
    assert_eq!(stranger.send("POST", "/api/v1/session", "{\"tok").status, 415);
    let reply = stranger.json("POST", "/api/v1/session", &format!("{{\"tokn\": \"{TOKEN}\"}}"));
    reply.expect_error(422, &["not a sign-in"]);
    assert!(!reply.body.contains("horse"), "{reply:?}");
}

#[test]
fn without_a_token_nobody_signs_in() {
    let gate = Gate::start(&ScriptedUpstream::start(), "");
    let http = Http::to(gate.admin());
    let shown = http.send("GET", "/api/v1/session", "").value();
    assert_eq!(shown, serde_json::json!({ "role": "none", "can_sign_in": false }));
    sign_in(http.clone(), TOKEN)
        .expect_error(403, &["no token to sign in with; help: set `admin.token_file`"]);
    assert_eq!(http.send("GET", "/api/v1/status", "").status, 200, "this host reads without");
}

#[test]
fn commands_send_a_token_where_one_is_required() {
    let (_upstream, directory, gate) = gate_with_tokens("admin.read = \"token\"");
    let top = |gate: &Gate| run(gate, &["top", "--json"]);
    top(&gate).expect_code(0);
    run(&gate, &["allowed"]).expect_code(0);
    run(&gate, &["rules", "--unused", "1d"]).expect_code(0);
    run(&gate, &["learn"]).expect_code(0);
    let admin = gate.admin().to_string();
    let elsewhere = TempDir::new().expect("a temporary directory");
    let token = directory.path().join("viewer").display().to_string();
    namegate(elsewhere.path(), &["top", "--json", "--admin", &admin, "--token-file", &token]).expect_code(0);
    write_settings(elsewhere.path(), &["127.0.0.1:53535".parse().expect("an address")], "");
    let without = ["top", "--admin", &admin, "--config", "namegate.toml"];
    namegate(elsewhere.path(), &without)
        .expect_code(1)
        .expect_stderr(&["no admin token", "help: pass --token-file"]);
    write_token(&elsewhere.path().join("wrong"), "wrong-horse-battery-staple", 0o600);
    let wrong = [&without[..], &["--token-file", "wrong"]].concat();
    namegate(elsewhere.path(), &wrong).expect_code(1).expect_stderr(&["token missing or wrong"]);
}

#[test]
fn the_two_tokens_must_differ() {
    let directory = TempDir::new().expect("a temporary directory");
    let file = |name: &str| write_token(&Path::new(directory.path()).join(name), TOKEN, 0o600);
    file("token");
    file("viewer");
    let settings = "admin.token_file = \"{dir}/token\"\nadmin.viewer_token_file = \"{dir}/viewer\"";
    write_settings(directory.path(), &["127.0.0.1:53535".parse().expect("an address")], settings);
    let run = namegate(directory.path(), &["serve", "--config", "namegate.toml"]).expect_code(1);
    run.expect_stderr(&["viewer: has the same token as `admin.token_file`", "help: create a new one"]);
}
