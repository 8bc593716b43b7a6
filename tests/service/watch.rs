//! Tests that files which a reload reads are reloaded when they change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use crate::support::{Gate, ScriptedUpstream, beside, eventually};

const WATCH: &str = "server.watch = true\n";

/// A gate that watches its files; `settings` are added to the base settings.
fn gate(upstream: &ScriptedUpstream, settings: &str, files: &[(&str, &str)]) -> Gate {
    Gate::with_files(&[upstream.address()], &(WATCH.to_owned() + settings), files)
}

fn becomes(gate: &Gate, name: &str, rcode: &str) {
    eventually(&format!("{rcode} for {name}"), || (gate.ask(name, "A").rcode() == rcode).then_some(()));
}

/// Waits for so many reloads. The count follows the policy by a moment.
fn expect_reloads(gate: &Gate, succeeded: f64, failed: f64) {
    let metrics = gate.expect_metrics("the reloads", |metrics| {
        let count = |result| metrics.sum("namegate_policy_reloads_total", &[("result", result)]);
        count("success") >= succeeded && count("failure") >= failed
    });
    assert_eq!(metrics.sum("namegate_policy_reloads_total", &[]), succeeded + failed);
}

fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).expect("a file can be written");
    fs::rename(new, path).expect("a file can be replaced");
}

/// Puts `content` into `file` of a directory that is published as Kubernetes publishes a ConfigMap: files are links to
/// `..data/FILE`, and `..data` is a link to the newest of the directories.
fn publish(directory: &Path, version: &str, file: &str, content: &str) {
    fs::create_dir_all(directory.join(version)).expect("a directory");
    fs::write(directory.join(version).join(file), content).expect("a file can be written");
    symlink(version, directory.join("..data_tmp")).expect("a link");
    fs::rename(directory.join("..data_tmp"), directory.join("..data")).expect("a link can be replaced");
    if directory.join(file).symlink_metadata().is_err() {
        symlink(Path::new("..data").join(file), directory.join(file)).expect("a link");
    }
}

#[test]
fn every_kind_of_file_is_reloaded_when_it_changes() {
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], fn(&Gate));
    let zones = "policy.zones = [\"{dir}/own.list\"]\npolicy.zones_directory = \"{dir}/zones\"";
    let named = "policy.zones = [\"extra\"]\npolicy.zones_directory = \"{dir}/zones\"";
    let local = "local = [{ origin = \"wanted.example\", file = \"{dir}/wanted.zone\" }]";
    let zone = |address: &str| {
        format!("$TTL 60\n@ SOA ns.wanted.example. root.wanted.example. 1 1 1 1 1\n@ NS ns\n{address}")
    };
    let group =
        "[[client]]\nname = \"this-host\"\nsubnets = [\"127.0.0.0/8\"]\nzones = [\"{dir}/own.list\"]\n";
    let cases: [Case<'_>; 7] = [
        ("settings in place", "", &[], |gate| {
            gate.write_settings(&(WATCH.to_owned() + "policy.allow = [\"wanted.example\"]"));
        }),
        ("settings replaced", "", &[], |gate| {
            let text = fs::read_to_string(gate.settings_path()).expect("settings");
            replace(&gate.settings_path(), &text.replace("[\".allowed.example\"]", "[\"wanted.example\"]"));
        }),
        ("an allowlist in place", zones, &[("own.list", "a.example\n"), ("zones/x", "")], |gate| {
            gate.write_file("own.list", "wanted.example\n");
        }),
        ("an allowlist replaced", zones, &[("own.list", "a.example\n"), ("zones/x", "")], |gate| {
            replace(&gate.directory().join("own.list"), "wanted.example\n");
        }),
        ("an allowlist that is named", named, &[("zones/extra.list", "a.example\n")], |gate| {
            gate.write_file("zones/extra.list", "wanted.example\n");
        }),
        ("an allowlist of a client group", group, &[("own.list", "a.example\n")], |gate| {
            gate.write_file("own.list", "wanted.example\n");
        }),
        ("a local zone", local, &[("wanted.zone", &zone("ns A 192.0.2.1\n"))], |gate| {
            let text = fs::read_to_string(gate.directory().join("wanted.zone")).expect("a zone");
            gate.write_file("wanted.zone", &(text + "@ A 192.0.2.1\n"));
        }),
    ];
    beside(cases, |(case, settings, files, change)| {
        let upstream = ScriptedUpstream::start();
        let gate = gate(&upstream, settings, files);
        assert!(gate.ask("wanted.example", "A").answer_data().is_empty(), "{case}");
        change(&gate);
        eventually(case, || (!gate.ask("wanted.example", "A").answer_data().is_empty()).then_some(()));
        gate.stderr.expect("reloading: changed: ");
        expect_reloads(&gate, 1.0, 0.0);
    });
}

#[test]
fn a_config_map_is_reloaded_when_it_is_swapped() {
    let upstream = ScriptedUpstream::start();
    let directory = tempfile::tempdir().expect("a directory");
    publish(directory.path(), "..2026_1", "own.list", "a.example\n");
    let settings = format!("policy.zones = [\"{}/own.list\"]", directory.path().display());
    let gate = gate(&upstream, &settings, &[]);
    for (version, name) in [("..2026_2", "b.example"), ("..2026_3", "c.example")] {
        assert_eq!(gate.ask(name, "A").rcode(), "NXDOMAIN");
        publish(directory.path(), version, "own.list", &format!("{name}\n"));
        becomes(&gate, name, "NOERROR");
    }
    assert_eq!(gate.ask("b.example", "A").rcode(), "NXDOMAIN");
    expect_reloads(&gate, 2.0, 0.0);
}

#[test]
fn broken_files_change_nothing_until_they_are_mended() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "policy.zones = [\"{dir}/own.list\"]", &[("own.list", "a.example\n")]);
    gate.write_file("own.list", "*broken\n");
    expect_reloads(&gate, 0.0, 1.0);
    assert_eq!(gate.ask("a.example", "A").rcode(), "NOERROR", "the previous policy stays");
    // A file that is missing when the settings name it may come later.
    gate.write_settings(&(WATCH.to_owned() + "policy.zones = [\"{dir}/later.list\"]"));
    expect_reloads(&gate, 0.0, 2.0);
    gate.write_file("later.list", "b.example\n");
    becomes(&gate, "b.example", "NOERROR");
    assert_eq!(gate.ask("a.example", "A").rcode(), "NXDOMAIN");
    expect_reloads(&gate, 1.0, 2.0);
}

// Regression: an error in the settings may hide which files they name; those read before were watched no more.
#[test]
fn a_file_without_which_settings_are_wrong_is_watched_until_it_is_back() {
    type Case<'a> = (&'a str, &'a str, &'a str);
    let root =
        rcgen::generate_simple_self_signed(["root.example".to_owned()]).expect("a certificate").cert.pem();
    let cases: [Case<'_>; 2] = [
        ("an allowlist of a directory", "zones/own.list", "a.example\n"),
        ("trusted authorities", "roots.pem", &root),
    ];
    let settings = "policy.zones = [\"own\", \"{dir}/other.list\"]\npolicy.zones_directory = \"{dir}/zones\"\n\
                    upstream.roots = \"{dir}/roots.pem\"";
    let files = [("zones/own.list", "a.example\n"), ("other.list", "b.example\n"), ("roots.pem", &root)];
    beside(cases, |(case, file, content)| {
        let upstream = ScriptedUpstream::start();
        let gate = gate(&upstream, settings, &files);
        fs::remove_file(gate.directory().join(file)).expect("a file can be removed");
        expect_reloads(&gate, 0.0, 1.0);
        // Beside it, a name is taken out.
        gate.write_file("other.list", "c.example\n");
        gate.write_file(file, content);
        becomes(&gate, "c.example", "NOERROR");
        assert_eq!(gate.ask("b.example", "A").rcode(), "NXDOMAIN", "{case}");
    });
}

// Regression: a reload that a new version overtook put parts of both in force.
#[test]
fn what_changes_while_it_is_read_is_read_again() {
    let upstream = ScriptedUpstream::start();
    let directory = tempfile::tempdir().expect("a directory");
    // Reading it takes longer than the next version needs to come.
    let long: String = (0..100_000).map(|number| format!("n{number}.example\n")).collect();
    let publish = |version: &str, name: &str| {
        let at = directory.path().join(version);
        fs::create_dir(&at).expect("a directory");
        fs::write(at.join("first.list"), format!("first-{name}.example\n{long}")).expect("a file");
        fs::write(at.join("last.list"), format!("last-{name}.example\n")).expect("a file");
        symlink(version, directory.path().join("new")).expect("a link");
        fs::rename(directory.path().join("new"), directory.path().join("..data")).expect("a link");
    };
    publish("..1", "old");
    let data = directory.path().join("..data");
    let settings = format!("policy.zones = [\"{0}/first.list\", \"{0}/last.list\"]", data.display());
    let gate = gate(&upstream, &settings, &[]);
    publish("..2", "old");
    gate.stderr.expect("reloading: changed");
    std::thread::sleep(Duration::from_millis(30));
    publish("..3", "new");
    eventually("the new version", || {
        if gate.ask("last-new.example", "A").rcode() != "NOERROR" {
            return None;
        }
        assert_eq!(gate.ask("first-old.example", "A").rcode(), "NXDOMAIN", "parts of two versions");
        Some(())
    });
    assert_eq!(gate.ask("first-new.example", "A").rcode(), "NOERROR");
}

#[test]
fn files_that_are_still_being_written_are_not_read() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "policy.zones = [\"{dir}/own.list\"]", &[("own.list", "a.example\n")]);
    let mut text = String::new();
    for number in 0..30 {
        text += &format!("n{number}.example\n");
        gate.write_file("own.list", &text);
        std::thread::sleep(Duration::from_millis(100));
        if number < 29 {
            assert_eq!(gate.ask("a.example", "A").rcode(), "NOERROR", "{number}");
        }
    }
    becomes(&gate, "n29.example", "NOERROR");
    expect_reloads(&gate, 1.0, 0.0);
}

#[test]
fn files_are_not_watched_where_that_is_off() {
    let upstream = ScriptedUpstream::start();
    let gate = gate(&upstream, "", &[]);
    gate.write_settings("policy.allow = [\"wanted.example\"]");
    becomes(&gate, "wanted.example", "NOERROR");
    // The settings that turned it off were the last that it read by itself.
    gate.write_settings("policy.allow = [\"other.example\"]");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(gate.ask("other.example", "A").rcode(), "NXDOMAIN");
    expect_reloads(&gate, 1.0, 0.0);
}
