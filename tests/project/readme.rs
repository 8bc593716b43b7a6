//! The README: what it shows is what happens.

use std::path::Path;

use tempfile::TempDir;

use crate::support::command::namegate;
use crate::support::{Gate, Query, Response, Script, ScriptedUpstream};

const README: &str = include_str!("../../README.md");

/// The text of every fenced block in `language`.
fn blocks(language: &str) -> Vec<&'static str> {
    let mut blocks = README.split("```").skip(1).step_by(2);
    let body = move |block: &'static str| block.strip_prefix(language)?.strip_prefix('\n');
    std::iter::from_fn(move || blocks.next().map(body)).flatten().collect()
}

fn check(directory: &Path) {
    namegate(directory, &["check", "--config", "namegate.toml"]).expect_code(0);
}

#[test]
fn setting_up_is_two_commands() {
    assert_eq!(blocks("sh"), ["cargo run --release\n", "cargo test\n"]);
}

#[test]
fn the_settings_shown_are_good() {
    let blocks = blocks("toml");
    let settings: Vec<&&str> = blocks.iter().filter(|block| block.contains("[server]")).collect();
    assert_eq!(settings.len(), 1);
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("namegate.toml"), settings[0]).unwrap();
    check(directory.path());
}

#[test]
fn the_zone_shown_is_good() {
    let blocks = blocks("toml");
    let zone = blocks.iter().find(|block| block.contains("[[allow]]")).unwrap();
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("farm.toml"), zone).unwrap();
    let settings = "[policy]\nzones = [\"farm.toml\"]\n[parameters]\nteam = [\"blue\"]\n";
    std::fs::write(directory.path().join("namegate.toml"), settings).unwrap();
    check(directory.path());
    for (name, code) in [
        ("a.packages.corp.example", 0),
        ("packages.corp.example", 1),
        ("blue.artifacts.example", 0),
        ("red.artifacts.example", 1),
        ("a.legacy.packages.corp.example", 1),
    ] {
        namegate(directory.path(), &["explain", name, "--config", "namegate.toml"]).expect_code(code);
    }
}

#[test]
fn the_local_zone_shown_is_good() {
    let blocks = blocks("toml");
    let local = blocks.iter().find(|block| block.contains("[[local]]")).unwrap();
    let directory = TempDir::new().unwrap();
    let zone = "@ 60 IN SOA ns hostmaster 1 3600 300 86400 10\n@ 60 IN NS ns\nns 60 IN A 192.0.2.53\n";
    std::fs::write(directory.path().join("privatelink.zone"), zone).unwrap();
    std::fs::write(directory.path().join("namegate.toml"), local).unwrap();
    check(directory.path());
}

/// The dig commands and what is printed under each.
fn transcripts() -> Vec<(Vec<&'static str>, &'static str)> {
    let console = blocks("console");
    let [console] = console.as_slice() else { panic!("one console block") };
    let transcript = |text: &'static str| {
        let (command, output) = text.split_once('\n').unwrap();
        (command.split(' ').collect(), output)
    };
    console.split("$ dig @127.0.0.1 -p 1053 ").skip(1).map(transcript).collect()
}

#[test]
fn the_dig_lines_are_answered_as_shown() {
    let transcripts = transcripts();
    let [(allowed, chain), (blocked, denial), (short, address)] = transcripts.as_slice() else {
        panic!("three dig lines")
    };
    let upstream = ScriptedUpstream::start();
    let name = |words: &[&'static str]| *words.iter().rfind(|word| !word.starts_with('+')).unwrap();
    let records: Vec<String> = chain
        .lines()
        .filter(|line| line.contains(" IN "))
        .map(|line| line.replace(" IN ", " ").replace(". ", " "))
        .collect();
    let records: Vec<&str> = records.iter().map(|record| record.trim_end_matches('.')).collect();
    assert_eq!(records.len(), 2);
    upstream.on(name(allowed), Script::reply(Response::answering(&records)));
    let answer = format!("{} 300 A {}", name(short), address.trim());
    upstream.on(name(short), Script::reply(Response::answering(&[&answer])));
    let zones = "policy.zones = [\"azure-ml\", \"azure-government\", \"python\", \"r\"]";
    let gate = Gate::start(&upstream, zones);

    assert_eq!(gate.ask(name(allowed), "A").answer_texts(), records);
    assert!(chain.contains("status: NOERROR") && chain.contains("flags: qr rd ra;"));

    let reply = gate.ask(name(blocked), "A");
    assert!(denial.contains("status: NXDOMAIN") && denial.contains("namegate.invalid. hostmaster.invalid."));
    assert_eq!(reply.rcode(), "NXDOMAIN");
    assert_eq!(reply.ede_codes(), [15]);
    assert!(denial.contains("; EDE: 15 (Blocked): (name is not on the allowlist)"));

    assert!(short.contains(&"+tcp"));
    let reply = gate.tcp().ask(&Query::new(name(short), "A"));
    assert_eq!(reply.answer_data(), [address.trim()]);
    assert_eq!(upstream.asked().len(), 2, "the blocked name stayed here");
}
