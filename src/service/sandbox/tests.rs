//! Tests what a sandboxed process can no longer do. Each case runs in its own process: this test program again.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::assemble::{Sources, assemble};

/// The child's case, and the directory it may use.
const CASE: &str = "NAMEGATE_SANDBOX_CASE";
const DIRECTORY: &str = "NAMEGATE_SANDBOX_DIRECTORY";

const EACCES: Option<i32> = Some(libc::EACCES);
const EPERM: Option<i32> = Some(libc::EPERM);

const NOTHING: config::SandboxSettings = config::SandboxSettings {
    drop_capabilities: false,
    no_new_privileges: false,
    landlock: false,
    seccomp: false,
};

/// A name, the sandbox settings, and the check.
type Case = (&'static str, config::SandboxSettings, fn(&Path));

const CASES: [Case; 5] = [
    ("nothing", NOTHING, nothing),
    ("capabilities", config::SandboxSettings { drop_capabilities: true, ..NOTHING }, capabilities),
    ("no_new_privileges", config::SandboxSettings { no_new_privileges: true, ..NOTHING }, no_new_privileges),
    ("landlock", config::SandboxSettings { landlock: true, no_new_privileges: true, ..NOTHING }, landlock),
    ("seccomp", config::SandboxSettings { seccomp: true, no_new_privileges: true, ..NOTHING }, seccomp),
];

#[test]
fn each_mechanism_holds_alone() {
    for (case, ..) in CASES {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("read")).unwrap();
        fs::create_dir(directory.path().join("write")).unwrap();
        fs::create_dir(directory.path().join("other")).unwrap();
        fs::write(directory.path().join("read/file"), "a").unwrap();
        fs::create_dir(directory.path().join("one")).unwrap();
        fs::write(directory.path().join("one/file"), "a").unwrap();
        fs::write(directory.path().join("one/other"), "a").unwrap();
        fs::create_dir(directory.path().join("unlisted")).unwrap();
        fs::write(directory.path().join("unlisted/file"), "a").unwrap();
        fs::write(directory.path().join("other/file"), "a").unwrap();
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "service::sandbox::tests::one_case", "--nocapture", "--test-threads=1"])
            .env(CASE, case)
            .env(DIRECTORY, directory.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success() && told.contains("1 passed"), "{case}:\n{told}");
    }
}

/// The child's part; does nothing when run with all tests.
#[test]
fn one_case() {
    let (Ok(case), Some(directory)) = (std::env::var(CASE), std::env::var_os(DIRECTORY)) else { return };
    let directory = fs::canonicalize(directory).unwrap();
    let (_, settings, check) = CASES.into_iter().find(|(name, ..)| *name == case).unwrap();
    let read = vec![directory.join("one/file"), directory.join("unlisted")];
    let files = Files::only(read, directory.join("read"), directory.join("write"));
    let sandbox = enter(&settings, &files, None);
    let wanted =
        [settings.drop_capabilities, settings.no_new_privileges, settings.landlock, settings.seccomp];
    let wanted = wanted.into_iter().filter(|wanted| *wanted).count();
    assert_eq!(sandbox.confined.len(), wanted, "{sandbox:?}");
    check(&directory);
    // Threads that this one starts are restricted as well.
    std::thread::spawn(move || check(&directory)).join().unwrap();
}

/// A line of this thread's status.
fn status(key: &str) -> String {
    let text = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}

fn open(path: impl AsRef<Path>) -> Option<i32> {
    File::open(path).err().and_then(|error| error.raw_os_error())
}

/// Replaces this process by a program; returns only if that fails. The program would exit with 1.
fn execute() -> Option<i32> {
    Command::new("/bin/false").exec().raw_os_error()
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// Without the sandbox, what the other cases find denied is possible. Not tested: exec and ptrace of this process,
/// which would end the test.
fn nothing(directory: &Path) {
    assert_eq!((status("NoNewPrivs"), status("Seccomp")), ("0".to_owned(), "0".to_owned()));
    assert_eq!((open("/etc/passwd"), open(directory.join("other/file"))), (None, None));
    assert_eq!(errno(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))), None);
    assert!(Command::new("/bin/true").status().unwrap().success());
}

fn capabilities(_: &Path) {
    let could_empty_the_bounding_set = status("CapBnd") == "0000000000000000";
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(set), "0000000000000000", "{set}");
    }
    // Without CAP_SETPCAP the bounding set is unchanged, and the log says so.
    assert_eq!(
        could_empty_the_bounding_set,
        !capabilities::drop_all().unwrap().contains("bounding set unchanged")
    );
    assert_eq!(status("NoNewPrivs"), "0");
}

fn no_new_privileges(_: &Path) {
    assert_eq!((status("NoNewPrivs"), status("Seccomp")), ("1".to_owned(), "0".to_owned()));
}

fn landlock(directory: &Path) {
    let (read, write, other) = (directory.join("read"), directory.join("write"), directory.join("other"));
    assert_eq!(open(read.join("file")), None);
    assert_eq!(fs::read_dir(&read).unwrap().count(), 1);
    let (one, unlisted) = (directory.join("one"), directory.join("unlisted"));
    assert_eq!((open(one.join("file")), open(one.join("other"))), (None, EACCES), "a file alone");
    assert_eq!((open(unlisted.join("file")), errno(fs::read_dir(&unlisted))), (None, EACCES));
    for outside in ["/etc/passwd", "/proc/1/status", "/", "/dev/null"] {
        assert_eq!(open(outside), EACCES, "{outside}");
    }
    assert_eq!((open(other.join("file")), errno(fs::read_dir(&other))), (EACCES, EACCES));
    assert_eq!(errno(fs::write(read.join("file"), "b")), EACCES);
    assert_eq!(errno(fs::write(read.join("new"), "b")), EACCES);
    assert_eq!(errno(fs::remove_file(read.join("file"))), EACCES);
    let (log, old) = (write.join("log"), write.join("log.1"));
    for content in ["a", "b"] {
        fs::write(&log, content).unwrap();
        fs::rename(&log, &old).unwrap();
    }
    assert_eq!(fs::read_to_string(&old).unwrap(), "b");
    assert_eq!(errno(fs::rename(&old, other.join("stolen"))), EACCES, "out of its directory");
    fs::remove_file(&old).unwrap();
    assert_eq!(errno(fs::create_dir(write.join("directory"))), EACCES);
    assert_eq!(errno(std::os::unix::fs::symlink("/etc/passwd", write.join("link"))), EACCES);
    assert_eq!(execute(), EACCES);
    assert_eq!(errno(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))), EACCES);
    assert_eq!(errno(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))), None);
    // The open descriptor keeps the rule alive.
    assert_eq!(open("/proc/self/stat"), None);
}

fn seccomp(directory: &Path) {
    assert_eq!(status("Seccomp"), "2");
    assert_eq!(execute(), EPERM);
    // No child process can be created either.
    assert_eq!(errno(Command::new("/bin/true").spawn()), EPERM);
    assert_eq!(nix::sys::ptrace::traceme(), Err(nix::Error::EPERM));
    // A new listener can be bound, but cannot listen.
    assert_eq!(errno(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))), EPERM);
    assert_eq!(errno(std::os::unix::fs::chroot(directory)), EPERM);
    assert_eq!(errno(std::os::unix::fs::chown(directory.join("read/file"), None, None)), EPERM);
    let raw = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::from(libc::SOCK_RAW), None);
    assert_eq!(errno(raw), EPERM);
    let packet = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::DGRAM, None);
    assert_eq!(errno(packet), EPERM);
    assert_eq!(
        errno(
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::CONT,)
                .map_err(io::Error::from)
        ),
        EPERM
    );
    // What namegate does in normal operation.
    assert_eq!(open(directory.join("read/file")), None);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
    assert!(errno(TcpStream::connect((Ipv4Addr::LOCALHOST, 9))) != EPERM);
    std::thread::spawn(|| ()).join().unwrap();
}

#[test]
fn directories_that_are_named_are_needed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| fs::canonicalize(directory.path()).unwrap().join(name);
    for name in ["zones", "elsewhere", "local", "state", "log", "token", "candidate"] {
        fs::create_dir(at(name)).unwrap();
    }
    let zone = "title = \"T\"\nsource = \"S\"\nrevised = 2026-01-01\n[[allow]]\nhost = \"a.example\"\npurpose = \"P\"\n";
    fs::write(at("elsewhere/own.toml"), zone).unwrap();
    std::os::unix::fs::symlink(at("elsewhere/own.toml"), at("zones/own.toml")).unwrap();
    fs::write(at("candidate/extra.list"), "b.example\n").unwrap();
    fs::write(at("candidate/next.toml"), "policy.zones = [\"extra.list\"]\n").unwrap();
    fs::write(
        at("local/corp.zone"),
        "$ORIGIN corp.example.\n@ 60 SOA ns admin 1 60 60 60 60\n@ 60 NS ns\nns 60 A 10.0.0.1\n",
    )
    .unwrap();
    let settings = "[server]\nstate_directory = \"state\"\n[upstream]\nservers = [\"10.0.0.4\"]\n[policy]\nzones = [\"own\"]\n\
                    zones_directory = \"zones\"\nshadow = \"candidate/next.toml\"\n[admin]\ntoken_file = \"token/file\"\n\
                    [log]\nfile = \"log/queries.json\"\n[[local]]\norigin = \"corp.example\"\nfile = \"local/corp.zone\"\n";
    fs::write(at("namegate.toml"), settings).unwrap();
    let sources = Sources { config: Some(at("namegate.toml")), ..Sources::default() };
    let files = Files::of(&sources, &assemble(&sources, 1).unwrap());
    for name in ["", "zones", "elsewhere", "local", "token", "candidate"] {
        let path = fs::canonicalize(at(name)).unwrap();
        assert!(files.all_readable().contains(&path), "{name}: {files:?}");
    }
    assert!(files.listable().contains(&at("zones")), "{files:?}");
    assert!(!files.listable().contains(&at("token")) && !files.listable().contains(&at("")), "{files:?}");
    assert_eq!(files.writable(), [at("state"), at("log")]);
    assert!(!files.readable().contains(&"/etc".into()), "`system` is not an upstream: {files:?}");

    fs::write(at("namegate.toml"), settings.replace("10.0.0.4", "system")).unwrap();
    let files = Files::of(&sources, &assemble(&sources, 1).unwrap());
    let resolv_conf = fs::canonicalize("/etc/resolv.conf").unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_mount = mounts.lines().any(|line| line.split(' ').nth(4) == resolv_conf.to_str());
    let granted = if is_mount { resolv_conf } else { resolv_conf.parent().unwrap().to_owned() };
    assert!(files.readable().contains(&granted), "{files:?}");
    assert_eq!(files.readable().contains(&"/etc".into()), granted == Path::new("/etc"), "{files:?}");
}
