//! Regression tests of files that are missing, truncated, not regular or on a full disk. Each test is named after the
//! required behaviour.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::admin::token::{TOKEN, write_token};
use crate::support::command::{binary, namegate};
use crate::support::gate::Reload;
use crate::support::http::Http;
use crate::support::lines::Lines;
use crate::support::settings::write_settings;
use crate::support::{Gate, ScriptedUpstream};

/// An allowlist with the name of a shipped one that allows much more.
const NARROW: &str =
    "title = \"Own\"\nrevised = 2026-01-01\n[[allow]]\nhost = \"only.own.example\"\npurpose = \"P\"\n";
const NARROWED: &str = "policy.zones = [\"python\"]\npolicy.zones_directory = \"zones\"";

fn rcode(gate: &Gate, name: &str) -> String {
    gate.ask(name, "A").rcode()
}

#[test]
fn a_missing_directory_does_not_bring_the_shipped_zones() {
    let directory = tempfile::tempdir().unwrap();
    write_settings(directory.path(), &["127.0.0.1:9".parse().unwrap()], NARROWED);
    let check = || namegate(directory.path(), &["check", "--config", "namegate.toml"]);
    check().expect_code(1).expect_stderr(&["zones_directory", "zones", "No such file", "help: "]);
    fs::write(directory.path().join("zones"), "").unwrap();
    check().expect_code(1).expect_stderr(&["zones_directory", "not a directory", "help: "]);
    fs::remove_file(directory.path().join("zones")).unwrap();
    fs::create_dir(directory.path().join("zones")).unwrap();
    check().expect_code(0);
    std::os::unix::fs::symlink("nowhere", directory.path().join("zones/python.toml")).unwrap();
    check().expect_code(1).expect_stderr(&["zones/python.toml", "file not found"]);
}

#[test]
fn groups_with_same_allowlist_name_keep_own_files() {
    let upstream = ScriptedUpstream::start();
    let settings = format!(
        "{NARROWED}\nserver.allow_clients = [\"127.0.0.0/8\"]\n[[client]]\nname = \"others\"\nsubnets = [\"127.9.0.0/16\"]\n\
         zones = [\"other/python.toml\"]\n"
    );
    let files = [("zones/python.toml", NARROW), ("other/python.toml", NARROW)];
    let gate = Gate::with_files(&[upstream.address()], &settings, &files);
    fs::remove_file(gate.directory().join("zones/python.toml")).unwrap();
    assert_eq!(gate.reload(), Reload::Failure);
    assert_eq!(rcode(&gate, "pypi.org"), "NXDOMAIN");
}

#[test]
fn a_file_gone_at_a_reload_is_not_replaced_by_a_shipped_one() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::with_files(&[upstream.address()], NARROWED, &[("zones/python.toml", NARROW)]);
    let directory = gate.directory().join("zones");
    let assert_narrow = || {
        assert_eq!(rcode(&gate, "only.own.example"), "NOERROR");
        assert_eq!(rcode(&gate, "pypi.org"), "NXDOMAIN");
    };
    assert_narrow();
    fs::rename(directory.join("python.toml"), directory.join("python.off")).unwrap();
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("python.toml is gone, and the shipped allowlist `python` would replace it");
    assert_narrow();
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(gate.reload(), Reload::Failure);
    assert_narrow();
    // The shipped one must be named in the settings.
    gate.write_settings("policy.zones = [\"python\"]");
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(rcode(&gate, "pypi.org"), "NOERROR");
}

#[test]
fn settings_without_any_setting_change_nothing_at_a_reload() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for text in [
        "# Settings of the gate\n",
        "\u{feff}# Settings\n\n   # of the gate\n",
        "\n",
        "# Settings\n[server]\n",
    ] {
        fs::write(gate.settings_path(), text).unwrap();
        assert_eq!(gate.reload(), Reload::Failure, "{text:?}");
        gate.stderr.expect("the settings file sets nothing");
        assert_eq!(rcode(&gate, "x.allowed.example"), "NOERROR");
        assert_eq!(rcode(&gate, "pypi.org"), "NXDOMAIN");
    }
}

// Regression: settings cut off before their policy brought the shipped allowlists.
#[test]
fn settings_that_name_allowlists_no_longer_bring_no_others() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.zones = []");
    let whole = fs::read_to_string(gate.settings_path()).unwrap();
    let (begin, _) = whole.split_once("[policy]").or_else(|| whole.split_once("policy.")).unwrap();
    assert!(!begin.contains("zones") && begin.contains('='), "{whole}");
    fs::write(gate.settings_path(), begin).unwrap();
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("the settings file no longer sets `policy.zones`");
    assert_eq!(rcode(&gate, "pypi.org"), "NXDOMAIN");
    gate.write_settings("policy.zones = [\"python\"]");
    assert_eq!(gate.reload(), Reload::Success);
}

#[test]
fn fifo_instead_of_allowlist_does_not_block_reload() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::with_files(&[upstream.address()], NARROWED, &[("zones/python.toml", NARROW)]);
    let file = gate.directory().join("zones/python.toml");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("not a regular file");
    fs::remove_file(&file).unwrap();
    fs::rename(gate.settings_path(), gate.directory().join("settings.off")).unwrap();
    assert!(Command::new("mkfifo").arg(gate.settings_path()).status().unwrap().success());
    assert_eq!(gate.reload(), Reload::Failure);
    fs::rename(gate.directory().join("settings.off"), gate.settings_path()).unwrap();
    fs::write(&file, NARROW.replace("only", "other")).unwrap();
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(rcode(&gate, "other.own.example"), "NOERROR");
}

const STATEFUL: &str =
    "server.state_directory = \"state\"\nserver.reuse_port = true\nadmin.token_file = \"token\"";

/// Namegate with a state directory, on which a second process can start.
fn stateful(upstream: &ScriptedUpstream) -> Gate {
    Gate::launched(&[upstream.address()], STATEFUL, &[], |command| {
        let directory = command.get_current_dir().expect("a directory");
        write_token(&directory.join("token"), &format!("{TOKEN}\n"), 0o600);
    })
}

fn grant(gate: &Gate, name: &str, duration: &str) -> u16 {
    let body = format!(r#"{{"name": "{name}", "for": "{duration}", "reason": "a test"}}"#);
    Http::to(gate.admin()).token(TOKEN).json("POST", "/api/v1/allowed", &body).status
}

fn audit(directory: &Path) -> Vec<Value> {
    let text = fs::read_to_string(directory.join("state/audit.log")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or(Value::Null)).collect()
}

#[test]
fn second_process_keeps_grants() {
    let upstream = ScriptedUpstream::start();
    let gate = stateful(&upstream);
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            for _ in 0..20 {
                // It fails after opening the state directory, which is early: nothing can listen on this address.
                let arguments = ["serve", "--config", "namegate.toml", "--listen", "192.0.2.1:53"];
                namegate(gate.directory(), &arguments).expect_code(1).expect_stderr(&["192.0.2.1:53"]);
            }
        });
        let mut given = 0;
        while !starting.is_finished() {
            assert_eq!(grant(&gate, &format!("n{}.example", given % 500), "1h"), 201);
            let text = fs::read_to_string(gate.directory().join("state/allowed.json")).unwrap();
            serde_json::from_str::<Value>(&text).expect("never partly written");
            given += 1;
        }
        starting.join().expect("every start reaches its sockets");
    });
    let left = fs::read_dir(gate.directory().join("state")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.collect();
    left.sort();
    left.retain(|name| !name.to_string_lossy().starts_with("history."));
    assert_eq!(left, ["allowed.json", "audit.log"]);
}

#[test]
fn truncated_audit_line_spoils_no_other() {
    let upstream = ScriptedUpstream::start();
    let gate = stateful(&upstream);
    assert_eq!(grant(&gate, "a.example", "1h"), 201);
    let file = gate.directory().join("state/audit.log");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{whole}{}", &whole[..40])).unwrap();
    assert_eq!(grant(&gate, "b.example", "1h"), 201);
    let lines = audit(gate.directory());
    let patterns: Vec<_> = lines.iter().map(|line| line["pattern"].as_str().unwrap_or("cut off")).collect();
    assert_eq!(patterns, ["a.example", "cut off", "b.example"]);
}

#[test]
fn grants_without_audit_record_are_refused() {
    let upstream = ScriptedUpstream::start();
    let gate = stateful(&upstream);
    fs::create_dir(gate.directory().join("state/audit.log")).unwrap();
    assert_eq!(grant(&gate, "a.example", "1h"), 503);
    assert_eq!(rcode(&gate, "a.example"), "NXDOMAIN");
    fs::remove_dir(gate.directory().join("state/audit.log")).unwrap();
    assert_eq!(grant(&gate, "a.example", "1h"), 201);
    assert_eq!(rcode(&gate, "a.example"), "NOERROR");
}

#[test]
fn grant_expired_while_down_is_logged_once() {
    let upstream = ScriptedUpstream::start();
    let gate = stateful(&upstream);
    assert_eq!(grant(&gate, "a.example", "1s"), 201);
    gate.signal("KILL");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for _ in 0..2 {
        let mut next = Command::new(binary());
        next.args(["serve", "--config", "namegate.toml"]).current_dir(gate.directory());
        let mut next = next.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Lines::collect(next.stderr.take().unwrap());
        stderr.expect("INFO ready");
        next.kill().and_then(|()| next.wait()).unwrap();
    }
    let ended = audit(gate.directory()).iter().filter(|line| line["event"] == "ended").count();
    assert_eq!(ended, 1);
}

#[test]
fn output_that_is_cut_off_is_not_taken_for_whole() {
    let directory = tempfile::tempdir().unwrap();
    write_settings(directory.path(), &["127.0.0.1:9".parse().unwrap()], "");
    for arguments in [
        &["check"] as &[&str],
        &["rules"],
        &["config"],
        &["explain", "x.allowed.example"],
        &["export", "rpz"],
        &["export", "azure-firewall"],
    ] {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--config", "namegate.toml"]).current_dir(directory.path());
        let output = command.stdout(File::create("/dev/full").unwrap()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains("cannot write to standard output"), "{arguments:?}: {stderr}");
    }
}
