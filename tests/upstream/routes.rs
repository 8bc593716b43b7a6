//! Tests routes: names that are forwarded to their own upstreams.

use crate::support::command::namegate;
use crate::support::gate::Reload;
use crate::support::{Gate, Response, Script, ScriptedUpstream};

/// Upstreams that can be distinguished by their answers.
fn upstreams() -> [ScriptedUpstream; 3] {
    [1, 2, 3].map(|number| {
        let upstream = ScriptedUpstream::start();
        let answer = format!("route.example 300 A 192.0.2.{number}");
        upstream.by_default(Script::reply(Response::answering(&[&answer])));
        upstream
    })
}

fn answered_by(gate: &Gate, name: &str) -> String {
    gate.ask(name, "A").answer_data().join(" ")
}

#[test]
fn the_most_specific_route_says_where_a_name_goes() {
    let [usual, corp, lab] = upstreams();
    let gate = Gate::start(
        &usual,
        &format!(
            r#"
            policy.allow = [".example"]
            [[route]]
            names = [".corp.example", "*.in-addr.arpa"]
            servers = ["{}"]
            [[route]]
            names = [".lab.corp.example"]
            servers = ["tcp://{}"]
            "#,
            corp.address(),
            lab.address()
        ),
    );
    for (name, answer) in [
        ("a.example", "192.0.2.1"),
        ("corp.example", "192.0.2.2"),
        ("x.y.corp.example", "192.0.2.2"),
        ("z.lab.corp.example", "192.0.2.3"),
        ("notcorp.example", "192.0.2.1"),
    ] {
        assert_eq!(answered_by(&gate, name), answer, "{name}");
    }
    assert_eq!(gate.ask("1.0.10.in-addr.arpa", "PTR").rcode(), "NXDOMAIN", "a route allows nothing");
    assert_eq!(usual.asked(), ["a.example A", "notcorp.example A"]);
    assert_eq!(corp.asked(), ["corp.example A", "x.y.corp.example A"]);
    assert_eq!(lab.asked(), ["z.lab.corp.example A"]);
}

#[test]
fn a_zone_file_names_the_servers_of_its_own_names() {
    let [usual, corp, lab] = upstreams();
    let zone = format!("servers = [\"{}\"]\n[[allow]]\nhost = \".corp.example\"\n", corp.address());
    let settings = format!(
        r#"
        policy.zones = ["corp.toml"]
        [[route]]
        names = [".lab.corp.example"]
        servers = ["{}"]
        "#,
        lab.address()
    );
    let gate = Gate::with_files(&[usual.address()], &settings, &[("corp.toml", &zone)]);
    assert_eq!(answered_by(&gate, "a.allowed.example"), "192.0.2.1");
    assert_eq!(answered_by(&gate, "a.corp.example"), "192.0.2.2");
    assert_eq!(answered_by(&gate, "a.lab.corp.example"), "192.0.2.3", "the settings take precedence");
}

#[test]
fn an_answer_learnt_on_one_route_is_none_for_another() {
    let [usual, corp, _] = upstreams();
    let route = format!("[[route]]\nnames = [\".allowed.example\"]\nservers = [\"{}\"]\n", corp.address());
    let gate = Gate::start(&usual, "");
    assert_eq!(answered_by(&gate, "a.allowed.example"), "192.0.2.1");
    gate.write_settings(&route);
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(answered_by(&gate, "a.allowed.example"), "192.0.2.2", "not the default upstreams' answer");
    gate.write_settings("");
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(answered_by(&gate, "a.allowed.example"), "192.0.2.1");
    assert_eq!((usual.count("a.allowed.example"), corp.count("a.allowed.example")), (2, 1));
}

#[test]
fn a_route_whose_servers_are_silent_is_not_helped_by_others() {
    let [usual, corp, _] = upstreams();
    corp.by_default(Script::reply(Response::failing("SERVFAIL")));
    let route =
        format!("[[route]]\nnames = [\".corp.allowed.example\"]\nservers = [\"{}\"]\n", corp.address());
    let gate = Gate::start(&usual, &route);
    assert_eq!(gate.ask("a.corp.allowed.example", "A").rcode(), "SERVFAIL");
    assert_eq!(usual.asked(), [""; 0]);
}

#[test]
fn explain_tells_the_route() {
    let [usual, corp, _] = upstreams();
    let route =
        format!("[[route]]\nnames = [\".corp.allowed.example\"]\nservers = [\"{}\"]\n", corp.address());
    let gate = Gate::start(&usual, &route);
    let explained =
        namegate(gate.directory(), &["explain", "a.corp.allowed.example", "--config", "namegate.toml"]);
    assert!(explained.stdout.contains(&format!("route    {}", corp.address())), "{}", explained.stdout);
}

#[test]
fn implausible_settings_are_refused_with_help() {
    let directory = tempfile::tempdir().unwrap();
    for (routes, said) in [
        (
            "[[route]]\nnames = [\".a.example\"]\nservers = [\"10.0.0.4\"]\n[[route]]\nnames = [\".A.example\"]\nservers = [\"10.0.0.5\"]\n",
            &[
                "namegate.toml:5:10",
                "`.a.example` already has a route, on line 2",
                "the most specific applies",
            ][..],
        ),
        ("[[route]]\nservers = [\"10.0.0.4\"]\n", &["`route.names` is missing"]),
        ("[[route]]\nnames = [\".a.example\"]\n", &["`route.servers` is missing"]),
        ("[[route]]\nnames = [\".\"]\nservers = [\"10.0.0.4\"]\n", &["this would match every name"]),
        ("[[route]]\nnames = [\"a.example\"]\nserver = [\"10.0.0.4\"]\n", &["unknown key", "`servers`"]),
    ] {
        std::fs::write(directory.path().join("namegate.toml"), routes).unwrap();
        namegate(directory.path(), &["check", "--config", "namegate.toml"])
            .expect_code(1)
            .expect_stderr(said);
    }
}
