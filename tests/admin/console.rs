//! Tests the page's views in Chromium: problems, search, requests, sign-in, and that all can be used by everyone.

use std::fmt::Write;

use serde_json::json;
use tempfile::TempDir;

use super::status_page::{assert_quiet, open_at, tab_to};
use super::token::{TOKEN, write_token};
use crate::support::browser::{Browser, key};
use crate::support::script::Script;
use crate::support::{Gate, Query, ScriptedUpstream, eventually};

const VIEWER: &str = "a-token-that-may-only-read";

/// Namegate with both tokens, requests and client groups, and the directory of the token files.
fn start(settings: &str) -> (ScriptedUpstream, TempDir, Gate) {
    let upstream = ScriptedUpstream::start();
    let directory = TempDir::new().expect("a temporary directory");
    let mut all = String::new();
    for (key, token) in [("token_file", TOKEN), ("viewer_token_file", VIEWER)] {
        let path = directory.path().join(key);
        write_token(&path, token, 0o600);
        writeln!(all, "admin.{key} = \"{}\"", path.display()).expect("a string grows");
    }
    let gate = Gate::start(&upstream, &format!("{all}requests.enabled = true\n{settings}"));
    (upstream, directory, gate)
}

/// Puts `text` in place of what the field has.
fn type_into(browser: &Browser, field: &str, text: &str) {
    browser.run(&format!("document.querySelector('{field}').value = ''"));
    browser.click(field);
    browser.press(text);
}

/// Signs in with the button of the header.
fn sign_in(browser: &Browser, token: &str) {
    browser.expect_text("#sign-in", &["Sign in"]);
    browser.click("#sign-in");
    type_into(browser, "#token", token);
    browser.press(&key::ENTER.to_string());
}

/// The visible elements with more green than other colours, in what they are made of.
fn green_things(browser: &Browser) -> String {
    let script = "
        const parts = ['color', 'backgroundColor', 'borderTopColor', 'fill', 'stroke'];
        const isGreen = (color) => {
          const [red, green, blue] = (color.match(/[0-9.]+/g) ?? []).map(Number);
          return green > red + 20 && green > blue + 20;
        };
        const seen = [...document.body.querySelectorAll('*')].filter((node) => node.checkVisibility());
        return seen.filter((node) => parts.some((part) => isGreen(getComputedStyle(node)[part])))
          .map((node) => node.outerHTML.slice(0, 80)).join('\\n')";
    browser.run(script).as_str().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn nothing_is_green_while_clients_get_servfail() {
    let (upstream, _directory, gate) = start("upstream.deadline = \"1s\"");
    let browser = open_at(&gate, "/");
    gate.ask("ws.allowed.example", "A");
    eventually("green while all is well", || (!green_things(&browser).is_empty()).then_some(()));
    assert_eq!(browser.text("#errors"), "");
    upstream.by_default(Script::silent());
    upstream.ignore_probes();
    for number in 0..20 {
        assert_eq!(gate.ask(&format!("lost-{number}.allowed.example"), "A").rcode(), "SERVFAIL");
    }
    browser.expect_text("#errors", &["SERVFAIL"]);
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        assert_eq!(green_things(&browser), "", "{scheme}");
    }
    let title = browser.run("return document.title");
    assert!(title.as_str().is_some_and(|title| title.contains("problem")), "{title}");
    let icon = browser.run("return document.querySelector('link[rel=icon]').href");
    assert!(icon.as_str().is_some_and(|icon| icon.contains("c4251c")), "the icon is red: {icon}");
    browser.expect_text("#total-errors", &["20"]);
    browser.run("location.hash = '#/name/lost-0.allowed.example'");
    browser.expect_text("#explanation", &["Allowed, but clients get errors now"]);
    assert_eq!(green_things(&browser), "");
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn search_finds_what_a_client_looked_up() {
    let (_upstream, _directory, gate) = start("");
    for (client, name) in [
        (2, "telemetry.elsewhere.example"),
        (2, "ws.allowed.example"),
        (3, "other.elsewhere.example"),
        (2, "<script>pwned=1</script>.evil.example"),
    ] {
        gate.udp_from([127, 0, 0, client]).ask(&Query::new(name, "A"));
    }
    let browser = open_at(&gate, "/#/log");
    eventually("all lookups are in the history", || {
        browser.click("#log button.main");
        let found = browser.text("#found");
        ["telemetry", "ws.allowed", "other", "<script>"].iter().all(|name| found.contains(name)).then_some(())
    });
    type_into(&browser, "#log [name=client]", "127.0.0.2");
    browser.run("document.querySelector('#log [name=decision]').value = 'blocked'");
    browser.click("[data-period=today]");
    let found = ["127.0.0.2", "telemetry.elsewhere.example", "not on the allowlist", "<script>"];
    browser.expect_text("#found tbody", &found);
    let hash = browser.run("return location.hash");
    let hash = hash.as_str().unwrap_or_default();
    assert!(hash.starts_with("#/log?client=127.0.0.2&decision=blocked&since="), "{hash}");

    // The address leads there again.
    let other = open_at(&gate, &format!("/{hash}"));
    let text = other.expect_text("#found tbody", &found);
    assert!(!text.contains("other.elsewhere.example") && !text.contains("ws.allowed.example"), "{text}");

    other.click("#found tbody td:nth-child(2) a");
    other.expect_text("#client-heading", &["127.0.0.2"]);
    other.expect_text("#client-charts-blocked", &["2"]);
    other.expect_text("#client-blocked", &["telemetry.elsewhere.example"]);
    other.expect_text("#client-names", &["ws.allowed.example"]);
    other.click("#client-names tbody tr .name");
    other.expect_text("#name-clients", &["127.0.0.2"]);
    assert_quiet(&other);
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn request_is_approved_with_the_keyboard_and_expires() {
    let (upstream, _directory, gate) = start("");
    let person = open_at(&gate, "/request?name=wanted.elsewhere.example");
    tab_to(&person, "#ask [name=reason]");
    person.press(&format!("for the demo{}", key::ENTER));
    person.expect_text("#asked-request", &["pending", "wanted.elsewhere.example", "for the demo"]);
    assert_eq!(gate.ask("wanted.elsewhere.example", "A").rcode(), "NXDOMAIN");

    let browser = open_at(&gate, "/#/requests");
    let list = browser.expect_text("#requests", &["pending", "wanted.elsewhere.example", "for the demo"]);
    assert!(!list.contains("Approve"), "no change without signing in: {list}");
    tab_to(&browser, "#sign-in");
    browser.press(&key::ENTER.to_string());
    browser.expect_text("#sign-in-title", &["Sign in"]);
    browser.press(&format!("{TOKEN}{}", key::ENTER));
    browser.expect_text("#role", &["approver"]);
    tab_to(&browser, "#requests summary");
    browser.press(&key::ENTER.to_string());
    // So that the test can see the end.
    browser.run("document.querySelector('#requests [name=for]').options[0].value = '5s'");
    browser.run("document.querySelector('#requests [name=for]').selectedIndex = 0");
    tab_to(&browser, "#requests button.main");
    browser.press(&key::ENTER.to_string());
    browser.expect_text("#requests", &["approved"]);
    browser.expect_text("#grants", &["wanted.elsewhere.example"]);
    assert_eq!(gate.ask("wanted.elsewhere.example", "A").rcode(), "NOERROR");
    assert_eq!(upstream.count("wanted.elsewhere.example"), 1);
    person.expect_text("#asked-request", &["approved"]);
    eventually("the grant ends", || {
        (gate.ask("wanted.elsewhere.example", "A").rcode() == "NXDOMAIN").then_some(())
    });
    person.expect_text("#asked-request", &["expired"]);
    browser.expect_text("#requests", &["expired"]);
    browser.expect_text("#grants + .empty", &["No temporary allows."]);
    assert_quiet(&browser);
    assert_quiet(&person);
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn request_is_denied_with_a_reason() {
    let (_upstream, _directory, gate) = start("");
    let browser = open_at(&gate, "/request?name=unwanted.elsewhere.example");
    type_into(&browser, "#ask [name=reason]", "no idea");
    browser.click("#ask button.main");
    browser.expect_text("#asked-request", &["pending"]);
    let request = browser.run("return location.pathname + location.search");
    browser.open(&format!("http://{}/#/requests", gate.admin()));
    sign_in(&browser, TOKEN);
    browser.expect_text("#requests", &["Deny"]);
    browser.click("#requests details:nth-of-type(2) summary");
    type_into(&browser, "#requests [name=reason]", "Use the <b>mirror</b>.");
    browser.press(&key::ENTER.to_string());
    browser.expect_text("#requests", &["denied", "Use the <b>mirror</b>."]);
    browser.click("#requests details summary");
    browser.expect_text("#requests pre", &["unwanted.elsewhere.example"]);
    browser.open(&format!("http://{}{}", gate.admin(), request.as_str().unwrap_or_default()));
    browser.expect_text("#asked-request", &["denied", "Use the <b>mirror</b>."]);
    assert_eq!(gate.ask("unwanted.elsewhere.example", "A").rcode(), "NXDOMAIN");
    assert_quiet(&browser);
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn approver_allows_a_name_for_one_client() {
    let (_upstream, _directory, gate) = start("");
    let browser = open_at(&gate, "/#/name/wanted.elsewhere.example?client=127.0.0.2");
    sign_in(&browser, TOKEN);
    browser.expect_text("#explanation", &["No: blocked.", "Allow this name for a time"]);
    type_into(&browser, "#explanation [name=reason]", "an incident");
    browser.press(&key::ENTER.to_string());
    browser.expect_text("#explanation", &["Yes: allowed.", "an incident"]);
    let rcode =
        |client| gate.udp_from([127, 0, 0, client]).ask(&Query::new("wanted.elsewhere.example", "A")).rcode();
    assert_eq!([rcode(2), rcode(3)], ["NOERROR", "NXDOMAIN"]);
    browser.run("location.hash = '#/requests'");
    browser.expect_text("#grants", &["wanted.elsewhere.example", "client 127.0.0.2"]);
    browser.click("#grants button");
    browser.expect_text("#decided", &["Revoked: wanted.elsewhere.example"]);
    assert_eq!([rcode(2), rcode(3)], ["NXDOMAIN", "NXDOMAIN"]);
    assert_quiet(&browser);
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn reading_needs_a_sign_in_where_the_settings_say_so() {
    let (_upstream, _directory, gate) = start("admin.read = \"token\"");
    gate.udp_from([127, 0, 0, 2]).ask(&Query::new("telemetry.elsewhere.example", "A"));
    let browser = open_at(&gate, "/#/client/127.0.0.2");
    browser.expect_text("#sign-in-title", &["Sign in"]);
    assert!(!browser.text("main").contains("telemetry"), "nothing is shown before");
    type_into(&browser, "#token", "wrong");
    browser.press(&key::ENTER.to_string());
    browser.expect_text("#sign-in-form .outcome", &["Wrong token."]);
    type_into(&browser, "#token", VIEWER);
    browser.press(&key::ENTER.to_string());
    browser.expect_text("#role", &["viewer"]);
    browser.expect_text("#client-heading", &["127.0.0.2"]);
    browser.run("location.hash = '#/name/telemetry.elsewhere.example'");
    let explanation = browser.expect_text("#explanation", &["No: blocked.", "Request this name"]);
    assert!(!explanation.contains("Allow this name"), "a viewer changes nothing: {explanation}");
    browser.click("#sign-out");
    browser.expect_text("#sign-in-title", &["Sign in"]);
}

/// Every view, with what it shows when it is ready.
const VIEWS: [(&str, &str, &str, &str); 7] = [
    ("overview", "/", "#tail", "elsewhere"),
    ("lookups", "/#/log", "#found", "elsewhere"),
    ("client", "/#/client/127.0.0.1", "#client-names", "example"),
    ("name", "/#/name/telemetry.elsewhere.example?client=127.0.0.1", "#explanation", "blocked"),
    ("requests", "/#/requests", "#requests", "wanted"),
    ("request", "/request?name=wanted.example", "#ask-title", "Request"),
    ("sign-in", "/#/sign-in", "#sign-in-title", "Sign in"),
];

#[test]
#[ignore = "needs chromium, chromedriver and axe-core (NAMEGATE_AXE); .ci/run installs them"]
fn every_view_is_accessible_in_every_form() {
    let (upstream, _directory, gate) = start("");
    let browser = open_at(&gate, "/");
    for name in ["telemetry.elsewhere.example", "ws.allowed.example", "<i>.elsewhere.example"] {
        gate.ask(name, "A");
    }
    let request = json!({ "name": "wanted.elsewhere.example", "reason": "a demo" });
    crate::support::http::Http::to(gate.admin()).json("POST", "/api/v1/requests", &request.to_string());
    for outage in [false, true] {
        if outage {
            upstream.by_default(Script::silent());
            upstream.ignore_probes();
            for number in 0..5 {
                gate.ask(&format!("lost-{number}.allowed.example"), "A");
            }
            browser.open(&format!("http://{}/", gate.admin()));
            browser.expect_text("#errors", &["SERVFAIL"]);
        }
        for (view, path, ready, word) in VIEWS {
            browser.open("about:blank");
            browser.open(&format!("http://{}{path}", gate.admin()));
            if view == "sign-in" {
                browser.expect_text("#sign-in", &["Sign in"]);
                browser.click("#sign-in");
            }
            browser.expect_text(ready, &[word]);
            for (device, width, height) in [("desktop", 1280, 900), ("phone", 390, 844)] {
                for scheme in ["light", "dark"] {
                    browser.resize(width, height);
                    browser.prefer(scheme);
                    let place = format!("{view} on a {device} in {scheme}, outage: {outage}");
                    assert_eq!(browser.barriers(), Vec::<String>::new(), "{place}");
                    let scrolled = browser.run("return document.documentElement.scrollWidth");
                    assert_eq!(scrolled, width, "{place}: no horizontal scroll");
                    if !outage {
                        browser.screenshot(&format!("{view}-{device}-{scheme}"));
                    }
                }
            }
            browser.resize(1280, 900);
        }
    }
    assert_quiet(&browser);
}
