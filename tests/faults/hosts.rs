//! Tests unusual hosts: packet filters that refuse, unreachable addresses, a resolv.conf that moves, and shared
//! networks.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::command::namegate;
use crate::support::gate::Reload;
use crate::support::load::{ask_all, count};
use crate::support::namespaces::{Namespaces, Place, ip};
use crate::support::settings::write_settings;
use crate::support::truth::{self, Outcome};
use crate::support::{Gate, Query, ScriptedUpstream, UdpClient, eventually};

/// An address without a route in a network namespace (RFC 3849): ENETUNREACH.
const NEVER_REACHED: &str = "[2001:db8::53]:53";

#[test]
#[ignore = "makes network namespaces, which takes root and iproute2; .ci/run runs it"]
fn a_server_that_cannot_be_reached_from_here_is_not_up() {
    let namespaces = Namespaces::new("unreached");
    namespaces.within(Place::Gate, || {
        let upstream = ScriptedUpstream::start();
        let unreached = NEVER_REACHED.parse().expect("an address");
        let gate = Gate::with_upstreams(&[unreached, upstream.address()], "");
        expect_no_harm(&gate, &upstream);
    });
}

fn expect_no_harm(gate: &Gate, upstream: &ScriptedUpstream) {
    upstream.by_default(truth::script());
    let names: Vec<String> = (0..60).map(|number| format!("n{number}.allowed.example")).collect();
    let asked = ask_all(&gate.udp(), names, 100, |_| ());
    assert_eq!(count(&asked, |outcome| *outcome == Outcome::Answered(0)), 60);
    let mut took: Vec<Duration> = asked.iter().filter_map(crate::support::load::Asked::took).collect();
    took.sort();
    assert!(took[30] < Duration::from_millis(200), "{took:?}");
    let metrics = gate.settled_metrics();
    // Port 53 is not printed.
    let name = "2001:db8::53";
    assert_eq!(metrics.sum("namegate_upstream_up", &[("upstream", name)]), 0.0, "{}", metrics.text);
    let up = [("upstream", &*upstream.address().to_string())];
    assert_eq!(metrics.sum("namegate_upstream_up", &up), 1.0);
    // Once it is known to be unreachable it is queried last, and costs nothing.
    let errors = [("upstream", name), ("result", "network_error")];
    assert!(metrics.sum("namegate_upstream_queries_total", &errors) < 20.0, "{}", metrics.text);
}

/// The packet filter refuses one packet in three to the upstream, as a full connection table does: sendto(2) fails with
/// EPERM.
#[test]
#[ignore = "makes network namespaces, which takes root, iproute2 and nftables; .ci/run runs it"]
fn sends_that_the_host_refuses_are_tried_again() {
    let namespaces = Namespaces::new("refuse");
    let upstream =
        namespaces.within(Place::Upstream, || ScriptedUpstream::start_on(ip(Namespaces::UPSTREAM)));
    upstream.by_default(truth::script());
    let gate = namespaces.within(Place::Gate, || {
        let [a, b, c, d] = Namespaces::GATE;
        Gate::with_upstreams(&[upstream.address()], &format!("server.listen = [\"{a}.{b}.{c}.{d}:0\"]"))
    });
    eventually("readiness", || {
        namespaces.within(Place::Gate, || (gate.get("/readyz").0 == 200).then_some(()))
    });
    let address = gate.address();
    // One in three during 60 queries, then all of them for a second.
    for (every, names, rate) in [(3, 0..60, 60), (1, 60..80, 1000)] {
        namespaces.refuse_sends(Place::Gate, upstream.address().port(), every);
        let names: Vec<String> = names.map(|number| format!("n{number}.allowed.example")).collect();
        let total = names.len();
        let asked = std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                namespaces.within(Place::Client, || {
                    ask_all(&UdpClient::from(ip([10, 77, 1, 2]), address), names, rate, |_| ())
                })
            });
            std::thread::sleep(Duration::from_secs(1));
            namespaces.refuse_no_sends(Place::Gate);
            asked.join().expect("the client thread ends")
        });
        let answered = count(&asked, |outcome| *outcome == Outcome::Answered(0));
        eprintln!("one send in {every} refused: {answered} of {total} answered");
        assert_eq!(answered, total, "one in {every} is refused");
    }
    let metrics = namespaces.within(Place::Gate, || gate.settled_metrics());
    let refused = metrics.sum("namegate_upstream_queries_total", &[("result", "network_error")]);
    assert!(refused >= 20.0, "the packet filter refuses some: {refused}");
    assert_eq!(metrics.sum("namegate_upstream_up", &[]), 1.0, "an error that says nothing about the server");
}

/// Namegate with its own `/etc` and `/run`, where `resolv.conf` is a symlink.
struct OwnConfiguration(tempfile::TempDir);

impl OwnConfiguration {
    fn new(target: &str) -> Self {
        let root = tempfile::TempDir::new().expect("a directory");
        for directory in ["etc", "run/systemd/resolve", "run/NetworkManager"] {
            fs::create_dir_all(root.path().join(directory)).expect("a directory");
        }
        let own = Self(root);
        own.write("run/systemd/resolve/resolv.conf", "127.0.0.71");
        own.write("run/NetworkManager/resolv.conf", "127.0.0.72");
        own.link(target);
        own
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, server: &str) {
        // As tools do it: a new file replaces the old one.
        let fresh = self.path("fresh");
        fs::write(&fresh, format!("nameserver {server}\n")).expect("a file");
        fs::rename(&fresh, self.path(path)).expect("a file");
    }

    fn link(&self, target: &str) {
        let fresh = self.path("etc/fresh");
        symlink(target, &fresh).expect("a link");
        fs::rename(&fresh, self.path("etc/resolv.conf")).expect("a link");
    }

    fn start(&self) -> Gate {
        let root = self.0.path().display();
        let script = format!("mount --bind {root}/etc /etc && mount --bind {root}/run /run && exec \"$@\"");
        let launcher = ["unshare", "--mount", "sh", "-c", &script, "sh"];
        Gate::launched_by(&launcher, &[], &settings(""), &[])
    }
}

fn settings(allow: &str) -> String {
    format!("upstream.servers = [\"system\"]\npolicy.allow = [\".allowed.example\"{allow}]")
}

fn upstreams(gate: &Gate) -> String {
    let metrics = gate.metrics();
    let up = metrics.samples.iter().filter(|sample| sample.name == "namegate_upstream_up");
    up.map(|sample| sample.labels["upstream"].clone()).collect::<Vec<_>>().join(" ")
}

#[test]
#[ignore = "mounts files over the system's in a namespace, which takes root; .ci/run runs it"]
fn resolv_conf_may_move_between_its_usual_homes() {
    let own = OwnConfiguration::new("/run/systemd/resolve/resolv.conf");
    let gate = own.start();
    assert_eq!(upstreams(&gate), "127.0.0.71");
    own.link("/run/NetworkManager/resolv.conf");
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(upstreams(&gate), "127.0.0.72");
    own.write("run/NetworkManager/resolv.conf", "127.0.0.73");
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(upstreams(&gate), "127.0.0.73");
    // A target outside the sandbox, or none: rules are reloaded, and the servers stay.
    fs::create_dir(own.path("run/elsewhere")).expect("a directory");
    own.write("run/elsewhere/resolv.conf", "127.0.0.74");
    for (target, name) in [("/run/elsewhere/resolv.conf", "one.example"), ("/run/nowhere", "two.example")] {
        own.link(target);
        gate.write_settings(&settings(&format!(", \"{name}\"")));
        assert_eq!(gate.reload(), Reload::Success, "{target}");
        assert_eq!(upstreams(&gate), "127.0.0.73", "{target}");
        gate.stderr.expect("the upstream `system` keeps its previous servers");
        assert_ne!(gate.ask(name, "A").rcode(), "NXDOMAIN", "the rules are new: {target}");
    }
}

/// Hosts with keepalived or HAProxy let programs bind addresses that the host does not own, or not yet.
#[test]
#[ignore = "makes network namespaces, which takes root and iproute2; .ci/run runs it"]
fn with_nonlocal_bind_only_own_addresses_are_loops() {
    let namespaces = Namespaces::new("nonlocal");
    let directory = tempfile::TempDir::new().expect("a directory");
    let start = |server: &str| {
        let server: SocketAddr = server.parse().expect("an address");
        namespaces.within(Place::Gate, || {
            Gate::with_upstreams(&[server], "server.listen = [\"0.0.0.0:53\", \"[::]:53\"]")
        })
    };
    let refused = |server: &str| {
        let server: SocketAddr = server.parse().expect("an address");
        write_settings(directory.path(), &[server], "server.listen = [\"0.0.0.0:53\", \"[::]:53\"]");
        let arguments = ["serve", "--config", "namegate.toml"];
        let finished = namespaces.within(Place::Gate, || namegate(directory.path(), &arguments));
        finished.expect_code(1).expect_stderr(&["this resolver itself"]);
    };
    for nonlocal in ["0", "1"] {
        for version in ["ipv4", "ipv6"] {
            namespaces.set(Place::Gate, &format!("net/{version}/ip_nonlocal_bind"), nonlocal);
        }
        for server in ["10.77.2.2:53", "10.77.1.2:53", "[fd77::99]:53"] {
            let gate = start(server);
            assert!(gate.terminate().success(), "{server} with ip_nonlocal_bind = {nonlocal}");
        }
        for own in ["10.77.1.1:53", "10.77.2.1:53", "127.0.0.9:53", "[::1]:53"] {
            refused(own);
        }
    }
}

/// Azure's IPv6 subnets are /64, shared by several machines.
#[test]
#[ignore = "makes network namespaces, which takes root and iproute2; .ci/run runs it"]
fn hosts_in_one_64_can_have_separate_shares() {
    let namespaces = Namespaces::new("shared");
    for address in ["fd77::1/64", "fd77::2/64", "fd77::3/64"] {
        namespaces.add_address(Place::Gate, "lo", address);
    }
    let upstream = namespaces.within(Place::Gate, ScriptedUpstream::start);
    for (settings, healthy) in [("", "SERVFAIL or none"), ("server.ipv6_prefix_length = 128", "NOERROR")] {
        let settings = format!(
            "{settings}\nserver.listen = [\"[fd77::1]:0\"]\nserver.in_flight_per_client = 20\nupstream.max_qps = 0"
        );
        upstream.by_choice(|query| match query.asked().starts_with("silent") {
            true => crate::support::Script::silent(),
            false => truth::script(),
        });
        let settings =
            settings.replace("\nserver.listen", "\nserver.allow_clients = [\"fd77::/64\"]\nserver.listen");
        let seen = namespaces.within(Place::Gate, || {
            let gate = Gate::with_upstreams(&[upstream.address()], &settings);
            let client = |address: &str| {
                UdpClient::from(address.parse::<IpAddr>().expect("an address"), gate.address())
            };
            let (greedy, other) = (client("fd77::2"), client("fd77::3"));
            for number in 0..60 {
                greedy.send(&Query::new(&format!("silent{number}.allowed.example"), "A").bytes());
            }
            upstream.wait_for("silent19.allowed.example", 1);
            other.send(&Query::new("ws.allowed.example", "A").bytes());
            let reply = other.receive_within(Duration::from_secs(1));
            reply.map(|reply| crate::support::Message::expect(&reply).rcode())
        });
        assert_eq!(seen.as_deref() == Some("NOERROR"), healthy == "NOERROR", "{settings}: {seen:?}");
    }
}

/// A process that takes over does not share the admin address but waits for it.
#[test]
fn the_admin_address_is_never_shared() {
    let upstream = ScriptedUpstream::start();
    let first = Gate::start(&upstream, "server.reuse_port = true");
    let (address, admin) = (first.address(), first.admin());
    for number in 0..24 {
        first.ask(&format!("n{number}.evil.example"), "A");
    }
    let directory = tempfile::TempDir::new().expect("a directory");
    let settings =
        format!("server = {{ reuse_port = true, listen = [\"{address}\"] }}\nadmin.listen = \"{admin}\"");
    let path = write_settings(directory.path(), &[upstream.address()], &settings);
    let mut second = Second::start(&path);
    second.stderr.expect("another process serves HTTP on");
    second.stderr.expect("ready");
    // If two processes shared it, one would get all requests and the other none.
    for _ in 0..20 {
        let metrics = first.settled_metrics();
        assert_eq!(metrics.sum("namegate_queries_total", &[]), 24.0);
    }
    assert!(first.terminate().success());
    let taken = Instant::now();
    second.stderr.expect(&format!("admin on http://{admin} (the other process no longer uses it)"));
    assert!(taken.elapsed() < Duration::from_secs(2), "{:?}", taken.elapsed());
    let metrics = crate::support::metrics::Metrics::fetch(admin);
    assert_eq!(metrics.sum("namegate_queries_total", &[]), 0.0, "the second's own");
    second.end();
}

/// A namegate process that does not serve HTTP from the start.
struct Second {
    child: std::process::Child,
    stderr: crate::support::lines::Lines,
}

impl Second {
    fn start(settings: &Path) -> Self {
        let mut child = Command::new(crate::support::command::binary())
            .args(["serve", "--config"])
            .arg(settings)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = crate::support::lines::Lines::collect(child.stderr.take().expect("a pipe"));
        Self { child, stderr }
    }

    fn end(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        assert!(self.child.wait().expect("a child can be waited for").success());
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
