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

#[test]
fn what_a_reload_would_refuse_is_not_packed() {
    let many: Vec<(String, String)> = (0..1001).map(|n| (format!("{n}.txt"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (&**path, &**text)).collect();
    for (files, reason) in [
        (&[("a.list", "ml..azure\n")][..], "a.list:1:3"),
        (&[("a.toml", "title = 1\n")], "a.toml:1"),
        (&[("namegate.toml", SETTINGS)], "zones/team.list"),
        (&[("namegate.toml", "nothing = 1\n")], "namegate.toml:1:1"),
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
