//! [`World`]: a signed root with zones below it, served on loopback, and a recursive resolver that does not validate.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Query, eventually, free_address};

/// How a zone is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signed {
    /// Not signed; there is no DS either.
    No,
    Nsec,
    Nsec3,
    /// Signed with a key that the parent zone does not know.
    Wrongly,
}

/// A zone: its origin, how it is signed, and its records besides SOA and NS. Child zones come first.
type Zone = (&'static str, Signed, &'static str);

const ZONES: [Zone; 10] = [
    ("sub.signed.test.", Signed::Nsec, "www A 192.0.2.31\n"),
    ("plain.signed.test.", Signed::No, "www A 192.0.2.32\n"),
    (
        "signed.test.",
        Signed::Nsec,
        "www A 192.0.2.1\nwww TXT text\nalias CNAME www\nacross CNAME www.nsec3.test.\nout CNAME www.off.test.\n\
         *.wild A 192.0.2.2\na.b.ent A 192.0.2.3\ndname DNAME nsec3.test.\nsub NS ns.test.\nplain NS ns.test.\n",
    ),
    (
        "nsec3.test.",
        Signed::Nsec3,
        "www A 192.0.2.11\n*.wild A 192.0.2.12\na.b.ent A 192.0.2.13\nalias CNAME www.unsigned.test.\n",
    ),
    ("unsigned.test.", Signed::No, "www A 192.0.2.21\nalias CNAME www.signed.test.\n*.wild A 192.0.2.22\n"),
    ("exact.test.", Signed::Nsec, "www A 192.0.2.41\n"),
    ("off.test.", Signed::Nsec, "www A 192.0.2.51\n"),
    ("bogus.test.", Signed::Wrongly, "www A 192.0.2.61\n"),
    (
        "test.",
        Signed::Nsec3,
        "ns A 127.0.0.1\nsigned NS ns\nnsec3 NS ns\nunsigned NS ns\nexact NS ns\noff NS ns\nbogus NS ns\n",
    ),
    (".", Signed::Nsec, "test. NS ns.test.\nns.test. A 127.0.0.1\n"),
];

/// The root's key for validators: the fields of a DS record.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    pub(super) tag: String,
    pub(super) algorithm: String,
    pub(super) digest_type: String,
    pub(super) digest: String,
}

/// The servers of the world, killed when dropped.
pub(super) struct World {
    _authority: Running,
    _resolver: Running,
    upstream: SocketAddr,
    anchor: Anchor,
    _directory: TempDir,
}

/// A child process that is killed when dropped.
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program in `directory`; its output goes to the file `log`.
    pub(super) fn start(directory: &Path, program: &str, arguments: &[&str], log: &str) -> Self {
        let path = directory.join(log);
        let log = std::fs::File::create(&path).expect("a file can be made");
        let child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        Self { child, log: path }
    }

    /// Waits for any answer from `address`. Error: the program has ended, for example because another has its port.
    pub(super) fn wait_for(&mut self, address: SocketAddr, question: &Query) -> Result<(), String> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.connect(address).expect("a UDP socket can be connected");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout can be set");
        eventually("a server's first reply", || {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                return Some(Err(format!("a server ended: {status}: {log}")));
            }
            // Until the port is open, either call may fail.
            drop(socket.send(&question.bytes()));
            socket.recv(&mut [0; 4096]).is_ok().then_some(Ok(()))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts what needs ports that are free when they are chosen, but may be taken when they are opened.
pub(super) fn retried<T>(start: impl Fn() -> Result<T, String>) -> T {
    start().or_else(|_| start()).or_else(|_| start()).unwrap_or_else(|error| panic!("{error}"))
}

impl World {
    pub(super) fn start() -> Self {
        retried(Self::try_start)
    }

    fn try_start() -> Result<Self, String> {
        let directory = TempDir::new().expect("a temporary directory");
        for zone in ZONES {
            make(directory.path(), zone);
        }
        let (authority, upstream) = (free_address(), free_address());
        write_settings(directory.path(), authority.port(), upstream.port());
        let named = ["-g", "-n", "1", "-c", "named.conf"];
        let mut serving = Running::start(directory.path(), "named", &named, "named.log");
        serving.wait_for(authority, &Query::new("test", "SOA"))?;
        let mut resolver =
            Running::start(directory.path(), "unbound", &["-d", "-c", "unbound.conf"], "unbound.log");
        resolver.wait_for(upstream, &Query::new("test", "SOA"))?;
        let anchor = anchor(directory.path());
        Ok(Self { _authority: serving, _resolver: resolver, upstream, anchor, _directory: directory })
    }

    /// The recursive resolver, which does not validate.
    pub(super) fn upstream(&self) -> SocketAddr {
        self.upstream
    }

    pub(super) fn anchor(&self) -> &Anchor {
        &self.anchor
    }
}

fn file_of(origin: &str) -> String {
    format!("{}zone", if origin == "." { "root." } else { origin })
}

/// Writes a zone's file and signs it with its own key; leaves the DS for the parent zone next to it.
fn make(directory: &Path, (origin, signed, records): Zone) {
    let file = file_of(origin);
    let head = format!(
        "$ORIGIN {origin}\n$TTL 300\n@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60\n@ NS ns.test.\n"
    );
    std::fs::write(directory.join(&file), head + records).expect("a file can be written");
    if signed == Signed::No {
        return;
    }
    run(directory, "dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", origin]);
    let nsec3 = if signed == Signed::Nsec3 { &["-3", "-", "-H", "0"][..] } else { &[] };
    let sign = ["-q", "-S", "-z", "-g", "-o", origin, "-f", &file, &file];
    run(directory, "dnssec-signzone", &[nsec3, &sign].concat());
    if signed == Signed::Wrongly {
        let path = directory.join(format!("dsset-{origin}"));
        let text = std::fs::read_to_string(&path).expect("the zone's DS");
        let text = text.trim_end();
        let wrong = if text.ends_with('0') { "1" } else { "0" };
        std::fs::write(&path, format!("{}{wrong}\n", &text[..text.len() - 1]))
            .expect("a file can be written");
    }
}

fn run(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn write_settings(directory: &Path, authority: u16, upstream: u16) {
    let path = directory.to_str().expect("a path in UTF-8");
    let zones: String = ZONES
        .iter()
        .map(|(origin, ..)| format!("zone \"{origin}\" {{ type primary; file \"{}\"; }};\n", file_of(origin)))
        .collect();
    let named = format!(
        "options {{ directory \"{path}\"; pid-file none; session-keyfile none; recursion no;\n \
         dnssec-validation no; listen-on port {authority} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n \
         empty-zones-enable no; minimal-responses yes; }};\ncontrols {{ }};\n{zones}"
    );
    // A stub entry for every zone: the delegations point to port 53.
    let stubs: String = ZONES
        .iter()
        .map(|(origin, ..)| {
            format!("stub-zone:\n name: \"{origin}\"\n stub-addr: 127.0.0.1@{authority}\n stub-prime: no\n")
        })
        .collect();
    let unbound = format!(
        "server:\n interface: 127.0.0.1@{upstream}\n do-daemonize: no\n use-syslog: no\n chroot: \"\"\n \
         username: \"\"\n pidfile: \"\"\n directory: \"{path}\"\n do-not-query-localhost: no\n \
         module-config: \"iterator\"\n local-zone: \"test.\" nodefault\n\
         remote-control:\n control-enable: no\n{stubs}"
    );
    for (file, text) in [("named.conf", named), ("unbound.conf", unbound)] {
        std::fs::write(directory.join(file), text).expect("a file can be written");
    }
}

fn anchor(directory: &Path) -> Anchor {
    let text = std::fs::read_to_string(directory.join("dsset-.")).expect("the root's DS");
    let (_, data) = text.split_once(" DS ").expect("a DS record");
    let mut words = data.split_whitespace().map(str::to_owned);
    let mut word = || words.next().expect("a field of the DS record");
    let (tag, algorithm, digest_type) = (word(), word(), word());
    Anchor { tag, algorithm, digest_type, digest: words.collect() }
}
