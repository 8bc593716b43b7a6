//! Tests `namegate bundle`: what it packs, what it refuses, and that other programs read and verify it.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::command::{Finished, namegate};
use crate::support::settings::write;

/// A directory with a key `key`, and a policy in `policy`.
pub(super) fn workshop(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    namegate(directory.path(), &["bundle", "--new-key", "key"]).expect_code(0);
    for (path, content) in files {
        write(&directory.path().join("policy").join(path), content);
    }
    directory
}

/// Packs `policy` as `output`.
pub(super) fn bundle(directory: &Path, serial: u64, output: &str) -> Finished {
    let serial = serial.to_string();
    namegate(directory, &["bundle", "policy", "--serial", &serial, "--key", "key", "--output", output])
}

fn tool(directory: &Path, program: &str, arguments: &[&str]) {
    let run = Command::new(program).args(arguments).current_dir(directory).output();
    let run = run.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(run.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
}

const SETTINGS: &str = "policy.zones = [\"zones/team.list\"]\nupstream.servers = [\"10.0.0.4\"]\n";

/// It means another directory where `pull` checks it than where a resolver reads it.
const OUTSIDE: &str = "policy.zones = [\"../policy/a.list\"]\nupstream.servers = [\"10.0.0.4\"]\n";

#[test]
fn what_a_reload_would_refuse_is_not_packed() {
    let many: Vec<(String, String)> = (0..1001).map(|n| (format!("{n}.txt"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (&**path, &**text)).collect();
    for (files, reason) in [
        (&[("a.list", "ml..azure\n")][..], "a.list:1:3"),
        (&[("a.toml", "title = 1\n")], "a.toml:1"),
        (&[("namegate.toml", SETTINGS)], "zones/team.list"),
        (&[("namegate.toml", "nothing = 1\n")], "namegate.toml:1:1"),
        (&[("namegate.toml", OUTSIDE), ("a.list", "a.example\n")], "leads out of the directory"),
        (&[("two words.list", "a.example\n")], "file name `two words.list`"),
        (&[("manifest.json", "{}")], "file name `manifest.json`"),
        (&[(".hidden", "x")], "no files"),
        (&many, "1001 files, more than 1000"),
    ] {
        let directory = workshop(files);
        bundle(directory.path(), 1, "out.tar").expect_code(1).expect_stderr(&[reason]);
        assert!(!directory.path().join("out.tar").exists());
    }
    let directory = workshop(&[("a.list", "a.example\n")]);
    std::os::unix::fs::symlink("/etc/hosts", directory.path().join("policy/hosts.list")).expect("a link");
    bundle(directory.path(), 1, "out.tar").expect_code(1).expect_stderr(&["not a regular file"]);
}

// Regression: everything in the directory was packed, the signing key too.
#[test]
fn secrets_are_not_packed() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n";
    let token =
        "admin.token_file = \"token\"\nupstream.servers = [\"10.0.0.4\"]\npolicy.zones = [\"a.list\"]\n";
    for files in [
        &[("a.list", "a.example\n"), ("tls/server.pem", pem)][..],
        &[
            ("a.list", "a.example\n"),
            ("namegate.toml", token),
            ("token", "0123456789abcdef0123456789abcdef\n"),
        ],
    ] {
        let directory = workshop(files);
        let run = bundle(directory.path(), 1, "out.tar").expect_code(1);
        assert!(run.stderr.contains(": a secret\n  help: "), "{files:?}: {}", run.stderr);
    }
    let directory = workshop(&[("a.list", "a.example\n")]);
    fs::copy(directory.path().join("key"), directory.path().join("policy/fleet.key")).expect("a copy");
    bundle(directory.path(), 1, "out.tar").expect_code(1).expect_stderr(&["policy/fleet.key: a secret"]);
    fs::remove_file(directory.path().join("policy/fleet.key")).expect("a file can be removed");
    fs::copy(directory.path().join("key.pub"), directory.path().join("policy/fleet.pub")).expect("a copy");
    bundle(directory.path(), 1, "out.tar").expect_code(0);
}

#[test]
fn a_bundle_replaces_no_key_and_contains_no_bundle() {
    let directory = workshop(&[("a.list", "a.example\n")]);
    let key = fs::read(directory.path().join("key")).expect("a key");
    bundle(directory.path(), 1, "key").expect_code(1).expect_stderr(&["--output key is the key"]);
    assert_eq!(fs::read(directory.path().join("key")).expect("a key"), key);
    for serial in 1..4 {
        let run = bundle(directory.path(), serial, "policy/namegate-policy.tar").expect_code(0);
        assert!(run.stdout.ends_with("\n1 file: a.list\n"), "{}", run.stdout);
    }
}

#[test]
fn times_that_make_no_sense_are_refused() {
    let directory = workshop(&[("a.list", "a.example\n")]);
    for (lifetime, reason) in
        [("0s", "would expire at once"), ("8000y", "after the year 9999"), ("500000000000y", "year 9999")]
    {
        let pack =
            ["bundle", "policy", "--serial", "1", "--key", "key", "--expires", lifetime, "-o", "out.tar"];
        namegate(directory.path(), &pack).expect_code(1).expect_stderr(&[reason]);
    }
    assert!(!directory.path().join("out.tar").exists());
}

#[test]
fn keys_that_others_can_read_or_that_exist_are_refused() {
    let directory = workshop(&[("a.list", "a.example\n")]);
    let at = |name: &str| directory.path().join(name);
    namegate(directory.path(), &["bundle", "--new-key", "key"])
        .expect_code(1)
        .expect_stderr(&["File exists"]);
    tool(directory.path(), "chmod", &["o+r", "key"]);
    bundle(directory.path(), 1, "out.tar")
        .expect_code(1)
        .expect_stderr(&["other users can read", "chmod o="]);
    fs::copy(at("key.pub"), at("key")).expect("a copy");
    tool(directory.path(), "chmod", &["600", "key"]);
    bundle(directory.path(), 1, "out.tar").expect_code(1).expect_stderr(&["not a minisign secret key"]);
}

#[test]
fn equal_policies_make_equal_bundles() {
    let directory = workshop(&[("namegate.toml", SETTINGS), ("zones/team.list", "a.example\n")]);
    let pack = |output: &str| {
        let run = Command::new(crate::support::command::binary())
            .args(["bundle", "policy", "--serial", "7", "--key", "key", "-o", output])
            .env("SOURCE_DATE_EPOCH", "1790000000")
            .current_dir(directory.path())
            .output();
        assert!(run.expect("the binary runs").status.success());
        fs::read(directory.path().join(output)).expect("a bundle")
    };
    let first = pack("1.tar");
    // Another time and order in the directory.
    fs::remove_file(directory.path().join("policy/namegate.toml")).expect("a file");
    write(&directory.path().join("policy/namegate.toml"), SETTINGS);
    assert!(first == pack("2.tar"), "the bundles differ");
}

#[test]
#[ignore = "needs minisign and zstd (Debian packages); .ci/run installs them"]
fn bundles_are_verified_and_read_by_other_programs() {
    let directory = workshop(&[("zones/team.list", "a.example\n"), ("notes.txt", &"text ".repeat(100_000))]);
    let key = |name: &str| directory.path().join(name).display().to_string();
    tool(directory.path(), "minisign", &["-G", "-W", "-p", "other.pub", "-s", "other"]);
    for name in ["key", "other"] {
        let out = directory.path().join(format!("out-{name}"));
        fs::create_dir(&out).expect("a directory");
        let pack = ["bundle", "policy", "--serial", "3", "--key", name, "--output", "bundle.tar"];
        namegate(directory.path(), &pack).expect_code(0);
        tool(&out, "tar", &["-xf", "../bundle.tar"]);
        tool(&out, "minisign", &["-Vm", "policy.tar.zst", "-p", &key(&format!("{name}.pub"))]);
        tool(&out, "tar", &["--zstd", "-xf", "policy.tar.zst"]);
        let text = fs::read_to_string(out.join("zones/team.list")).expect("a file");
        assert_eq!(text, "a.example\n");
        let manifest = fs::read_to_string(out.join("manifest.json")).expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
        for file in manifest["files"].as_array().expect("files") {
            let (path, hash) =
                (file["path"].as_str().expect("a path"), file["sha256"].as_str().expect("a hash"));
            fs::write(out.join("sums"), format!("{hash}  {path}\n")).expect("a file");
            tool(&out, "sha256sum", &["--check", "--strict", "sums"]);
        }
    }
}
