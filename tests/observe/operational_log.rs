//! Tests the log on standard error: one line for each event, in a form that machines can read.

use serde_json::Value;

use crate::support::gate::Reload;
use crate::support::{Gate, ScriptedUpstream};

/// The level of a text line.
fn level(line: &str) -> &str {
    line.split_whitespace().nth(1).unwrap_or_default()
}

#[test]
fn json_lines_have_time_level_event_and_message() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "log.format = \"json\"");
    gate.ask("evil.example", "A");
    let query: Value = serde_json::from_str(&gate.stdout.expect("evil.example")).expect("JSON");
    assert_eq!(query["event"], "query");
    gate.write_settings("policy.mode = \"enforced\"");
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("reload_fault");
    for line in gate.stderr.all() {
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let fields = line.as_object().expect("an object");
        assert!(fields.values().all(Value::is_string), "flat: {line}");
        let time = line["time"].as_str().expect("a time");
        humantime::parse_rfc3339(time).expect("RFC 3339");
        assert_eq!((time.len(), time.ends_with('Z')), (query["time"].as_str().expect("a time").len(), true));
        assert!(["error", "warn", "info"].contains(&line["level"].as_str().expect("a level")), "{line}");
        assert!(line["event"] != "library" && line["message"].is_string(), "{line}");
    }
}

#[test]
fn first_lines_are_what_listens_where_it_forwards_and_what_is_allowed() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let lines = gate.stderr.all();
    let starts = [
        format!("listening on {}", gate.address()),
        format!("forwarding to {}", upstream.address()),
        "1 rule from settings (1); enforced; policy ".to_owned(),
    ];
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.contains(&start) && level(line) == "INFO", "{start}:\n{}", lines.join("\n"));
    }
}

#[test]
fn each_fault_of_a_reload_is_one_line() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let before = gate.stderr.all().len();
    gate.write_file("namegate.toml", "[policy]\nmode = \"enforced\"\n[log]\nlevl = \"info\"\n");
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("namegate.toml:4:1: unknown key `log.levl`; help: did you mean `level`?");
    let lines = gate.stderr.all().split_off(before);
    assert_eq!(lines.iter().map(|line| level(line)).collect::<Vec<_>>(), ["ERROR"; 3], "{lines:#?}");
    assert!(lines[0].contains("reload failed; the previous policy stays active"), "{lines:#?}");
    assert!(lines[1].contains("namegate.toml:2:8: `policy.mode`: unknown value"), "{lines:#?}");
}

/// `journalctl -p err` shows lines by the priority with which they begin.
#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    let upstream = ScriptedUpstream::start();
    let own = "export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2); exec \"$@\"";
    let other = "export JOURNAL_STREAM=1:2; exec \"$@\"";
    for (script, prefixes) in [(own, ["<6>", "<3>"]), (other, ["20", "20"])] {
        let gate = Gate::launched_by(&["sh", "-c", script, "sh"], &[upstream.address()], "", &[]);
        gate.write_file("namegate.toml", "[policy]\nmode = \"enforced\"\n");
        gate.reload();
        let lines = [gate.stderr.expect("ready"), gate.stderr.expect("reload failed")];
        for (line, prefix) in lines.iter().zip(prefixes) {
            assert!(line.starts_with(prefix), "{line}");
        }
    }
}
