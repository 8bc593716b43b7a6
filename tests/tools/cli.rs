//! Tests the command line: exit codes, error reports, output.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Finished, namegate};
use crate::support::settings::write_settings;
use crate::support::{Gate, PATIENCE, ScriptedUpstream, free_address};

/// A directory with these settings in `namegate.toml`, and an upstream that is never queried.
fn settings(own: &str) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    write_settings(directory.path(), &["127.0.0.1:53535".parse().expect("an address")], own);
    directory
}

/// A directory with exactly this text in `namegate.toml`.
fn raw_settings(text: &str) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("namegate.toml"), text).expect("a file can be written");
    directory
}

fn run(directory: &Path, arguments: &[&str]) -> Finished {
    namegate(directory, &[arguments, &["--config", "namegate.toml"]].concat())
}

const RULES: &str = r#"
    [policy]
    allow = ["ml.azure.com", "*.azureml.ms", ".azurecr.io"]
    deny = ["*.search.azureml.ms"]
"#;

#[test]
fn check_is_silent_about_good_settings() {
    let directory = settings(RULES);
    let run = run(directory.path(), &["check"]).expect_code(0);
    assert!(!run.stderr.contains("error"), "{}", run.stderr);
}

#[test]
fn check_reports_every_error_at_once() {
    let directory = raw_settings(
        "[server]\nlisten = [\"127.0.0.1:99999\"]\n\n[upstream]\ndeadline = \"6 parsecs\"\n\n[policy]\n\
         mode = \"enforced\"\nallow = [\"a..b\", \"*bad.example\"]\n\n[cache]\nmax_bites = \"1MiB\"\n",
    );
    run(directory.path(), &["check"]).expect_code(1).expect_stderr(&[
        "namegate.toml:2:",
        "namegate.toml:5:",
        "namegate.toml:8:",
        "namegate.toml:9:",
        "*.bad.example",
        "namegate.toml:12:1",
        "max_bytes",
    ]);
}

#[test]
fn an_unknown_key_suggests_the_nearest() {
    for (text, place, suggestion) in [
        ("[server]\nlissen = []\n", "namegate.toml:2:1", "listen"),
        ("[polcy]\nmode = \"enforce\"\n", "namegate.toml:1:", "policy"),
        ("[policy]\nallows = []\n", "namegate.toml:2:1", "allow"),
        ("[block]\nanswers = \"nodata\"\n", "namegate.toml:2:1", "answer"),
    ] {
        let directory = raw_settings(text);
        run(directory.path(), &["check"]).expect_code(1).expect_stderr(&[place, &format!("`{suggestion}`")]);
    }
}

#[test]
fn an_unknown_zone_suggests_the_nearest() {
    let directory = settings("policy.zones = [\"azure-mll\"]");
    run(directory.path(), &["check"]).expect_code(1).expect_stderr(&["namegate.toml:", "azure-ml"]);
}

#[test]
fn bad_settings_start_nothing() {
    let directory = settings("policy.allow = [\"*bad.example\"]");
    for arguments in [&["serve"][..], &[]] {
        run(directory.path(), arguments).expect_code(1).expect_stderr(&["namegate.toml:", "*.bad.example"]);
    }
}

#[test]
fn settings_that_are_not_there_are_an_error() {
    let directory = TempDir::new().expect("a temporary directory");
    run(directory.path(), &["check"]).expect_code(1).expect_stderr(&["namegate.toml"]);
}

#[test]
fn usage_errors_have_their_own_code() {
    let directory = settings(RULES);
    for arguments in [&["explain"][..], &["nonsense"], &["check", "--nonsense"], &["explain", "a..b"]] {
        run(directory.path(), arguments).expect_code(2);
    }
    run(directory.path(), &["explain", "ml.azure.com", "--type", "NONSENSE"]).expect_code(2);
    run(directory.path(), &["explain", "ml.azure.com", "--client", "nobody"]).expect_code(2);
}

#[test]
fn explain_says_what_would_happen_and_why() {
    let directory = settings(RULES);
    let explain = |name: &str, code| run(directory.path(), &["explain", name]).expect_code(code).stdout;
    let text = explain("WS.AzureML.ms", 0);
    assert!(text.starts_with("allowed"), "{text}");
    assert!(text.contains("*.azureml.ms") && text.contains("namegate.toml:"), "{text}");
    let text = explain("evil.example", 1);
    assert!(text.starts_with("blocked"), "{text}");
    let text = explain("x.search.azureml.ms", 1);
    assert!(text.starts_with("blocked") && text.contains("*.search.azureml.ms"), "{text}");
    assert!(explain("azureml.ms", 1).starts_with("blocked"));
    assert!(explain("azurecr.io", 0).starts_with("allowed"));
}

#[test]
fn explain_offers_no_wildcard_for_a_name_that_looks_like_one() {
    let directory = settings(RULES);
    let explain = |name: &str| run(directory.path(), &["explain", name]).expect_code(1).stdout;
    assert!(explain("a.evil.example").contains("allow = [\"a.evil.example\"]"));
    let text = explain(r"\*.evil.example");
    assert!(text.starts_with("blocked") && !text.contains("allow ="), "{text}");
}

#[test]
fn explain_knows_types_and_clients() {
    let directory = settings(&format!("server.allow_clients = [\"10.0.0.0/8\"]\n{RULES}"));
    let explain =
        |arguments: &[&str]| run(directory.path(), &[&["explain", "ml.azure.com"], arguments].concat());
    explain(&["--type", "AAAA", "--client", "10.1.2.3"]).expect_code(0);
    let refused = explain(&["--type", "AXFR"]).expect_code(1);
    assert!(refused.stdout.starts_with("refused"), "{}", refused.stdout);
    let refused = explain(&["--client", "192.0.2.1"]).expect_code(1);
    assert!(refused.stdout.starts_with("refused"), "{}", refused.stdout);
}

#[test]
fn explain_prints_json_for_programs() {
    let directory = settings(RULES);
    let run = run(directory.path(), &["explain", "x.azureml.ms", "--json"]).expect_code(0);
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert!(value.to_string().contains("*.azureml.ms"), "{value}");
}

#[test]
fn rules_say_where_each_comes_from() {
    let directory = settings(RULES);
    let text = run(directory.path(), &["rules"]).expect_code(0).stdout;
    for rule in ["ml.azure.com", "*.azureml.ms", ".azurecr.io", "*.search.azureml.ms"] {
        let line =
            text.lines().find(|line| line.contains(rule)).unwrap_or_else(|| panic!("{rule} in\n{text}"));
        assert!(line.contains("namegate.toml:"), "{line}");
    }
    let run = run(directory.path(), &["rules", "--json"]).expect_code(0);
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(value.as_array().expect("an array").len(), 4, "{value}");
}

#[test]
fn the_effective_settings_are_settings() {
    let directory = settings(&format!("block.ttl = \"7s\"\n{RULES}"));
    let first = run(directory.path(), &["config"]).expect_code(0).stdout;
    assert!(first.contains("*.azureml.ms") && first.contains("7s"), "{first}");
    std::fs::write(directory.path().join("second.toml"), &first).expect("a file can be written");
    let second = namegate(directory.path(), &["config", "--config", "second.toml"]).expect_code(0).stdout;
    let table = |text: &str| text.parse::<toml::Table>().expect("TOML");
    assert_eq!(table(&first), table(&second));
}

#[test]
fn no_colour_goes_into_a_pipe() {
    let directory = settings("policy.allow = [\"*bad.example\"]");
    let run = run(directory.path(), &["check"]);
    assert!(!run.stderr.contains('\x1b'), "{:?}", run.stderr);
}

#[test]
fn the_command_line_overrides_settings() {
    let directory = settings(RULES);
    let text =
        run(directory.path(), &["config", "--mode", "observe", "--listen", "127.0.0.1:5300"]).expect_code(0);
    assert!(text.stdout.contains("observe") && text.stdout.contains("127.0.0.1:5300"), "{}", text.stdout);
}

#[test]
fn healthcheck_asks_the_running_gate() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let admin = gate.stderr.expect("admin on http://");
    let admin =
        admin.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    crate::support::eventually("readiness", || (gate.get("/readyz").0 == 200).then_some(()));
    let arguments = ["healthcheck", "--config", "namegate.toml", "--admin", admin];
    namegate(gate.directory(), &arguments).expect_code(0);
    let closed = free_address();
    let arguments = ["healthcheck", "--config", "namegate.toml", "--admin", &closed.to_string()];
    assert_ne!(namegate(gate.directory(), &arguments).code, 0);
}

#[test]
fn upstream_at_own_address_is_rejected() {
    let port = free_address().port();
    for listen in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")] {
        let directory = raw_settings(&format!(
            "[server]\nlisten = [\"{listen}\"]\n[upstream]\nservers = [\"127.0.0.1:{port}\"]\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n"
        ));
        run(directory.path(), &["serve"]).expect_code(1).expect_stderr(&[&format!("127.0.0.1:{port}")]);
    }
}

#[test]
fn a_port_in_use_is_an_error() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = taken.local_addr().expect("an address");
    let directory = settings(&format!("server.listen = [\"{address}\"]"));
    run(directory.path(), &["serve"]).expect_code(1).expect_stderr(&[&address.to_string()]);
}

#[test]
fn a_second_gate_by_mistake_takes_no_query() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let directory = settings(&format!("server.listen = [\"{}\"]", gate.address()));
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            for _ in 0..5 {
                run(directory.path(), &["serve"]).expect_code(1);
            }
        });
        while !second.is_finished() {
            assert_eq!(gate.ask("evil.example", "A").ede_codes(), [15]);
        }
    });
}

#[test]
fn the_gate_ends_in_order() {
    let upstream = ScriptedUpstream::start();
    let late = crate::support::Response::answering(&["slow.allowed.example 60 A 192.0.2.9"]);
    upstream.on(
        "slow.allowed.example",
        crate::support::Script::late(std::time::Duration::from_millis(400), late),
    );
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    client.send(&crate::support::Query::new("slow.allowed.example", "A").bytes());
    upstream.wait_for("slow.allowed.example", 1);
    let stderr = gate.stderr.clone();
    let status = gate.terminate();
    assert_eq!(status.code(), Some(0), "{:?}", stderr.all());
    let reply = client.receive_within(PATIENCE).expect("the pending query is answered");
    assert_eq!(crate::support::Message::expect(&reply).answer_data(), ["192.0.2.9"]);
}

#[test]
fn the_version_and_the_help_are_told() {
    let directory = TempDir::new().expect("a temporary directory");
    let version = namegate(directory.path(), &["--version"]).expect_code(0).stdout;
    // Release builds name the commit.
    let target = std::env::consts::ARCH;
    let start = format!("namegate {} (", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&start) && version.contains(&format!(", {target}-")), "{version}");
    let help = namegate(directory.path(), &["--help"]).expect_code(0).stdout;
    for command in ["check", "explain", "rules", "config", "healthcheck"] {
        assert!(help.contains(command), "{command} is not in\n{help}");
    }
}

#[test]
fn overrides_before_the_command_count_like_those_after_it() {
    let directory = settings(RULES);
    let before = ["--config", "namegate.toml", "--mode", "observe", "config"];
    let run = namegate(directory.path(), &before).expect_code(0);
    assert!(run.stdout.contains("mode = \"observe\""), "{}", run.stdout);
    let after = ["--mode", "observe", "config", "--config", "namegate.toml", "--mode", "enforce"];
    let run = namegate(directory.path(), &after).expect_code(0);
    assert!(run.stdout.contains("mode = \"enforce\""), "{}", run.stdout);
}

#[test]
fn commands_refuse_overrides_that_they_do_not_use() {
    let directory = settings("");
    for arguments in [
        &["import", "list", "-", "--upstream", "10.0.0.4"][..],
        &["top", "--listen", "127.0.0.1"],
        &["prove", "--mode", "observe"],
        &["demo", "--config", "namegate.toml"],
        &["completions", "bash", "--zones", "r"],
    ] {
        namegate(directory.path(), arguments).expect_code(2).expect_stderr(&["unexpected argument"]);
    }
}

#[test]
fn every_shell_gets_its_completions() {
    let directory = settings("");
    for (shell, mark) in [
        ("bash", "complete -F _namegate"),
        ("fish", "complete -c namegate"),
        ("zsh", "#compdef namegate"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let run = namegate(directory.path(), &["completions", shell]).expect_code(0);
        assert!(run.stdout.contains(mark) && run.stdout.contains("healthcheck"), "{shell}: {}", run.stdout);
    }
}

#[test]
fn man_writes_a_page_for_each_command() {
    let directory = settings("");
    let pages = directory.path().join("man1");
    let path = pages.to_str().expect("a path in UTF-8");
    namegate(directory.path(), &["man", path])
        .expect_code(1)
        .expect_stderr(&["help: pass an existing directory"]);
    std::fs::create_dir(&pages).expect("a directory can be made");
    namegate(directory.path(), &["man", path]).expect_code(0);
    for (page, part) in [
        ("namegate.1", "answers only what you allow"),
        ("namegate-prove.1", "Exit status: 0 passed"),
        ("namegate-demo-upstream.1", "listen"),
    ] {
        let text = std::fs::read_to_string(pages.join(page)).expect(page);
        assert!(text.contains(part), "{page}: {text}");
    }
}

#[test]
fn every_help_has_an_example() {
    let directory = settings("");
    let help = namegate(directory.path(), &["--help"]).expect_code(0).stdout;
    let (_, commands) = help.split_once("Commands:\n").expect("a list of commands");
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let commands = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<&str> = commands.filter(|command| !["", "help"].contains(command)).collect();
    assert!(commands.len() >= 18, "{commands:?}");
    for command in commands {
        let run = namegate(directory.path(), &[command, "--help"]).expect_code(0);
        let (_, examples) =
            run.stdout.split_once("Examples:\n").unwrap_or_else(|| panic!("{command}: no example"));
        for line in examples.lines().take_while(|line| !line.is_empty()) {
            assert!(line.starts_with("  ") && line.contains("namegate "), "{command}: wrapped: {line}");
        }
        let wide: Vec<&str> = run.stdout.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{command}: {wide:?}");
    }
}
