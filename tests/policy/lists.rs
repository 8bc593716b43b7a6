//! Tests plain lists: one pattern per line.

use crate::support::{Gate, Response, Script, ScriptedUpstream};

const SETTINGS: &str = "policy.allow = []\npolicy.zones = [\"partners\"]\npolicy.zones_directory = \".\"";

fn start(upstream: &ScriptedUpstream, list: &str) -> Gate {
    upstream.by_default(Script::reply(Response::answering(&[])));
    Gate::with_files(&[upstream.address()], SETTINGS, &[("partners.list", list)])
}

#[test]
fn each_line_is_a_rule() {
    let upstream = ScriptedUpstream::start();
    let list = "# partners\r\n\r\nexact.example\r\n*.below.example  # any depth\n.both.example\n!secret.both.example\n";
    let gate = start(&upstream, list);
    for (name, allowed) in [
        ("exact.example", true),
        ("x.exact.example", false),
        ("below.example", false),
        ("a.b.below.example", true),
        ("both.example", true),
        ("x.both.example", true),
        ("secret.both.example", false),
        ("x.secret.both.example", true),
        ("partners", false),
    ] {
        let is_blocked = gate.ask(name, "A").ede_codes() == [15];
        assert_eq!(is_blocked, !allowed, "{name}");
        assert_eq!(upstream.count(name), usize::from(allowed), "{name}");
    }
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_policy_rules", &[("zone", "partners")]), 4.0);
    assert_eq!(metrics.sum("namegate_allowed_total", &[("zone", "partners")]), 5.0);
}

#[test]
fn a_list_that_is_wrong_changes_nothing_and_says_where() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, "one.example\n");
    gate.write_file("partners.list", "two.example\nthree..example\n");
    assert!(matches!(gate.reload(), crate::support::gate::Reload::Failure));
    let (status, _) = gate.get("/api/v1/explain?name=one.example");
    assert_eq!(status, 200);
    assert_eq!(gate.ask("one.example", "A").rcode(), "NOERROR");
    assert_eq!(gate.ask("two.example", "A").rcode(), "NXDOMAIN");
    gate.write_file("partners.list", "two.example\n");
    assert!(matches!(gate.reload(), crate::support::gate::Reload::Success));
    assert_eq!(gate.ask("one.example", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.ask("two.example", "A").rcode(), "NOERROR");
}

#[test]
fn a_hundred_thousand_rules_are_no_matter() {
    let upstream = ScriptedUpstream::start();
    let list: String = (0..100_000).map(|number| format!("*.n{number}.many.example\n")).collect();
    let gate = start(&upstream, &list);
    for (name, rcode) in [
        ("x.n0.many.example", "NOERROR"),
        ("x.n99999.many.example", "NOERROR"),
        ("n100000.many.example", "NXDOMAIN"),
        ("x.n100000.many.example", "NXDOMAIN"),
    ] {
        assert_eq!(gate.ask(name, "A").rcode(), rcode, "{name}");
    }
    assert_eq!(gate.ask("n5.many.example", "A").ede_codes(), [15], "an ancestor of allowed names");
    let (_, explained) = gate.get("/api/v1/explain?name=x.n99999.many.example");
    assert!(explained.contains("partners.list:100000"), "{explained}");
}
