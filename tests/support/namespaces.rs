//! [`Namespaces`]: three network namespaces in a row (client, gate and upstream), joined by two virtual cables (Linux,
//! root).

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// MTU of both cables in bytes: below Ethernet's, as in a tunnel.
const MTU: &str = "1400";

/// A namespace by its role.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Client,
    Gate,
    Upstream,
}

/// The namespaces, removed when dropped, with their processes.
pub(crate) struct Namespaces {
    prefix: String,
}

impl Namespaces {
    /// Namegate's address towards clients.
    pub(crate) const GATE: [u8; 4] = [10, 77, 1, 1];
    /// The upstream's address.
    pub(crate) const UPSTREAM: [u8; 4] = [10, 77, 2, 2];

    /// Creates them; `name` distinguishes them from those of other tests.
    pub(crate) fn new(name: &str) -> Self {
        let namespaces = Self { prefix: format!("ng{}{name}", std::process::id()) };
        for place in [Place::Client, Place::Gate, Place::Upstream] {
            run("ip", &["netns", "add", &namespaces.name(place)]);
            namespaces.ip(place, "link set lo up");
        }
        for (place, cable, near, far) in [
            (Place::Client, "c", "10.77.1.2/24", "10.77.1.1/24"),
            (Place::Upstream, "u", "10.77.2.2/24", "10.77.2.1/24"),
        ] {
            let peer = namespaces.name(place);
            namespaces.ip(
                Place::Gate,
                &format!("link add {cable} mtu {MTU} type veth peer name {cable} mtu {MTU} netns {peer}"),
            );
            for (place, address) in [(place, near), (Place::Gate, far)] {
                namespaces.ip(place, &format!("addr add {address} dev {cable}"));
                namespaces.ip(place, &format!("link set {cable} up"));
            }
        }
        namespaces
    }

    /// Gives `place` one more address on `cable`.
    pub(crate) fn add_address(&self, place: Place, cable: &str, address: &str) {
        self.ip(place, &format!("addr add {address} dev {cable}"));
    }

    fn name(&self, place: Place) -> String {
        format!("{}{place:?}", self.prefix)
    }

    fn ip(&self, place: Place, arguments: &str) {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        run("ip", &[&["-n", &self.name(place)][..], &arguments].concat());
    }

    /// Runs `work` in a namespace: its sockets and processes belong there.
    pub(crate) fn within<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> T {
        let namespace =
            File::open(format!("/run/netns/{}", self.name(place))).expect("the namespace is there");
        let there = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root is required");
            work()
        };
        std::thread::scope(|scope| scope.spawn(there).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs glibc's getaddrinfo for `name` in the client's namespace, where [`Namespaces::GATE`] is the only resolver;
    /// returns its exit status and the IPv4 addresses.
    pub(crate) fn getaddrinfo(&self, name: &str) -> (Option<i32>, Vec<String>) {
        let client = self.name(Place::Client);
        // `ip netns exec` mounts these files over those of the machine.
        let directory = Self::files_of(&client);
        std::fs::create_dir_all(&directory).expect("root is required");
        let server = ip(Self::GATE);
        for (file, text) in [
            ("resolv.conf", format!("nameserver {server}\noptions timeout:2 attempts:1\n")),
            ("nsswitch.conf", "hosts: dns\n".to_owned()),
        ] {
            std::fs::write(directory.join(file), text).expect("a file can be written");
        }
        let command = ["netns", "exec", &client, "getent", "ahostsv4", name];
        let output = Command::new("ip").args(command).output().expect("iproute2 is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let streams = text.lines().filter(|line| line.contains("STREAM"));
        let addresses = streams.filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
        (output.status.code(), addresses.collect())
    }

    fn files_of(name: &str) -> PathBuf {
        Path::new("/etc/netns").join(name)
    }

    /// Drops `percent` of all datagrams that arrive at `place`, by the packet filter.
    pub(crate) fn lose(&self, place: Place, percent: u32) {
        let rules = format!(
            "add table inet loss\nadd chain inet loss input {{ type filter hook input priority 0; }}\n\
             add rule inet loss input meta l4proto udp iifname != lo numgen random mod 100 < {percent} drop\n"
        );
        self.filter(place, &rules);
    }

    fn filter(&self, place: Place, rules: &str) {
        let file = std::env::temp_dir().join(self.name(place));
        std::fs::write(&file, rules).expect("a file can be written");
        run("ip", &["netns", "exec", &self.name(place), "nft", "-f", file.to_str().expect("UTF-8")]);
        drop(std::fs::remove_file(file));
    }

    /// Refuses one in `every` of the datagrams that `place` sends to `port`: sendto(2) fails with EPERM.
    pub(crate) fn refuse_sends(&self, place: Place, port: u16, every: u32) {
        self.filter(
            place,
            &format!(
                "add table inet refuse\nadd chain inet refuse output {{ type filter hook output priority 0; }}\n\
                 add rule inet refuse output udp dport {port} numgen random mod {every} == 0 drop\n"
            ),
        );
    }

    /// Stops refusing datagrams.
    pub(crate) fn refuse_no_sends(&self, place: Place) {
        self.filter(place, "delete table inet refuse\n");
    }

    /// Sets a kernel parameter of `place`, written as a path below `/proc/sys`.
    pub(crate) fn set(&self, place: Place, parameter: &str, value: &str) {
        let path = Path::new("/proc/sys").join(parameter);
        self.within(place, || std::fs::write(&path, value)).expect("root is required");
    }

    /// Lets the kernel delay, reorder, duplicate and lose what leaves `place` through `cable`; false if it cannot.
    pub(crate) fn impair(&self, place: Place, cable: &str, how: &str) -> bool {
        let name = self.name(place);
        let arguments = format!("-n {name} qdisc add dev {cable} root netem {how}");
        let status = Command::new("tc").args(arguments.split(' ')).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// Number of fragments created or reassembled at `place`.
    pub(crate) fn fragments(&self, place: Place) -> u64 {
        let text =
            self.within(place, || std::fs::read_to_string("/proc/thread-self/net/snmp").expect("counters"));
        let mut lines = text.lines().filter(|line| line.starts_with("Ip:"));
        let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
        let both = names.split(' ').zip(values.split(' '));
        both.filter(|(name, _)| ["FragCreates", "ReasmReqds"].contains(name))
            .map(|(_, value)| value.parse::<u64>().expect("a count"))
            .sum()
    }
}

/// An address as the standard library's type.
pub(crate) fn ip(address: [u8; 4]) -> IpAddr {
    address.into()
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for place in [Place::Client, Place::Gate, Place::Upstream] {
            drop(Command::new("ip").args(["netns", "del", &self.name(place)]).status());
        }
        drop(std::fs::remove_dir_all(Self::files_of(&self.name(Place::Client))));
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}");
}
