//! Tests exhausted resources: file descriptors, disk space, memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::client::TcpEvent;
use crate::support::load::{ask_all, count};
use crate::support::process::{descriptors, memory, processor_time};
use crate::support::truth::{self, Outcome};
use crate::support::{Gate, Query, Script, ScriptedUpstream, TcpClient, eventually};

/// Runs namegate with this many descriptors.
const FEW: [&str; 4] = ["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"];

/// Sets the descriptor limit of a running namegate.
fn limit_descriptors(gate: &Gate, count: usize) {
    let limit = Rlimit { current: Some(count as u64), maximum: Some(64) };
    prlimit(Pid::from_raw(gate.pid() as i32), Resource::Nofile, limit).expect("a limit can be set");
}

fn blocked() -> Query {
    Query::new("evil.example", "A")
}

#[test]
fn without_descriptors_datagrams_are_answered() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(truth::script());
    let gate = Gate::launched_by(&FEW, &[upstream.address()], "server.workers = 2", &[]);
    let kept = "kept.allowed.example";
    let ask = |name: &str| truth::judge(name, Some(&gate.ask(name, "A")));
    assert_eq!(ask(kept), Outcome::Answered(0));
    // Fewer than its connections may use.
    limit_descriptors(&gate, 40);
    let told = gate.stderr.all().len();
    let mut clients: Vec<TcpClient> = (0..200).map(|_| gate.tcp()).collect();
    gate.stderr.expect("cannot accept TCP connections");
    let (start, before) = (Instant::now(), processor_time(&gate));
    while start.elapsed() < Duration::from_secs(2) {
        assert_eq!(ask("evil.example"), Outcome::Denied);
        assert_eq!(ask(kept), Outcome::Answered(0));
        sleep(Duration::from_millis(20));
    }
    let used = processor_time(&gate) - before;
    assert!(used < Duration::from_millis(400), "{used:?} of CPU time within two seconds without descriptors");
    let lines = gate.stderr.all().split_off(told);
    assert!(lines.len() <= 12, "{} lines of log: {:?}", lines.len(), lines);
    // A connection that is already open stays served.
    assert_eq!(clients[0].ask(&blocked()).rcode(), "NXDOMAIN");
    drop(clients);
    eventually("streams served again", || {
        let mut client = gate.tcp();
        client.send(&blocked().bytes());
        matches!(client.event_within(Duration::from_secs(2)), TcpEvent::Message(_)).then_some(())
    });
    eventually("upstream queries to work again", || {
        (ask(&format!("n{}.allowed.example", upstream.queries().len())) == Outcome::Answered(0)).then_some(())
    });
    let (queries, outcomes) = gate.settled_metrics().accounting();
    assert_eq!(queries, outcomes);
}

#[test]
fn connections_leave_descriptors_for_asking_upstreams() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(truth::script());
    let gate = Gate::launched_by(&FEW, &[upstream.address()], "server.workers = 2", &[]);
    let _clients: Vec<TcpClient> = (0..200).map(|_| gate.tcp()).collect();
    sleep(Duration::from_millis(500));
    // Longer than a port's lifetime, so that new sockets are needed.
    for number in 0..40 {
        let name = format!("n{number}.allowed.example");
        assert_eq!(truth::judge(&name, Some(&gate.ask(&name, "A"))), Outcome::Answered(0), "{number}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn without_sockets_for_upstreams_clients_are_told() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(truth::script());
    let gate = Gate::launched_by(&FEW, &[upstream.address()], "server.workers = 1", &[]);
    // From now on it cannot open more: sockets older than a second cannot be replaced.
    limit_descriptors(&gate, descriptors(&gate));
    let told = gate.stderr.all().len();
    let names: Vec<String> = (0..400).map(|number| format!("n{number}.allowed.example")).collect();
    let asked = ask_all(&gate.udp(), names, 200, |_| ());
    let failed = count(&asked, |outcome| *outcome == Outcome::Failed);
    // A socket that closes makes room for a new one.
    let answered = count(&asked, |outcome| *outcome == Outcome::Answered(0));
    assert!(failed > 300 && failed + answered == asked.len(), "{failed} failed, {answered} are answered");
    let replies = asked.iter().filter_map(|asked| asked.reply.as_ref());
    assert!(replies.into_iter().all(|(reply, _)| reply.answers.len() == 1 || reply.ede_codes() == [23]));
    let lines = gate.stderr.all().split_off(told);
    assert!(lines.len() <= 5, "{} lines of log: {:?}", lines.len(), &lines[..5]);
    assert!(lines.iter().any(|line| line.contains("cannot query upstream")), "{lines:?}");
    limit_descriptors(&gate, 64);
    // These names were not queried upstream, so no failure is cached.
    let failed = asked.iter().rev().filter(|asked| asked.outcome() == Outcome::Failed);
    let names = failed.map(|asked| asked.name.clone()).take(40).collect();
    let again = ask_all(&gate.udp(), names, 200, |_| ());
    assert!(count(&again, |outcome| *outcome == Outcome::Answered(0)) > 30, "{again:?}");
    eventually("upstream queries to work again", || {
        let name = format!("later{}.allowed.example", gate.metrics().accounting().0);
        (truth::judge(&name, Some(&gate.ask(&name, "A"))) == Outcome::Answered(0)).then_some(())
    });
}

/// A disk of 64 KiB, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=512k,mode=755", "small"];
        let status = Command::new("mount").args(mount).arg(directory.path()).status();
        assert!(status.unwrap().success(), "a tmpfs can be mounted");
        Self(directory)
    }

    fn fill(&self) {
        drop(fs::write(self.0.path().join("filler"), vec![1; 1 << 20]));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

#[test]
#[ignore = "mounts a small disk, which takes root; .ci/run runs it"]
fn full_disk_loses_only_log_lines_and_grants() {
    let (disk, keys) = (SmallDisk::new(), tempfile::tempdir().unwrap());
    let upstream = ScriptedUpstream::start();
    upstream.by_default(truth::script());
    let token = keys.path().join("token");
    crate::admin::token::write_token(&token, crate::admin::token::TOKEN, 0o600);
    let place = disk.0.path().display();
    let settings = format!(
        "admin.token_file = \"{}\"\nserver.state_directory = \"{place}/state\"\n\
         log = {{ stdout = false, file = \"{place}/queries.log\", queries = \"all\" }}",
        token.display()
    );
    let gate = Gate::start(&upstream, &settings);
    let http = || crate::support::http::Http::to(gate.admin()).token(crate::admin::token::TOKEN);
    let allow = |name: &str| {
        http().json(
            "POST",
            "/api/v1/allowed",
            &format!("{{\"name\": \"{name}\", \"for\": \"1h\", \"reason\": \"r\"}}"),
        )
    };
    assert_eq!(allow("early.example").status, 201);
    disk.fill();
    for number in 0..500 {
        assert_eq!(gate.ask(&format!("n{number}.evil.example"), "A").rcode(), "NXDOMAIN");
        let name = format!("n{number}.allowed.example");
        assert_eq!(truth::judge(&name, Some(&gate.ask(&name, "A"))), Outcome::Answered(0));
    }
    gate.expect_metrics("lost lines counted", |metrics| {
        metrics.sum("namegate_query_log_errors_total", &[]) > 0.0
    });
    allow("late.example").expect_error(503, &["cannot save", "No space left"]);
    assert_eq!(gate.ask("late.example", "A").rcode(), "NXDOMAIN", "a grant that cannot be saved is refused");
    assert_eq!(gate.ask("early.example", "A").rcode(), "NOERROR");
    let told = gate.stderr.all();
    assert!(told.len() < 30, "{} lines of log", told.len());
    fs::remove_file(disk.0.path().join("filler")).unwrap();
    assert_eq!(allow("late.example").status, 201);
    drop(gate);
    let gate = Gate::start(&upstream, &settings);
    for name in ["early.example", "late.example"] {
        assert_eq!(gate.ask(name, "A").rcode(), "NOERROR", "{name} is still allowed");
    }
}

/// A control group with a memory limit, removed when dropped; drop its processes first.
struct ControlGroup(PathBuf);

impl ControlGroup {
    /// Version 1 or 2, whichever has the memory controller.
    fn new(limit: &str) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
        let (root, file) = match controllers.split_whitespace().any(|controller| controller == "memory") {
            true => (root.to_owned(), "memory.max"),
            false => (root.join("memory"), "memory.limit_in_bytes"),
        };
        let group = root.join(format!("namegate-test-{}", std::process::id()));
        fs::create_dir(&group).unwrap_or_else(|error| panic!("{}: {error}", group.display()));
        let group = Self(group);
        fs::write(group.0.join(file), limit).expect("a limit can be set");
        group
    }

    /// Number of its processes killed for lack of memory.
    fn kills(&self) -> u64 {
        let events =
            ["memory.events", "memory.oom_control"].map(|file| fs::read_to_string(self.0.join(file)));
        let events = events.into_iter().find_map(Result::ok).expect("a count of kills");
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|kills| kills.parse().ok()).unwrap_or_else(|| panic!("no count of kills in {events}"))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Processes leave it a moment after they end.
        sleep(Duration::from_millis(100));
        drop(fs::remove_dir(&self.0));
    }
}

#[test]
#[ignore = "limits memory by a control group, which takes root; .ci/run runs it"]
fn within_sixty_four_mebibytes_of_memory_everything_is_answered() {
    let group = ControlGroup::new("64M");
    let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.0.display());
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let settings = "cache.max_bytes = \"16MiB\"\nserver.workers = 2\nupstream.deadline = \"2s\"";
    let gate = Gate::launched_by(&["sh", "-c", &enter, "sh"], &[upstream.address()], settings, &[]);
    let names = |number: usize| match number % 2 {
        0 => format!("n{number}.allowed.example"),
        _ => format!("n{number}.evil.example"),
    };
    let asked = ask_all(&gate.udp(), (0..60_000).map(names).collect(), 8_000, |_| ());
    let denied = count(&asked, |outcome| *outcome == Outcome::Denied);
    // The client loses replies too if it cannot keep up.
    assert!(denied >= 6_000, "{denied} of 30000 blocked names are answered");
    eprintln!("{denied} of 30000 blocked names answered, {} KiB", memory(&gate) / 1024);
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
    assert_eq!(group.kills(), 0);
}
