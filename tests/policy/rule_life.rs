//! Tests the life of rules: they end, they are used or not, and what people wrote about them is shown.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::namegate;
use crate::support::{Gate, Response, Script, ScriptedUpstream, eventually};

const SETTINGS: &str = "policy.allow = [\"ws.allowed.example\"]\npolicy.zones = [\"team\", \"partners\"]\npolicy.zones_directory = \"{dir}\"";

const TEAM: &str = "[[allow]]\nhost = \"*.build.example\"\npurpose = \"build \\\"mirrors\\\"\"\nowner = \"team-a\"\nticket = \"NET-1\"\n\
                    [[deny]]\nhost = \"old.build.example\"\nreason = \"switched off\"\n[[allow]]\nhost = \"idle.example\"\n";

const PARTNERS: &str = "*.partner.example # their API; owner=team-b\n!ads.partner.example\n";

fn start(upstream: &ScriptedUpstream, team: &str, more: &str) -> Gate {
    upstream.by_default(Script::reply(Response::answering(&[])));
    let files = [("team.toml", team), ("partners.list", PARTNERS)];
    Gate::with_files(&[upstream.address()], &format!("{SETTINGS}\n{more}"), &files)
}

fn json(gate: &Gate, path: &str) -> Value {
    let (status, body) = gate.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error} in {body}"))
}

/// `hits` of each rule on the page, by pattern.
fn hits(gate: &Gate, path: &str) -> Vec<(String, u64)> {
    let page = json(gate, path);
    let rules = page["rules"].as_array().expect("a list");
    rules
        .iter()
        .map(|rule| (rule["rule"].as_str().unwrap().to_owned(), rule["hits"].as_u64().unwrap()))
        .collect()
}

#[test]
fn a_rule_ends_while_namegate_runs() {
    let upstream = ScriptedUpstream::start();
    let end = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(4));
    let until = format!("until = {end}\n");
    let team = format!(
        "[[allow]]\nhost = \"*.contract.example\"\n{until}\
         [[deny]]\nhost = \"*.closed.example\"\n{until}\
         [[allow]]\nhost = \"*.closed.example\"\n\
         [[allow]]\nhost = \"over.example\"\nuntil = 2020-01-31\n\
         [[allow]]\nhost = \"lasting.example\"\nuntil = 2999-01-31\n"
    );
    let gate = start(&upstream, &team, "");
    let hash = gate.metrics().text.split("hash=\"").nth(1).map(|rest| rest[..16].to_owned());
    let ask = |name: &str| gate.ask(name, "A").rcode();
    let before = ["x.contract.example", "x.closed.example", "over.example", "lasting.example"].map(ask);
    assert_eq!(before, ["NOERROR", "NXDOMAIN", "NXDOMAIN", "NOERROR"]);
    eventually("the end of the rules", || (ask("x.closed.example") == "NOERROR").then_some(()));
    // The answer is in the cache, but the rule that allowed it has ended.
    let asked = upstream.count("x.contract.example");
    let after = ["x.contract.example", "y.contract.example", "x.closed.example", "lasting.example"].map(ask);
    assert_eq!(after, ["NXDOMAIN", "NXDOMAIN", "NOERROR", "NOERROR"]);
    assert_eq!(
        (asked, upstream.count("x.contract.example"), upstream.count("y.contract.example")),
        (1, 1, 0)
    );
    gate.stderr.expect("rule `*.contract.example` at");
    assert!(gate.metrics().text.contains(&format!("hash=\"{}\"", hash.expect("a hash"))));
    let rules = json(&gate, "/api/v1/rules");
    let ended = rules["rules"].as_array().expect("a list").iter().filter(|rule| rule["ended"] == true);
    let ended: Vec<(&str, &str)> =
        ended.map(|rule| (rule["rule"].as_str().unwrap(), rule["until"].as_str().unwrap())).collect();
    let end = end.to_string();
    assert_eq!(
        ended,
        [("*.contract.example", &*end), ("*.closed.example", &*end), ("over.example", "2020-01-31")]
    );
}

#[test]
fn names_that_a_rule_led_to_end_with_it() {
    let upstream = ScriptedUpstream::start();
    for (name, target) in [
        ("www.follow.example", "t1.else.example"),
        ("t1.else.example", "t2.else.example"),
        ("t2.else.example", "t1.else.example"),
    ] {
        upstream.on(name, Script::reply(Response::answering(&[&format!("{name} 300 CNAME {target}")])));
    }
    let end = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(4));
    let team = format!("[[allow]]\nhost = \"www.follow.example\"\nuntil = {end}\n");
    let gate = start(&upstream, &team, "policy.cname = \"follow\"");
    let ask = |name: &str| gate.ask(name, "A").rcode();
    let names = ["www.follow.example", "t1.else.example", "t2.else.example"];
    assert_eq!(names.map(ask), ["NOERROR"; 3]);
    eventually("the end of the rule", || (ask(names[0]) == "NXDOMAIN").then_some(()));
    let asked = upstream.count(names[1]);
    assert_eq!(names.map(ask), ["NXDOMAIN"; 3]);
    assert_eq!(upstream.count(names[1]), asked);
    // Nor is anything asked about the domains above it.
    assert_eq!(gate.ask("follow.example", "NS").ede_codes(), [15]);
    assert_eq!(upstream.count("follow.example"), 0);
}

#[test]
fn what_people_wrote_reaches_log_and_pages() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, TEAM, "log.queries = \"all\"\nlog.format = \"text\"");
    for name in ["a.build.example", "old.build.example", "x.partner.example"] {
        gate.ask(name, "A");
    }
    for (name, texts) in [
        ("a.build.example", r#"purpose="build \"mirrors\"" owner="team-a" ticket="NET-1" rcode="#),
        ("old.build.example", r#"purpose="switched off" rcode="#),
        ("x.partner.example", r#"purpose="their API" owner="team-b" rcode="#),
    ] {
        let line = gate.stdout.expect(&format!(" name={name} "));
        assert!(line.contains(texts), "{line}");
    }
    let explained = json(&gate, "/api/v1/explain?name=x.partner.example");
    assert_eq!(
        (&explained["purpose"], &explained["owner"], &explained["hits"]),
        (&"their API".into(), &"team-b".into(), &1.into())
    );
    let recent = json(&gate, "/api/v1/recent");
    assert_eq!(recent["lookups"][0]["purpose"], "switched off");
    let listed =
        namegate(gate.directory(), &["rules", "--config", "namegate.toml", "--json"]).expect_code(0).stdout;
    assert!(listed.contains(r#""owner":"team-b""#) && listed.contains(r#""ticket":"NET-1""#), "{listed}");
}

#[test]
fn uses_are_counted_and_outlast_reloads_and_restarts() {
    let (upstream, state) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let keep = format!("server.state_directory = \"{}/state\"", state.path().display());
    let gate = start(&upstream, TEAM, &keep);
    let wanted = |build: u64, old: u64| {
        let rules = [("*.build.example", build), ("old.build.example", old), ("idle.example", 0)];
        let more = [("*.partner.example", 0), ("ads.partner.example", 0), ("ws.allowed.example", 0)];
        rules.into_iter().chain(more).map(|(rule, hits)| (rule.to_owned(), hits)).collect::<Vec<_>>()
    };
    for name in ["a.build.example", "a.build.example", "b.build.example", "old.build.example", "evil.example"]
    {
        gate.ask(name, "A");
    }
    assert!(gate.tcp().ask(&crate::support::Query::new("a.build.example", "A")).rcode() == "NOERROR");
    assert_eq!(hits(&gate, "/api/v1/rules"), wanted(4, 1));
    let metrics = gate.metrics();
    let of = |action, rule| [("zone", "team"), ("action", action), ("rule", rule)];
    assert_eq!(metrics.sum("namegate_rule_hits_total", &of("allow", "*.build.example")), 4.0);
    assert_eq!(metrics.sum("namegate_rule_hits_total", &of("deny", "old.build.example")), 1.0);
    let last = metrics.sum("namegate_rule_last_used_timestamp_seconds", &of("allow", "*.build.example"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..=now + 1.0).contains(&last), "{last}");
    // A line moves in a reload; another rule goes and comes back as a new one.
    gate.write_file("team.toml", &format!("# moved\n{}", TEAM.replace("old.build", "older.build")));
    assert_eq!(gate.reload(), crate::support::gate::Reload::Success);
    gate.ask("a.build.example", "A");
    gate.write_file("team.toml", TEAM);
    assert_eq!(gate.reload(), crate::support::gate::Reload::Success);
    assert_eq!(hits(&gate, "/api/v1/rules"), wanted(5, 0));
    assert!(gate.terminate().success());
    let gate = start(&upstream, TEAM, &keep);
    assert_eq!(hits(&gate, "/api/v1/rules"), wanted(5, 0));
    assert!(gate.terminate().success());
    // A file that cannot be read costs the counts, not the start.
    fs::write(state.path().join("state/rule-uses.json"), "{\"version\":1,").expect("a file can be written");
    let gate = start(&upstream, TEAM, &keep);
    gate.stderr.expect("cannot read the uses of rules");
    assert_eq!(hits(&gate, "/api/v1/rules"), wanted(0, 0));
    assert!(state.path().join("state/rule-uses.unreadable").exists());
}

#[test]
fn unused_rules_are_listed() {
    let (upstream, state) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let saved = |zone: &str, action: &str, rule: &str, last: &str| {
        format!(
            "{{\"allowlist\":\"{zone}\",\"action\":\"{action}\",\"rule\":\"{rule}\",\"since\":\"2026-01-01T00:00:00Z\",\"hits\":1{last}}}"
        )
    };
    let today = humantime::format_rfc3339_seconds(SystemTime::now());
    let rules = [
        saved("team", "allow", "*.build.example", &format!(",\"last\":\"{today}\"")),
        saved("team", "deny", "old.build.example", ""),
        saved("partners", "allow", "*.partner.example", ",\"last\":\"2026-02-01T00:00:00Z\""),
        saved("gone", "allow", "gone.example", ""),
    ];
    fs::create_dir(state.path().join("state")).expect("a directory can be made");
    let text = format!("{{\"version\":1,\"rules\":[{}]}}", rules.join(","));
    fs::write(state.path().join("state/rule-uses.json"), text).expect("a file can be written");
    let keep = format!("server.state_directory = \"{}/state\"", state.path().display());
    let gate = start(&upstream, TEAM, &keep);
    let admin = gate.admin().to_string();
    let run =
        |arguments: &[&str]| namegate(gate.directory(), &[&["rules", "--admin", &admin], arguments].concat());
    let listed = run(&["--unused", "30d"]).expect_code(0).stdout;
    let place = gate.directory().join("team.toml").display().to_string();
    assert!(listed.contains(&format!("deny   old.build.example  {place}:7")), "{listed}");
    assert!(listed.contains("never used since 2026-01-01T00:00:00Z  switched off"), "{listed}");
    assert!(listed.contains("last used 2026-02-01T00:00:00Z  their API, team-b"), "{listed}");
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert_eq!(
        run(&["--unused", "100000d"]).expect_code(0).stderr,
        "no rule has been in force and unused for 100000d\n"
    );
    run(&["--unused", "soon"]).expect_code(2);
    let (status, body) = gate.get("/api/v1/rules?unused=soon");
    assert_eq!((status, body.contains("not a duration")), (400, true), "{body}");
    drop(gate);
}
