//! Tests dashboard, rules and alerts: the metrics they query exist, and every alert is documented and tested.
//!
//! The end-to-end test needs Debian's prometheus, so a plain `cargo test` skips it; `.ci/run` installs it.

mod files;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use self::files::{catalogue, children, dashboard, metric_names, panel_queries, panels, read, rules, values};
use self::traffic::Traffic;
use crate::support::gate::Reload;
use crate::support::prometheus::Prometheus;
use crate::support::{Gate, Response, Script, ScriptedUpstream};

/// Time until every query has data: a few scrapes and evaluations, one per second.
const SETTLING: Duration = Duration::from_secs(40);

#[test]
fn every_metric_asked_for_exists() {
    let catalogue = catalogue();
    assert!(catalogue.len() > 30, "{catalogue:?}");
    let (recording, alerts, dashboard) = (rules("rules.yml"), rules("alerts.yml"), dashboard().to_string());
    let recorded: BTreeSet<&str> = values(&recording, "- record:").into_iter().collect();
    let base = |name: &str| {
        let suffixes = ["_bucket", "_sum", "_count"];
        suffixes.into_iter().find_map(|suffix| name.strip_suffix(suffix).map(str::to_owned))
    };
    let exists = |name: &str| {
        recorded.contains(name)
            || catalogue.contains(name)
            || base(name).is_some_and(|name| catalogue.contains(&name))
    };
    let texts = [&recording, &alerts, &dashboard];
    let unknown: Vec<&str> =
        texts.into_iter().flat_map(|text| metric_names(text)).filter(|name| !exists(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not in docs/metrics.md");
    for name in &recorded {
        let uses = [&recording, &alerts, &dashboard].map(|text| text.matches(name).count());
        assert!(uses.iter().sum::<usize>() > 1, "{name} is recorded and never used");
    }
}

#[test]
fn panels_lie_side_by_side() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    // The panels of a collapsed row have the places that they take once it is open.
    for group in std::iter::once(&dashboard).chain(children(&dashboard)) {
        let mut taken = BTreeMap::new();
        for panel in children(group) {
            let title = panel["title"].as_str().expect("a title");
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "duplicate id of {title}");
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a number"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{title} is not on the grid");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                if let Some(other) = taken.insert(cell, title) {
                    panic!("{title} overlaps {other}");
                }
            }
        }
    }
}

#[test]
fn only_errors_and_blocked_names_are_open() {
    let dashboard = dashboard();
    let rows: Vec<&Value> = children(&dashboard).iter().filter(|panel| panel["type"] == "row").collect();
    let open = |row: &&&Value| row["collapsed"] == false;
    let titles: Vec<&Value> = rows.iter().filter(open).map(|row| &row["title"]).collect();
    assert_eq!(titles, ["Is it working?", "What is blocked"]);
    assert!(rows[..2].iter().all(|row| open(&row)), "another row is above them");
}

#[test]
fn panels_say_what_they_show() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "namegate");
    for panel in panels(&dashboard).filter(|panel| panel["type"] != "row") {
        let title = &panel["title"];
        let description = panel["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.'), "{title} has no description");
        if panel["type"] != "text" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        }
    }
    for (title, expression) in panel_queries(&dashboard) {
        assert!(
            expression.contains("instance=~\"$instance\""),
            "{title} shows instances that are not selected"
        );
        let windows = expression.matches('[').count();
        assert_eq!(expression.matches("[$__rate_interval]").count(), windows, "{title}: {expression}");
    }
}

#[test]
fn every_alert_is_explained() {
    let alerts = read("config/prometheus/alerts.yml");
    let runbook = read("docs/operations.md");
    let headings: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let names = values(&alerts, "- alert:");
    assert!(names.len() > 10, "{names:?}");
    let urls = values(&alerts, "runbook_url:");
    let page = r#"{{ or $externalLabels.runbook "docs/operations.md" }}"#;
    let wanted: Vec<String> = names.iter().map(|name| format!("'{page}#{}'", name.to_lowercase())).collect();
    assert_eq!(urls, wanted);
    for name in &names {
        assert!(headings.contains(name), "docs/operations.md has no heading {name}");
    }
    for heading in headings.iter().filter(|heading| heading.starts_with("Namegate")) {
        assert!(names.contains(heading), "docs/operations.md explains {heading}, which is not an alert");
    }
    for key in ["severity:", "summary:", "description:", "for:"] {
        assert_eq!(values(&alerts, key).len(), names.len(), "{key}");
    }
}

/// The rows of the table of alerts in `text`, in which `[NAME](#anchor)` is `NAME`.
fn alert_table(text: &str) -> Vec<String> {
    let row = |line: &str| {
        let cells = line.strip_prefix("| ")?.trim_start_matches('[');
        let (cell, rest) = cells.split_once(" | ")?;
        let name = cell.split(']').next().unwrap_or(cell);
        name.starts_with("Namegate").then(|| format!("| {name} | {rest}"))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn runbook_panel_has_every_alert_with_a_command() {
    let dashboard = dashboard();
    let texts = panels(&dashboard).filter_map(|panel| panel["options"]["content"].as_str());
    let shown: Vec<String> = texts.flat_map(alert_table).collect();
    assert_eq!(shown, alert_table(&read("docs/operations.md")), "the panel differs from docs/operations.md");
    let alerts = read("config/prometheus/alerts.yml");
    let mut names = values(&alerts, "- alert:");
    names.dedup();
    let cells: Vec<Vec<&str>> = shown.iter().map(|row| row.split(" | ").collect()).collect();
    let listed: Vec<&str> = cells.iter().map(|row| row[0].trim_start_matches("| ")).collect();
    assert_eq!(listed, names);
    for row in &cells {
        assert!(row.len() == 4 && row[3].starts_with('`'), "{} has no command", row[0]);
    }
}

#[test]
fn every_alert_is_tested() {
    let (alerts, tests) = (read("config/prometheus/alerts.yml"), read("config/prometheus/alerts_test.yml"));
    let (mut rules, mut firing, mut silent) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for name in values(&alerts, "- alert:") {
        *rules.entry(name).or_insert(0) += 1;
    }
    for case in tests.split("alertname: ").skip(1) {
        let (name, rest) = case.split_once('\n').expect("a line");
        let count = if rest.trim_start().starts_with("exp_alerts: []") { &mut silent } else { &mut firing };
        *count.entry(name).or_insert(0) += 1;
    }
    for (name, count) in rules {
        assert!(firing.get(name).is_some_and(|cases| *cases >= count), "no test lets a rule of {name} fire");
        assert!(silent.contains_key(name), "{name} has no test just below its threshold");
    }
}

fn admin_of(gate: &Gate) -> SocketAddr {
    let line = gate.stderr.expect("admin on http://");
    let (_, rest) = line.split_once("admin on http://").expect("an address");
    rest.split([' ', '/']).next().and_then(|address| address.parse().ok()).expect("an address")
}

/// Two hours of past samples of `instance`, for expressions that compare with the past.
fn quiet_past(instance: SocketAddr) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs();
    let series = format!("instance:namegate_blocked:rate5m{{instance=\"{instance}\",job=\"namegate\"}}");
    (35..120).rev().map(|minutes| format!("{series} 0.2 {}\n", now - minutes * 60)).collect()
}

/// The query with all variables set to "all" and a range of the last minutes.
fn filled_in(expression: &str) -> String {
    [("$__rate_interval", "1m"), ("$instance", ".*"), ("$zone", ".*")]
        .into_iter()
        .fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value))
}

/// Every template variable that is queried: its name, label and series.
fn variables(dashboard: &Value) -> Vec<(String, String, String)> {
    let list = dashboard["templating"]["list"].as_array().expect("variables");
    let variable = |variable: &Value| {
        let query = variable["query"]["query"].as_str()?;
        let inner = query.strip_prefix("label_values(")?.strip_suffix(')')?;
        let (series, label) = inner.rsplit_once(", ")?;
        Some((variable["name"].as_str()?.to_owned(), label.to_owned(), filled_in(series)))
    };
    list.iter().filter_map(variable).collect()
}

/// All rules with their state in Prometheus.
fn judged_rules(prometheus: &Prometheus) -> Vec<Value> {
    let data = prometheus.api("rules", &[]).expect("rules");
    let groups = data["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// Everything without data, or wrong.
fn shortcomings(prometheus: &Prometheus, dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut expect_data = |what: String, data: Result<usize, String>| match data {
        Ok(0) => found.push(format!("{what} has no data")),
        Ok(_) => {}
        Err(error) => found.push(format!("{what}: {error}")),
    };
    for (title, expression) in panel_queries(dashboard) {
        let data = prometheus.query(&filled_in(&expression)).map(|samples| samples.len());
        expect_data(format!("panel {title}: {expression}"), data);
    }
    for (name, label, series) in variables(dashboard) {
        let values = prometheus.api(&format!("label/{label}/values"), &[("match[]", &series)]);
        expect_data(format!("variable {name}"), values.map(|values| values.as_array().map_or(0, Vec::len)));
    }
    for rule in judged_rules(prometheus) {
        let name = rule["name"].as_str().expect("a name");
        if rule["type"] == "recording" {
            expect_data(format!("rule {name}"), prometheus.query(name).map(|samples| samples.len()));
        }
        if rule["health"] != "ok" {
            expect_data(format!("rule {name}"), Err(rule["lastError"].to_string()));
        }
    }
    found
}

/// The series of the panel Replies add up to all replies, and SERVFAIL is among the errors.
fn assert_every_reply_is_shown_once(prometheus: &Prometheus, dashboard: &Value) {
    let panel = panels(dashboard).find(|panel| panel["title"] == "Replies").expect("the panel Replies");
    let targets = panel["targets"].as_array().expect("targets");
    let series = |target: &Value| format!("({})", filled_in(target["expr"].as_str().expect("an expression")));
    let sum = targets.iter().map(series).collect::<Vec<_>>().join(" + ");
    let all = "sum(rate(namegate_responses_total[1m]))";
    let differences = prometheus.query(&format!("abs({sum} - {all})")).expect("the sum is good");
    assert!(matches!(differences[..], [difference] if difference < 1e-6), "{differences:?}");
    let errors = targets.iter().find(|target| target["legendFormat"] == "errors").expect("the errors");
    let servfails = "sum(rate(namegate_responses_total{rcode=\"servfail\"}[1m]))";
    let shares = prometheus.query(&format!("{servfails} / {}", series(errors))).expect("the share is good");
    assert!(matches!(shares[..], [share] if share > 0.0 && share <= 1.0), "{shares:?}");
}

#[test]
#[ignore = "needs prometheus and promtool (Debian package prometheus); .ci/run installs it"]
fn a_real_prometheus_has_data_for_every_panel_and_rule() {
    let (first, second) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    for upstream in [&first, &second] {
        upstream.on("broken.allowed.example", Script::reply(Response::failing("SERVFAIL")));
    }
    let settings = "policy.deny = [\"*.denied.allowed.example\"]\nprove.interval = \"5s\"";
    let gate = Gate::with_upstreams(&[first.address(), second.address()], settings);
    let admin = admin_of(&gate);
    let traffic = Traffic::start(&gate);
    let prometheus = Prometheus::start(admin, &quiet_past(admin));
    assert_eq!(gate.reload(), Reload::Success);

    let dashboard = dashboard();
    let queries = panel_queries(&dashboard).len();
    assert!(queries > 50, "only {queries} queries");
    assert_eq!(variables(&dashboard).len(), 2);
    let start = Instant::now();
    loop {
        let missing = shortcomings(&prometheus, &dashboard);
        if missing.is_empty() {
            break;
        }
        assert!(start.elapsed() < SETTLING, "after {SETTLING:?}:\n{}", missing.join("\n"));
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_every_reply_is_shown_once(&prometheus, &dashboard);
    for annotation in dashboard["annotations"]["list"].as_array().expect("annotations") {
        if let Some(expression) = annotation["expr"].as_str() {
            prometheus.query(&filled_in(expression)).expect("the annotation's query is good");
        }
    }
    let rules = judged_rules(&prometheus);
    let alerts: Vec<&Value> = rules.iter().filter(|rule| rule["type"] == "alerting").collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let firing: Vec<&&Value> = alerts.iter().filter(|rule| rule["state"] == "firing").collect();
    assert!(firing.is_empty(), "healthy namegate fires {firing:?}");
    drop(traffic);
}

#[test]
#[ignore = "needs prometheus and promtool (Debian package prometheus); .ci/run installs it"]
fn promtool_finds_no_fault_with_the_metrics() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    drop(Traffic::start(&gate));
    let page = gate.settled_metrics().text;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed");
    promtool.stdin.take().expect("stdin is piped").write_all(page.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}\n{page}", String::from_utf8_lossy(&said));
}
