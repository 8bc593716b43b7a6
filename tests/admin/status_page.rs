//! Tests the status page's overview and the view of a name: how it is served, and how it works in Chromium.
//!
//! Tests that open it need Debian's chromium and chromium-driver, so a plain `cargo test` skips them; `.ci/run`
//! installs both, runs the tests and stores the screenshots.

use std::time::{Duration, Instant};

use crate::support::browser::{Browser, key};
use crate::support::{Gate, Query, ScriptedUpstream, eventually};

const ZONE: &str = r#"title = "House rules"
source = "the house"
revised = 2026-01-01
[[deny]]
host = "*.denied.example"
reason = "not for us"
"#;

/// Names that break pages which treat them as anything but text: as a client's bytes, and as shown on the page.
const HOSTILE: [(&str, &str); 8] = [
    (r"<script>pwned=1</script>.evil.example", r"<script>pwned=1</script>.evil.example"),
    (r"<img\032src=x\032onerror=pwned=1>.evil.example", r"<img\032src=x\032onerror=pwned=1>.evil.example"),
    (r#""'`&lt;&amp;\036{pwned}.evil.example"#, r#"\"'`&lt\;&amp\;\${pwned}.evil.example"#),
    (r"line\010break\013\027[31mred.evil.example", r"line\010break\013\027[31mred.evil.example"),
    (r"\226\128\174\255\254\000.evil.example", r"\226\128\174\255\254\000.evil.example"),
    // A quote that ends a string in the settings, followed by a rule.
    (r"a','.com','.evil.example", r"a','.com','.evil.example"),
    (LONGEST, LONGEST),
    (BINARY, BINARY),
];
/// 255 bytes on the wire, with nowhere to break the line.
const LONGEST: &str = "\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.yyyyyyyyyyyyyyyyyyyyyy\
    yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy.zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\
    zzzzzzzzzzzzzzzzzzz.wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww";
/// No byte of it is valid UTF-8.
const BINARY: &str =
    r"\255\254\253\252\251\250\249\248\192\193\245\255\254\253\252\251\250\249\248\192\193\245.\128\129";

fn start(settings: &str) -> (ScriptedUpstream, Gate) {
    let upstream = ScriptedUpstream::start();
    let settings = format!("policy.zones = [\"{{dir}}/house.toml\"]\n{settings}");
    let gate = Gate::with_files(&[upstream.address()], &settings, &[("house.toml", ZONE)]);
    (upstream, gate)
}

fn open(gate: &Gate) -> Browser {
    let browser = open_at(gate, "/");
    browser.expect_text("#mode", &["enforce"]);
    browser
}

/// Opens `path` of the page on a desktop.
pub(super) fn open_at(gate: &Gate, path: &str) -> Browser {
    let browser = Browser::start();
    browser.resize(1280, 900);
    browser.open(&format!("http://{}{path}", gate.admin()));
    browser
}

/// Fails if the browser logged anything, including content policy violations.
#[track_caller]
pub(super) fn assert_quiet(browser: &Browser) {
    let console = browser.console();
    assert!(console.is_empty(), "the console is not empty:\n{}", console.join("\n"));
    assert_eq!(browser.run("return typeof pwned"), "undefined", "a name was executed as script");
}

/// Types a name into the explain box and reads the explanation.
fn explain(browser: &Browser, name: &str, verdict: &str) -> String {
    browser.run("document.getElementById('name').value = ''");
    browser.click("#name");
    browser.press(name);
    browser.click("#explain button");
    browser.expect_text("#explanation", &[verdict, name])
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn explain_box_shows_verdict_for_name() {
    let (upstream, gate) = start("");
    let browser = open(&gate);
    let allowed = explain(&browser, "ws.allowed.example", "Yes: allowed.");
    assert!(allowed.contains(".allowed.example\n") && allowed.contains("namegate.toml:"), "{allowed}");
    assert!(!allowed.contains("To allow this name"), "{allowed}");
    let denied = explain(&browser, "a.denied.example", "No: blocked.");
    assert!(denied.contains("*.denied.example") && denied.contains("house.toml:5"), "{denied}");
    let unlisted = explain(&browser, "api.elsewhere.example", "No: blocked.");
    assert!(unlisted.contains("not on the allowlist"), "{unlisted}");
    let snippet = browser.text("#explanation pre");
    assert!(snippet.contains("[[allow]]") && snippet.contains("api.elsewhere.example"), "{snippet}");
    browser.click("#explanation .copy");
    browser.expect_text("#explanation .copy", &["Copied"]);
    assert_eq!(browser.run("return getSelection().toString().trim()").as_str(), Some(snippet.trim()));
    assert_quiet(&browser);
    assert!(upstream.asked().is_empty(), "explaining sends no upstream query");
    browser.run("document.getElementById('name').value = 'a..b'");
    browser.click("#explain button");
    browser.expect_text("#explanation", &["No result.", "Not a domain name"]);
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn a_verdict_does_not_outlive_its_policy() {
    let (_upstream, gate) = start("");
    let browser = open(&gate);
    explain(&browser, "ws.more.example", "No: blocked.");
    gate.write_settings("policy.allow = [\".more.example\"]");
    gate.reload();
    browser.expect_text("#explanation", &["Yes: allowed.", ".more.example"]);
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn a_blocked_lookup_is_seen_at_once() {
    let (_upstream, gate) = start("");
    let browser = open(&gate);
    browser.expect_text("#tail + .empty", &["No blocked lookups yet."]);
    gate.ask("exfiltrate.elsewhere.example", "TXT");
    let asked = Instant::now();
    let parts = ["127.0.0.1", "exfiltrate.elsewhere.example", "TXT", "not on the allowlist"];
    browser.expect_text("#tail tbody", &parts);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    gate.ask("a.denied.example", "A");
    let newest = ["a.denied.example", "denied by *.denied.example", "house.toml:5"];
    browser.expect_text("#tail tbody tr:first-child", &newest);
    browser.click("#tail tbody tr:last-child .name");
    let explanation = ["No: blocked.", "exfiltrate.elsewhere.example TXT"];
    browser.expect_text("#explanation", &explanation);
    browser.run("location.hash = '#/'");
    browser.expect_text("#names", &["exfiltrate.elsewhere.example", "a.denied.example"]);
    browser.expect_text("#clients", &["127.0.0.1"]);
    browser.click("#pause");
    gate.ask("later.elsewhere.example", "A");
    browser.expect_text("#pause", &["Resume (1 new)"]);
    assert!(!browser.text("#tail tbody").contains("later.elsewhere.example"));
    browser.click("#pause");
    browser.expect_text("#tail tbody tr:first-child", &["later.elsewhere.example"]);
    assert_eq!(browser.run("return document.querySelectorAll('#tail tbody tr').length"), 3, "each row once");
    assert_quiet(&browser);
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn names_are_text_and_nothing_else() {
    let (_upstream, gate) = start("");
    let browser = open(&gate);
    for (bytes, _) in HOSTILE {
        gate.send(&Query::new(bytes, "A"));
    }
    let rows = HOSTILE.len();
    eventually("a row for each", || {
        (browser.run("return document.querySelectorAll('#tail tbody tr').length") == rows).then_some(())
    });
    eventually("the most blocked names", || {
        (browser.run("return document.querySelectorAll('#names tbody tr').length") == rows).then_some(())
    });
    let names =
        browser.run("return [...document.querySelectorAll('#tail .name')].map(name => name.textContent)");
    for (_, shown) in HOSTILE {
        // Simultaneous lookups on different threads have no order.
        assert!(
            names.as_array().is_some_and(|names| names.iter().any(|name| name == shown)),
            "{shown} in {names}"
        );
    }
    assert_eq!(browser.run("return document.querySelectorAll('main img, main script').length"), 0);
    assert_quiet(&browser);
    for (row, name) in names.as_array().into_iter().flatten().enumerate() {
        browser.run("location.hash = '#/'");
        browser.expect_text("#explanation", &["Checks the name"]);
        browser.click(&format!("#tail tbody tr:nth-child({}) .name", row + 1));
        eventually("the name in its view", || {
            (browser.run("return document.getElementById('name').value") == *name).then_some(())
        });
        browser.expect_text("#explanation .verdict", &["No"]);
    }
    for view in ["#/", &format!("#/name/{LONGEST}"), "#/log"] {
        browser.run(&format!("location.hash = '{view}'"));
        for width in [390, 360] {
            browser.resize(width, 844);
            eventually("a page without a horizontal scrollbar", || {
                (browser.run("return document.documentElement.scrollWidth") == width).then_some(())
            });
        }
    }
    assert_quiet(&browser);
}

#[test]
fn every_name_that_is_shown_can_be_explained() {
    let (_upstream, gate) = start("");
    for (_, shown) in HOSTILE {
        let encoded: String = shown.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let (status, explanation) = gate.get(&format!("/api/v1/explain?name={encoded}"));
        assert_eq!(status, 200, "{shown}: {explanation}");
        let explanation: serde_json::Value = serde_json::from_str(&explanation).unwrap();
        assert_eq!(explanation["name"], shown);
        let snippet: toml::Table = explanation["snippet"].as_str().unwrap_or_default().parse().unwrap();
        let allowed = snippet.get("policy").and_then(|policy| policy.get("allow")?.as_array());
        assert!(
            allowed.is_none_or(|allowed| allowed.len() == 1),
            "the name adds rules of its own: {snippet}"
        );
    }
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn the_keyboard_is_enough() {
    let (_upstream, gate) = start("");
    gate.ask("b.denied.example", "A");
    let browser = open(&gate);
    browser.expect_text("#tail tbody", &["b.denied.example"]);
    assert_eq!(
        browser.run("return document.activeElement.tagName"),
        "BODY",
        "the page takes no keyboard focus"
    );
    tab_to(&browser, "#name");
    browser.press(&format!("ws.allowed.example{}", key::ENTER));
    browser.expect_text("#explanation", &["Yes: allowed.", "ws.allowed.example A"]);
    let outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid", "the focus is visible");
    tab_to(&browser, "header nav a[href='./#/']");
    browser.press(&key::ENTER.to_string());
    tab_to(&browser, "#tail .name");
    browser.press(&key::ENTER.to_string());
    browser.expect_text("#explanation", &["No: blocked.", "b.denied.example A"]);
    assert_quiet(&browser);
}

/// Presses Tab until `selector` has the focus.
pub(super) fn tab_to(browser: &Browser, selector: &str) {
    let focused = format!("return document.activeElement.matches(\"{selector}\")");
    for _ in 0..80 {
        browser.press(&key::TAB.to_string());
        if browser.run(&focused) == true {
            return;
        }
    }
    panic!("{selector} cannot be reached by keyboard");
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn page_warns_when_offline_or_observing() {
    let (_upstream, gate) = start("policy.mode = \"observe\"");
    let browser = Browser::start();
    browser.open(&format!("http://{}/", gate.admin()));
    browser.expect_text("#mode", &["OBSERVE"]);
    browser.expect_text("#warnings", &["bserve"]);
    assert_eq!(browser.run("return document.title"), "namegate: 1 warning");
    gate.ask("api.elsewhere.example", "A");
    browser.expect_text("#tail tbody", &["would block", "api.elsewhere.example"]);
    drop(gate);
    browser.expect_text("#unreachable", &["namegate does not respond.", "old."]);
    assert_eq!(browser.run("return document.title"), "namegate: unreachable");
}

#[test]
#[ignore = "needs chromium and chromedriver (Debian packages chromium, chromium-driver); .ci/run installs them"]
fn screenshots() {
    let (_upstream, gate) = start("");
    let client = gate.udp();
    let browser = open(&gate);
    for round in 0..4 {
        for name in ["telemetry.example", "ocsp.example", "registry.example", "b.denied.example", LONGEST] {
            for qtype in ["A", "AAAA"].iter().take(1 + round % 2) {
                client.ask(&Query::new(name, qtype));
                client.ask(&Query::new(&format!("ws-{round}.allowed.example"), qtype));
            }
        }
        std::thread::sleep(Duration::from_millis(600));
    }
    browser.expect_text("#names", &["registry.example"]);
    for (device, width, height) in [("desktop", 1280, 900), ("phone", 390, 844)] {
        for scheme in ["light", "dark"] {
            browser.resize(width, height);
            browser.prefer(scheme);
            browser.run("scrollTo(0, 0)");
            let path = browser.screenshot(&format!("status-page-{device}-{scheme}"));
            eprintln!("{}", path.display());
        }
    }
    assert_quiet(&browser);
}
