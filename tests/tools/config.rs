//! Tests `namegate config` and the sources of values: command line, environment, file, default.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::support::command::binary;
use crate::support::{Gate, ScriptedUpstream};

/// The lines that `namegate config` prints for `keys`, with these arguments and variables.
fn lines(arguments: &[&str], variables: &[(&str, &str)], keys: &[&str]) -> Vec<String> {
    let directory = TempDir::new().expect("a temporary directory");
    fs::write(
        directory.path().join("own.toml"),
        "[server]\nlisten = [\"127.0.0.3:53\"]\n[policy]\nmode = \"observe\"\n",
    )
    .expect("a file can be written");
    let output = Command::new(binary())
        .args(arguments)
        .envs([("NAMEGATE_CONFIG", "own.toml")])
        .envs(variables.iter().copied())
        .current_dir(directory.path())
        .output()
        .expect("the binary runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let is_wanted = |line: &&str| keys.iter().any(|key| line.starts_with(&format!("{key} = ")));
    text.lines().filter(is_wanted).map(str::to_owned).collect()
}

#[test]
fn values_come_from_command_line_environment_file_and_default() {
    let listen = |text: &str| vec![format!("listen = {text}"), "mode = \"observe\"  # own.toml:4".to_owned()];
    let variable = [("NAMEGATE_LISTEN", "127.0.0.2:53"), ("NAMEGATE_ADMIN", "")];
    let of_line = "[\"127.0.0.1:53\"]  # the command line (--listen)";
    let of_variable = "[\"127.0.0.2:53\"]  # the environment variable NAMEGATE_LISTEN";
    let of_file = "[\"127.0.0.3:53\"]  # own.toml:2";
    for (arguments, variables, wanted) in [
        (&["config", "--listen", "127.0.0.1:53"][..], &variable[..], of_line),
        (&["--listen", "127.0.0.1:53", "config"], &variable, of_line),
        (&["config"], &variable, of_variable),
        (&["config"], &[("NAMEGATE_LISTEN", "")], of_file),
        (&["config"], &[], of_file),
    ] {
        let mut found = lines(arguments, variables, &["listen", "mode"]);
        // The admin listener and the tunnel guard have their defaults.
        found.retain(|line| line.contains('#'));
        assert_eq!(found, listen(wanted), "{arguments:?} {variables:?}");
    }
    assert_eq!(lines(&["config"], &[], &["workers"]), ["workers = 0"], "a default has no source");
}

#[test]
fn empty_variables_count_as_unset() {
    let empty = ["LISTEN", "UPSTREAM", "ADMIN", "MODE", "ZONES"].map(|name| format!("NAMEGATE_{name}"));
    let empty: Vec<(&str, &str)> = empty.iter().map(|name| (&**name, "")).collect();
    let found = lines(&["config"], &empty, &["mode"]);
    assert_eq!(found[0], "mode = \"observe\"  # own.toml:4");
}

#[test]
fn start_log_names_what_overrides_the_file() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::launched(&[upstream.address()], "", &[], |command| {
        command.env("NAMEGATE_MODE", "observe").args(["--zones", "r"]);
    });
    gate.stderr.expect("policy.mode is set by the environment variable NAMEGATE_MODE");
    gate.stderr.expect("policy.zones is set by the command line (--zones)");
    assert!(!gate.stderr.all().iter().any(|line| line.contains("server.listen is set by")));
}
