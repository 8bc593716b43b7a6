//! Tests the candidate policy: evaluated with the current one, and compared with it.

use crate::support::command::namegate;
use crate::support::gate::Reload;
use crate::support::{Gate, ScriptedUpstream};

const CANDIDATE: &str = "[policy]\nzones = []\nallow = [\"a.allowed.example\", \"new.example\"]\n";

fn shadow(gate: &Gate) -> crate::support::command::Finished {
    namegate(gate.directory(), &["shadow", "--admin", &gate.admin().to_string()])
}

#[test]
fn differing_verdicts_are_counted_and_listed() {
    let upstream = ScriptedUpstream::start();
    let files = [("candidate.toml", CANDIDATE)];
    let gate = Gate::with_files(&[upstream.address()], "policy.shadow = \"candidate.toml\"", &files);
    shadow(&gate).expect_code(0);
    for (name, rcode) in [
        ("a.allowed.example", "NOERROR"),
        ("b.allowed.example", "NOERROR"),
        ("b.allowed.example", "NOERROR"),
        ("new.example", "NXDOMAIN"),
        ("other.example", "NXDOMAIN"),
    ] {
        assert_eq!(gate.ask(name, "A").rcode(), rcode, "{name}: the policy in force decides");
    }
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_shadow_differences_total", &[("change", "would_block")]), 2.0);
    assert_eq!(metrics.sum("namegate_shadow_differences_total", &[("change", "would_allow")]), 1.0);
    let shown = shadow(&gate).expect_code(1).stdout;
    assert!(
        shown.starts_with("candidate policy ")
            && shown
                .contains("would block 2 lookups that are answered now, and answer 1 that are blocked now"),
        "{shown}"
    );
    assert!(
        shown.contains("- would block  b.allowed.example  lookups: 2")
            && shown.contains("+ would allow  new.example  lookups: 1"),
        "{shown}"
    );
    assert!(!shown.contains("other.example") && !shown.contains("a.allowed.example "), "{shown}");
    assert_eq!(upstream.count("new.example"), 0, "it causes no upstream query");
}

#[test]
fn one_with_a_fault_is_refused_like_any_settings() {
    let upstream = ScriptedUpstream::start();
    let files = [("candidate.toml", CANDIDATE)];
    let gate = Gate::with_files(&[upstream.address()], "policy.shadow = \"candidate.toml\"", &files);
    gate.write_file("candidate.toml", "[policy]\nallow = [\"*\"]\n");
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("candidate.toml:2:");
}

#[test]
fn without_one_the_command_says_what_to_set() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    shadow(&gate).expect_code(2).expect_stderr(&["no candidate policy", "set `policy.shadow`"]);
}

#[test]
fn comparison_is_of_what_clients_would_get() {
    for (mode, candidate, name, code, said) in [
        (
            "observe",
            "[policy]\nzones = []\n",
            "other.example",
            1,
            "would block 1 lookups that are answered now, and answer 0 that are blocked now",
        ),
        (
            "observe",
            "[policy]\nmode = \"observe\"\nzones = []\n",
            "other.example",
            0,
            "would block 0 lookups",
        ),
        (
            "enforce",
            "[policy]\nmode = \"observe\"\nzones = []\n",
            "a.allowed.example",
            0,
            "would block 0 lookups",
        ),
        (
            "enforce",
            "[policy]\nmode = \"observe\"\nzones = []\n",
            "other.example",
            1,
            "answer 1 that are blocked now",
        ),
    ] {
        let upstream = ScriptedUpstream::start();
        let settings = format!("policy.shadow = \"candidate.toml\"\npolicy.mode = \"{mode}\"");
        let gate = Gate::with_files(&[upstream.address()], &settings, &[("candidate.toml", candidate)]);
        gate.ask(name, "A");
        let shown = shadow(&gate).expect_code(code).stdout;
        assert!(shown.contains(said), "{mode}, {candidate}, {name}: {shown}");
    }
}
