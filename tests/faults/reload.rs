//! Tests reloads in quick succession, and of half-written files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::support::gate::Reload;
use crate::support::load::{ask_all, count, expect_none_wrong};
use crate::support::process::memory;
use crate::support::truth::{self, Outcome};
use crate::support::{Gate, Query, ScriptedUpstream, eventually};

/// Number of reloads that shows memory growth, and the time allowed for them on a busy machine.
const RELOADS: usize = 30;
const PATIENCE_FOR_RELOADS: Duration = Duration::from_secs(60);

/// Rules of an allowlist: enough that a leaked policy shows in memory.
const RULES: usize = 20_000;
const MEBIBYTE: usize = 1 << 20;

const SETTINGS: &str = "\
    policy.zones = [\"partners\", \"own\"]\n\
    policy.zones_directory = \"zones\"\n\
    [[local]]\norigin = \"corp.example\"\nfile = \"corp.zone\"\n";
const LIST: &str = "# partners\nlisted.example\n*.below.example\n";
const ZONE: &str =
    "title = \"Own\"\nrevised = 2026-01-01\n[[allow]]\nhost = \"zoned.example\"\npurpose = \"P\"\n";
const MASTER: &str = "\
$ORIGIN corp.example.
$TTL 300
@    IN SOA ns.corp.example. hostmaster.corp.example. 1 7200 900 1209600 60
@    IN NS  ns.corp.example.
ns   IN A   10.0.0.53
www  IN A   10.0.0.80
";

fn start(upstream: &ScriptedUpstream, launcher: &[&str]) -> Gate {
    upstream.by_default(truth::script());
    let files = [("zones/partners.list", LIST), ("zones/own.toml", ZONE), ("corp.zone", MASTER)];
    Gate::launched_by(launcher, &[upstream.address()], SETTINGS, &files)
}

/// Asserts that the whole policy of [`start`] is in force.
#[track_caller]
fn assert_in_force(gate: &Gate, case: &str) {
    for name in ["x.allowed.example", "listed.example", "x.below.example", "zoned.example"] {
        let outcome = truth::judge(name, Some(&gate.ask(name, "A")));
        assert_eq!(outcome, Outcome::Answered(0), "{case}");
    }
    assert_eq!(gate.ask("www.corp.example", "A").answer_data(), ["10.0.0.80"], "{case}");
    // Names that default settings would allow, and that a wider allowlist would.
    for name in ["ml.azure.com", "pypi.org", "evil.example", "x.listed.example"] {
        assert_eq!(truth::judge(name, Some(&gate.ask(name, "A"))), Outcome::Denied, "{case}");
    }
}

/// A way to corrupt a file with the content `sound`.
type Spoil = fn(&Path, &str);

/// States of a file while it is being written, or instead.
const SPOILT: [(&str, Spoil); 7] = [
    ("torn in the middle of a line", |path, sound| {
        write(path, &sound[..sound.find(".example").expect("a name")]);
    }),
    ("empty", |path, _| write(path, "")),
    ("of blank lines", |path, _| write(path, "\n \n")),
    ("of zeros, as after a power cut", |path, sound| write(path, &"\0".repeat(sound.len()))),
    ("not UTF-8", |path, sound| fs::write(path, [sound.as_bytes(), b"\xff\xfe"].concat()).expect("a file")),
    ("a directory", |path, _| {
        fs::remove_file(path).expect("the file is there");
        fs::create_dir(path).expect("a directory");
    }),
    ("a link to nothing", |path, _| {
        fs::remove_file(path).expect("the file is there");
        std::os::unix::fs::symlink("nowhere", path).expect("a link");
    }),
];

fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("a file can be written");
}

/// Replaces whatever is there by `sound`.
fn mend(path: &Path, sound: &str) {
    drop(fs::remove_dir(path));
    let fresh = path.with_extension("fresh");
    write(&fresh, sound);
    fs::rename(&fresh, path).expect("any file can be replaced");
}

/// Asserts that a reload fails, logs a line with `place`, and changes nothing.
fn expect_refused(gate: &Gate, place: &str, case: &str) {
    let told = gate.stderr.all().len();
    assert_eq!(gate.reload(), Reload::Failure, "{case}");
    gate.expect_metrics("the failure", |metrics| {
        metrics.sum("namegate_policy_last_reload_success", &[]) == 0.0
    });
    // The error's lines follow the line that says what failed.
    let told = eventually(&format!("{case}: the location in the log"), || {
        let lines = gate.stderr.all().split_off(told);
        lines.iter().any(|line| line.contains(place)).then_some(lines)
    });
    assert!(told.iter().any(|line| line.contains("reload failed")), "{case}: {told:?}");
    assert_in_force(gate, case);
}

#[test]
fn a_file_that_is_half_written_changes_nothing_and_is_named() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, &[]);
    assert_in_force(&gate, "at first");
    for file in ["namegate.toml", "zones/partners.list", "zones/own.toml", "corp.zone"] {
        let path = gate.directory().join(file);
        let sound = fs::read_to_string(&path).expect("the file");
        for (state, spoil) in SPOILT {
            let case = format!("{file} {state}");
            spoil(&path, &sound);
            // An allowlist without a file is known only by its name.
            let is_missing_zone = state == "a link to nothing" && file.starts_with("zones/");
            let place = if is_missing_zone { path.file_stem() } else { path.file_name() };
            expect_refused(&gate, place.and_then(|place| place.to_str()).expect("UTF-8"), &case);
            mend(&path, &sound);
            assert_eq!(gate.reload(), Reload::Success, "{case}: repaired");
            assert_in_force(&gate, &case);
        }
    }
}

#[test]
#[ignore = "as root it needs setpriv (Debian package util-linux); .ci/run runs it"]
fn a_file_that_may_not_be_read_changes_nothing_and_is_named() {
    let upstream = ScriptedUpstream::start();
    // These capabilities let root read everything.
    let gate = start(&upstream, &["setpriv", "--bounding-set=-dac_override,-dac_read_search"]);
    for file in ["namegate.toml", "zones/partners.list", "zones/own.toml", "corp.zone"] {
        let path = gate.directory().join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).expect("a mode");
        expect_refused(&gate, file, file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
        assert_eq!(gate.reload(), Reload::Success, "{file}");
    }
}

#[test]
fn a_file_replaced_by_another_is_read() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, &[]);
    let path = gate.directory().join("zones/partners.list");
    for round in 0..5 {
        mend(&path, &format!("round{round}.example\n"));
        assert_eq!(gate.reload(), Reload::Success);
        for other in 0..5 {
            let denied = gate.ask(&format!("round{other}.example"), "A").rcode() == "NXDOMAIN";
            assert_eq!(denied, other != round, "round {round}, name {other}");
        }
    }
}

#[test]
fn ten_reloads_a_second_lose_no_query_and_keep_no_memory() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(truth::script());
    let list: String = (0..RULES).map(|number| format!("*.n{number}.many.example\n")).collect();
    let with = |suffix: &str| {
        format!(
            "policy.zones = [\"many.list\"]\npolicy.allow = [\".allowed.example\", \".{suffix}.example\"]"
        )
    };
    let gate = Gate::with_files(&[upstream.address()], &with("one"), &[("many.list", &list)]);
    let (gate, over, reloads) = (&gate, &AtomicBool::new(false), &AtomicUsize::new(0));
    let names = |number: usize| match number % 4 {
        0 => format!("n{number}.allowed.example"),
        1 => format!("x.n{}.many.example", number % RULES),
        2 => format!("often{}.allowed.example", number % 20),
        _ => format!("n{number}.evil.example"),
    };
    let (asked, grown) = scope(|scope| {
        let reloading = scope.spawn(move || {
            let mut early = 0;
            let start = Instant::now();
            let mut next = start;
            while !over.load(Ordering::Relaxed) || reloads.load(Ordering::Relaxed) < RELOADS {
                assert!(start.elapsed() < PATIENCE_FOR_RELOADS, "{reloads:?} reloads are too few");
                let round = reloads.fetch_add(1, Ordering::Relaxed);
                let (now, before) = [("one", "two"), ("two", "one")][round % 2];
                gate.write_settings(&with(now));
                assert_eq!(gate.reload(), Reload::Success);
                // The reload is complete: removed names no longer resolve, and added names do.
                for (suffix, allowed) in [(before, false), (now, true)] {
                    let rcode = gate.udp().ask(&Query::new(&format!("x.{suffix}.example"), "A")).rcode();
                    assert_eq!(rcode == "NOERROR", allowed, "{suffix} in round {round}: {rcode}");
                }
                if round == 10 {
                    early = memory(gate);
                }
                next += Duration::from_millis(100);
                sleep(next.saturating_duration_since(Instant::now()));
            }
            memory(gate).saturating_sub(early)
        });
        let asked = ask_all(&gate.udp(), (0..2000).map(names).collect(), 400, |_| ());
        over.store(true, Ordering::Relaxed);
        (asked, reloading.join().expect("every reload works"))
    });
    expect_none_wrong(&asked);
    assert_eq!(count(&asked, |outcome| *outcome == Outcome::Denied), asked.len() / 4);
    assert_eq!(count(&asked, |outcome| *outcome == Outcome::Answered(0)), asked.len() / 4 * 3);
    let reloads = reloads.load(Ordering::Relaxed);
    eprintln!("{reloads} reloads, {} KiB more", grown / 1024);
    // A policy of this size takes more than a megabyte: leaks of twenty reloads would show.
    assert!(reloads >= RELOADS && grown < 12 * MEBIBYTE, "{} KiB more after {reloads} reloads", grown / 1024);
}

/// The memory of an old policy returns to the system.
#[test]
fn reloads_of_many_rules_keep_no_memory() {
    let upstream = ScriptedUpstream::start();
    let list: String = (0..10 * RULES).map(|number| format!("*.n{number}.many.example\n")).collect();
    let (settings, files) = ("policy.zones = [\"many.list\"]", [("many.list", &*list)]);
    let gate = Gate::with_files(&[upstream.address()], settings, &files);
    let early = memory(&gate);
    for _ in 0..4 {
        assert_eq!(gate.reload(), Reload::Success);
    }
    eventually("the memory of old policies to be freed", || {
        (memory(&gate) < early + 3 * MEBIBYTE).then_some(())
    });
}

/// Processes that keep a CPU busy until dropped.
struct Burners(Vec<std::process::Child>);

impl Drop for Burners {
    fn drop(&mut self) {
        for burner in &mut self.0 {
            drop(burner.kill());
            drop(burner.wait());
        }
    }
}

// Regression: the lowest-priority thread held the cache's lock, so on a busy CPU answers waited up to 4 s for its turn.
#[test]
#[ignore = "keeps a processor busy by taskset (Debian package util-linux); .ci/run runs it"]
fn on_a_busy_processor_answers_do_not_wait_for_a_reload() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(truth::script());
    let pinned = ["taskset", "--cpu-list", "0"];
    let settings = "server.workers = 1\nupstream.max_qps = 0";
    let gate = Gate::launched_by(&pinned, &[upstream.address()], settings, &[]);
    // Many cache entries take long to scan.
    ask_all(
        &gate.udp(),
        (0..15_000).map(|number| format!("kept{number}.allowed.example")).collect(),
        3000,
        |_| (),
    );
    let burner = || {
        // taskset execs the shell, so the shell is what is killed; it also ends by itself if nobody kills it.
        let arguments = [&pinned[1..], &["sh", "-c", "ulimit -t 20; while :; do :; done"]].concat();
        std::process::Command::new(pinned[0]).args(arguments).spawn().expect("a program")
    };
    let _burners = Burners((0..3).map(|_| burner()).collect());
    let names = (0..200).map(|number| format!("n{number}.allowed.example")).collect();
    let asked = ask_all(&gate.udp(), names, 25, |index| {
        if index % 5 == 0 {
            gate.signal("HUP");
        }
    });
    expect_none_wrong(&asked);
    let slowest = asked.iter().map(|asked| asked.took().expect("a reply")).max().unwrap_or_default();
    eprintln!("the slowest after {slowest:?}");
    assert!(slowest < Duration::from_millis(1500), "{slowest:?}");
}
