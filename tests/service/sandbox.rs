//! Tests the sandbox: the privileges that a running namegate has dropped, seen from outside.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tempfile::TempDir;

use crate::support::command::binary;
use crate::support::gate::Reload;
use crate::support::{Gate, ScriptedUpstream};

const NONE: &str = "0000000000000000";

const OFF: &str =
    "[sandbox]\ndrop_capabilities = false\nno_new_privileges = false\nlandlock = false\nseccomp = false\n";

/// The names and status of all threads of a process.
fn threads(pid: u32) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads").flatten();
    let read = |path: std::path::PathBuf| fs::read_to_string(path).expect("a running thread");
    tasks.map(|task| (read(task.path().join("comm")), read(task.path().join("status")))).collect()
}

fn value<'a>(status: &'a str, key: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {status}")).trim()
}

/// True if this process may empty its bounding set, and so may namegate.
fn may_empty_the_bounding_set() -> bool {
    const CAP_SETPCAP: u32 = 8;
    let own = fs::read_to_string("/proc/self/status").expect("own status");
    u64::from_str_radix(value(&own, "CapEff"), 16).expect("a number") & (1 << CAP_SETPCAP) != 0
}

#[test]
fn every_thread_has_given_up_everything() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "log.file = \"{dir}/queries.json\"");
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR");
    assert_eq!(gate.reload(), Reload::Success);
    let threads = threads(gate.pid());
    let names: BTreeSet<&str> = threads.iter().map(|(name, _)| name.trim()).collect();
    for name in ["namegate", "udp-0", "relay", "runtime", "event-log", "query-log", "reload"] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    for (name, status) in &threads {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(value(status, set), NONE, "{set} of {name}");
        }
        if may_empty_the_bounding_set() {
            assert_eq!(value(status, "CapBnd"), NONE, "{name}");
        }
        assert_eq!(value(status, "NoNewPrivs"), "1", "{name}");
        assert_eq!((value(status, "Seccomp"), value(status, "Seccomp_filters")), ("2", "2"), "{name}");
    }
    let line = gate.stderr.expect("sandbox: ");
    let directory = fs::canonicalize(gate.directory()).expect("a directory").display().to_string();
    for text in ["no capabilities", "no new privileges", "Landlock (ABI ", "reads ", ": ", "system calls"] {
        assert!(line.contains(text), "`{text}` is not in {line}");
    }
    assert!(line.contains(&format!("writes {directory}")), "{line}");
    gate.expect_clean_log();
}

#[test]
fn what_the_process_tells_of_itself_is_still_there() {
    let gate = Gate::start(&ScriptedUpstream::start(), "");
    let metrics = gate.metrics();
    for metric in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_threads"]
    {
        assert!(metrics.sum(metric, &[]) > 0.0, "{metric}");
    }
}

#[test]
fn each_sandbox_part_can_be_off_and_is_then_logged() {
    let gate = Gate::start(&ScriptedUpstream::start(), OFF);
    for (_, status) in threads(gate.pid()) {
        assert_eq!((value(&status, "NoNewPrivs"), value(&status, "Seccomp")), ("0", "0"));
    }
    for key in ["drop_capabilities", "no_new_privileges", "landlock", "seccomp"] {
        let line = gate.stderr.expect(&format!("`sandbox.{key} = false`: "));
        assert!(line.contains("WARN"), "{line}");
    }
}

#[test]
fn a_reload_that_names_a_new_directory_says_what_forbids_it() {
    let zone = "title = \"T\"\nsource = \"S\"\nrevised = 2026-01-01\n[[allow]]\nhost = \"a.example\"\npurpose = \"P\"\n";
    let outside = TempDir::new().expect("a temporary directory");
    fs::write(outside.path().join("own.toml"), zone).expect("a file can be written");
    let named = format!("[policy]\nzones = [\"own\"]\nzones_directory = \"{}\"\n", outside.path().display());
    for (sandbox, result) in [("", Reload::Failure), ("[sandbox]\nlandlock = false\n", Reload::Success)] {
        let upstream = ScriptedUpstream::start();
        let gate = Gate::start(&upstream, sandbox);
        gate.write_settings(&format!("{named}{sandbox}"));
        assert_eq!(gate.reload(), result, "{sandbox}");
        if result == Reload::Failure {
            gate.stderr.expect(&outside.path().join("own.toml").display().to_string());
            let remedy = gate.stderr.expect("the sandbox only allows reading ");
            assert!(
                remedy.contains("restart namegate") && remedy.contains("`sandbox.landlock = false`"),
                "{remedy}"
            );
            assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR", "the old policy is in force");
        }
        // A process started with these settings reads it.
        let gate = Gate::start(&upstream, &named);
        assert_eq!(gate.ask("a.example", "A").rcode(), "NOERROR");
    }
}

#[test]
fn files_that_are_put_in_the_place_of_others_are_read() {
    let zone = |host: &str| {
        format!(
            "title = \"T\"\nsource = \"S\"\nrevised = 2026-01-01\n[[allow]]\nhost = \"{host}\"\npurpose = \"P\"\n"
        )
    };
    let upstream = ScriptedUpstream::start();
    let settings = "policy.zones = [\"own\"]\npolicy.zones_directory = \"{dir}/zones\"";
    let gate = Gate::with_files(&[upstream.address()], settings, &[("zones/own.toml", &zone("a.example"))]);
    for (file, content) in [
        ("zones/own.toml", zone("b.example")),
        ("namegate.toml", fs::read_to_string(gate.settings_path()).expect("settings")),
    ] {
        // As editors do it.
        gate.write_file(&format!("{file}.new"), &content);
        let new = gate.directory().join(format!("{file}.new"));
        fs::rename(new, gate.directory().join(file)).expect("a file can be renamed");
    }
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("b.example", "A").rcode(), "NOERROR");
}

#[test]
#[ignore = "needs root, iproute2 and dig, for a network namespace; .ci/run runs it"]
fn nobody_with_one_capability_serves_port_53() {
    let upstream = ScriptedUpstream::start();
    let directory = TempDir::new().expect("a temporary directory");
    // The user `nobody` cannot reach the build directory.
    let copy = directory.path().join("namegate");
    fs::copy(binary(), &copy).expect("the binary can be copied");
    for (path, mode) in [(directory.path().to_owned(), 0o755), (copy.clone(), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
    }
    let as_nobody = "ip link set lo up && exec setpriv --reuid=65534 --regid=65534 --clear-groups \
                     --inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service \
                     --bounding-set=-all,+net_bind_service \"$0\" \"$@\"";
    let settings = "server.listen = [\"127.0.0.1:53\"]";
    let gate = Gate::launched(&[upstream.address()], settings, &[], |command| {
        let file = command.get_args().last().expect("a settings file").to_owned();
        let beside = std::path::Path::new(&file).parent().expect("a directory").to_owned();
        fs::set_permissions(beside, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        let arguments = command.get_args().map(ToOwned::to_owned).collect::<Vec<_>>();
        let (stdout, stderr) = (std::process::Stdio::piped(), std::process::Stdio::piped());
        *command = Command::new("unshare");
        command
            .args(["--net", "sh", "-c", as_nobody])
            .arg(&copy)
            .args(arguments)
            .stdout(stdout)
            .stderr(stderr);
    });
    for (name, status) in threads(gate.pid()) {
        assert_eq!(value(&status, "Uid"), "65534\t65534\t65534\t65534", "{name}");
        assert_eq!((value(&status, "CapPrm"), value(&status, "CapEff")), (NONE, NONE), "{name}");
    }
    gate.stderr.expect("bounding set unchanged");
    let dig = ["-t", &gate.pid().to_string(), "-n", "dig", "@127.0.0.1", "blocked.example", "+tries=1"]
        .map(str::to_owned);
    let run = Command::new("nsenter").args(dig).output().expect("nsenter runs");
    let told = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(told.contains("status: NXDOMAIN"), "{told}");
}
