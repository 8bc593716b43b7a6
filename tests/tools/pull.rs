//! Tests `namegate pull`: what it installs, what it refuses, and what a fault of the server or a kill leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::azurite::Azurite;
use super::bundle::{bundle, workshop};
use crate::support::authority::{Authority, Identity};
use crate::support::command::{Finished, binary, namegate};
use crate::support::namespaces::{Namespaces, Place};
use crate::support::settings::write;
use crate::support::{Gate, Response, Script, ScriptedUpstream, beside, eventually};

/// What the server does with a request.
#[derive(Clone, Debug)]
enum Act {
    /// Sends the file, or 304 if the client has it.
    File(Vec<u8>),
    /// Announces the file and closes within it.
    Cut(Vec<u8>),
    /// Sends half of the file without its length, which ends with the connection.
    HalfWithoutLength(Vec<u8>),
    /// Announces the file and sends a byte every 50 ms.
    Drip(Vec<u8>),
    /// Sends without end.
    Endless,
    Status(u16, &'static str),
    Close,
}

/// An HTTPS server with one file.
struct FileServer {
    address: SocketAddr,
    act: Arc<Mutex<Act>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FileServer {
    fn start(identity: &Identity, act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let tls = Arc::new(identity.server_config("http/1.1"));
        let server = Self { address, act: Arc::new(Mutex::new(act)), requests: Arc::default() };
        let (act, requests) = (Arc::clone(&server.act), Arc::clone(&server.requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, act, requests) = (Arc::clone(&tls), Arc::clone(&act), Arc::clone(&requests));
                std::thread::spawn(move || drop(serve(stream, tls, &act, &requests)));
            }
        });
        server
    }

    fn set(&self, act: Act) {
        *self.act.lock().expect("a lock") = act;
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/policy.tar?sig=SECRET", self.address.port())
    }

    /// The heads of the requests so far.
    fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().expect("a lock"))
    }
}

fn serve(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    act: &Mutex<Act>,
    requests: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    requests.lock().expect("a lock").push(head.to_ascii_lowercase());
    let act = act.lock().expect("a lock").clone();
    let stream = reader.get_mut();
    match act {
        Act::File(bytes) => {
            let etag = etag(&bytes);
            if head.contains(&etag) {
                write!(stream, "HTTP/1.1 304 X\r\nETag: {etag}\r\n\r\n")?;
            } else {
                write!(stream, "HTTP/1.1 200 X\r\nETag: {etag}\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
                stream.write_all(&bytes)?;
            }
        }
        Act::Cut(bytes) => {
            write!(stream, "HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
            stream.write_all(&bytes[..bytes.len() / 2])?;
        }
        Act::HalfWithoutLength(bytes) => {
            write!(stream, "HTTP/1.1 200 X\r\n\r\n")?;
            stream.write_all(&bytes[..bytes.len() / 2])?;
        }
        Act::Drip(bytes) => {
            write!(stream, "HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
            for byte in bytes {
                stream.write_all(&[byte])?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Act::Endless => {
            write!(stream, "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            loop {
                write!(stream, "2000\r\n{}\r\n", "x".repeat(0x2000))?;
            }
        }
        Act::Status(status, header) => {
            write!(stream, "HTTP/1.1 {status} X\r\n{header}Content-Length: 0\r\n\r\n")?;
        }
        Act::Close => return Ok(()),
    }
    stream.conn.send_close_notify();
    stream.flush()
}

fn etag(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    format!("\"{sum:016x}\"")
}

/// A workshop, a server, and a directory `into` to install to.
struct Fleet {
    directory: TempDir,
    server: FileServer,
}

impl Fleet {
    fn new() -> Self {
        let directory = workshop(&[]);
        let authority = Authority::new();
        fs::write(directory.path().join("ca.pem"), authority.pem()).expect("a file");
        let server = FileServer::start(&authority.issue(&["127.0.0.1"]), Act::Close);
        Self { directory, server }
    }

    /// The bundle with this serial, of files whose text is the serial.
    fn pack(&self, serial: u64) -> Vec<u8> {
        let policy = self.directory.path().join("policy");
        drop(fs::remove_dir_all(&policy));
        write(&policy.join("a.list"), &format!("n{serial}.example\n"));
        write(&policy.join("zones/b.list"), &format!("n{serial}.example\n"));
        write(&policy.join(format!("only-{serial}.txt")), &format!("n{serial}.example\n"));
        let output = format!("{serial}.tar");
        bundle(self.directory.path(), serial, &output).expect_code(0);
        fs::read(self.directory.path().join(output)).expect("a bundle")
    }

    fn publish(&self, serial: u64) {
        self.server.set(Act::File(self.pack(serial)));
    }

    fn pull_with(&self, url: &str, more: &[&str]) -> Finished {
        let usual = ["pull", url, "--public-key", "key.pub", "--into", "into"];
        namegate(self.directory.path(), &[&usual, more].concat())
    }

    fn pull(&self) -> Finished {
        self.pull_with(&self.server.url(), &["--roots", "ca.pem"])
    }

    fn installed(&self) -> std::path::PathBuf {
        self.directory.path().join("into")
    }

    /// The files that a reader of `into` sees, by path.
    fn visible(&self) -> BTreeMap<String, String> {
        visible(&self.installed())
    }
}

fn visible(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).expect("an entry");
        let name = name.into_string().expect("UTF-8");
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            found.extend(visible(&path).into_iter().map(|(below, text)| (format!("{name}/{below}"), text)));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.insert(name, text);
        }
    }
    found
}

/// What [`Fleet::pack`] has for this serial.
fn files_of(serial: u64) -> BTreeMap<String, String> {
    let paths = ["a.list".to_owned(), "zones/b.list".to_owned(), format!("only-{serial}.txt")];
    paths.into_iter().map(|path| (path, format!("n{serial}.example\n"))).collect()
}

#[test]
fn bundles_are_installed_once_and_the_one_before_is_kept() {
    let fleet = Fleet::new();
    for serial in [3, 7, 8] {
        fleet.publish(serial);
        let told = fleet.pull().expect_code(0).stdout;
        assert!(told.starts_with(&format!("installed serial {serial} (3 files, expires ")), "{told}");
        assert_eq!(fleet.visible(), files_of(serial));
        let heads = fleet.server.take_requests();
        // The signature of the URL is sent as it is.
        assert!(heads[0].starts_with("get /policy.tar?sig=secret http/1.1\r\n"), "{heads:?}");
        assert_eq!(fleet.pull().expect_code(0).stdout, format!("unchanged: serial {serial}\n"));
        assert!(fleet.server.take_requests()[0].contains("if-none-match: \""));
    }
    let names =
        fs::read_dir(fleet.installed()).expect("a directory").flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("UTF-8")).collect();
    names.retain(|name| name.starts_with("..") && name != "..data");
    names.sort();
    let serials: Vec<&str> = names.iter().filter_map(|name| name[2..].split('-').next()).collect();
    assert_eq!(serials, ["7", "8"]);
}

#[test]
fn an_etag_is_trusted_only_for_what_is_there() {
    let fleet = Fleet::new();
    fleet.publish(3);
    fleet.pull().expect_code(0);
    for break_it in [
        &(|into: &Path| fs::remove_file(into.join("..data/a.list")).expect("a file")) as &dyn Fn(&Path),
        &|into: &Path| fs::write(into.join("..data/zones/b.list"), "evil.example\n").expect("a file"),
        &|into: &Path| fs::remove_file(into.join("a.list")).expect("a link"),
    ] {
        break_it(&fleet.installed());
        fleet.pull().expect_code(0);
        assert_eq!(fleet.visible(), files_of(3));
    }
}

#[test]
fn faults_of_the_server_change_nothing() {
    let fleet = Fleet::new();
    fleet.publish(5);
    fleet.pull().expect_code(0);
    let next = fleet.pack(6);
    let tampered = |place: usize| {
        let mut bytes = next.clone();
        bytes[place] ^= 1;
        Act::File(bytes)
    };
    let loop_to = "Location: /policy.tar\r\n";
    // Expired: its bundle is as old as this test.
    let expired = {
        let pack = ["bundle", "policy", "--serial", "9", "--key", "key", "--expires", "1s", "-o", "old.tar"];
        namegate(fleet.directory.path(), &pack).expect_code(0);
        std::thread::sleep(Duration::from_secs(1));
        fs::read(fleet.directory.path().join("old.tar")).expect("a bundle")
    };
    let other = {
        let other = workshop(&[("a.list", "n6.example\n")]);
        bundle(other.path(), 6, "out.tar").expect_code(0);
        fs::read(other.path().join("out.tar")).expect("a bundle")
    };
    // A tar header whose name moves the cursor and forges a line, with a wrong checksum: errors quote the name.
    let forging = {
        let mut bytes = next.clone();
        let name = b"\x1b[2K\rinstalled serial 99\n\x1b]0;title\x07";
        bytes[..name.len()].copy_from_slice(name);
        Act::File(bytes)
    };
    let long = format!("x-ms-error-code: {}\r\n", "A".repeat(5000));
    for (act, code, reason) in [
        (forging, 1, "not a bundle"),
        (Act::Status(403, Box::leak(long.into_boxed_str())), 1, "AAA…)"),
        (Act::File(fleet.pack(4)), 1, "serial 4 is lower than the installed one, 5"),
        (Act::File(other), 1, "the signature is wrong, or by another key"),
        // In the signature, and in the signed part, whose tar header is the third block.
        (tampered(600), 1, "the signature is wrong"),
        (tampered(1600), 1, "the signature is wrong"),
        (Act::File(expired), 1, "serial 9 has expired"),
        (Act::File(next[..next.len() / 3].to_vec()), 1, "cut off"),
        (Act::File(b"<html>sign in</html>".to_vec()), 1, "not a bundle"),
        (Act::File(Vec::new()), 1, "not a bundle"),
        (Act::HalfWithoutLength(next.clone()), 1, "bundle"),
        (Act::Cut(next.clone()), 2, "cut off"),
        (Act::Drip(next.clone()), 2, "not complete within 2s"),
        (Act::Endless, 1, "larger than 1048576 bytes"),
        (Act::Close, 2, "127.0.0.1"),
        (Act::Status(302, loop_to), 1, "more than 3 redirects"),
        (Act::Status(302, "Location: http://10.0.0.1/x\r\n"), 1, "redirect to no https address"),
        (Act::Status(302, ""), 1, "redirect to no https address"),
        (
            Act::Status(403, "x-ms-error-code: AuthenticationFailed\r\n"),
            1,
            "status 403 (AuthenticationFailed)",
        ),
        (Act::Status(404, ""), 1, "HTTP status 404"),
        (Act::Status(429, ""), 2, "HTTP status 429"),
        (Act::Status(503, ""), 2, "HTTP status 503"),
    ] {
        let name = format!("{act:.60?}");
        fleet.server.set(act);
        let begun = Instant::now();
        let limits = ["--roots", "ca.pem", "--timeout", "2s", "--max-size", "1MiB"];
        let run = fleet.pull_with(&fleet.server.url(), &limits);
        assert_eq!(run.code, code, "{name}: {}", run.stderr);
        assert!(run.stderr.contains(reason), "{name}: {}", run.stderr);
        assert!(!run.stderr.contains("SECRET"), "{name}: {}", run.stderr);
        let is_plain = |c: char| c == '\n' || !c.is_control();
        assert!(run.stderr.chars().all(is_plain) && run.stderr.len() < 1000, "{name}: {}", run.stderr);
        assert!(begun.elapsed() < Duration::from_secs(10), "{name}");
        assert_eq!(fleet.visible(), files_of(5), "{name}");
    }
    fleet.server.set(Act::File(next));
    fleet.pull().expect_code(0);
    assert_eq!(fleet.visible(), files_of(6));
}

#[test]
fn other_content_with_the_same_serial_is_refused() {
    let fleet = Fleet::new();
    fleet.publish(5);
    fleet.pull().expect_code(0);
    write(&fleet.directory.path().join("policy/c.list"), "c.example\n");
    bundle(fleet.directory.path(), 5, "again.tar").expect_code(0);
    fleet.server.set(Act::File(fs::read(fleet.directory.path().join("again.tar")).expect("a bundle")));
    fleet.pull().expect_code(1).expect_stderr(&["serial 5 is installed with other content"]);
    assert_eq!(fleet.visible(), files_of(5));
}

// Regression: directories whose names begin like those of bundles were removed.
#[test]
fn directories_of_others_stay() {
    let fleet = Fleet::new();
    fleet.publish(5);
    fleet.pull().expect_code(0);
    let into = fleet.directory.path().join("into");
    for name in ["..backup", "..2026_11_30", "..5-notes", "..7-0123456x"] {
        write(&into.join(name).join("deep/file"), "precious");
    }
    for serial in 6..8 {
        fleet.publish(serial);
        fleet.pull().expect_code(0);
    }
    for name in ["..backup", "..2026_11_30", "..5-notes", "..7-0123456x"] {
        assert_eq!(fs::read_to_string(into.join(name).join("deep/file")).expect(name), "precious");
    }
}

#[test]
fn an_installed_bundle_that_expires_is_reported_and_stays() {
    let fleet = Fleet::new();
    fleet.publish(5);
    let pack = ["bundle", "policy", "--serial", "6", "--key", "key", "--expires", "4s", "-o", "out.tar"];
    namegate(fleet.directory.path(), &pack).expect_code(0);
    let packed = Instant::now();
    fleet.server.set(Act::File(fs::read(fleet.directory.path().join("out.tar")).expect("a bundle")));
    fleet.pull().expect_code(0);
    let before = fleet.visible();
    std::thread::sleep(Duration::from_secs(4).saturating_sub(packed.elapsed()));
    // The server answers 304.
    fleet.pull().expect_code(1).expect_stderr(&["serial 6 has expired", "publish a new bundle"]);
    // Regression: whoever silenced the server hid it.
    fleet.server.set(Act::Status(503, ""));
    fleet.pull().expect_code(1).expect_stderr(&["status 503; the installed serial 6 has expired"]);
    assert_eq!(fleet.visible(), before);
}

#[test]
fn servers_without_the_right_certificate_are_refused() {
    let fleet = Fleet::new();
    fleet.publish(5);
    // No authority of this machine has issued it.
    fleet.pull_with(&fleet.server.url(), &[]).expect_code(1).expect_stderr(&["UnknownIssuer", "--roots"]);
    let authority = Authority::new();
    fs::write(fleet.directory.path().join("other.pem"), authority.pem()).expect("a file");
    let trusting = ["--roots", "other.pem"];
    for identity in [authority.issue(&["other.example"]), authority.issue_until(&["127.0.0.1"], 2020)] {
        let server = FileServer::start(&identity, Act::Close);
        fleet.pull_with(&server.url(), &trusting).expect_code(1).expect_stderr(&["certificate"]);
        assert_eq!(server.take_requests(), [""; 0]);
    }
}

#[test]
fn a_file_of_someone_else_is_not_replaced() {
    let fleet = Fleet::new();
    fleet.publish(5);
    write(&fleet.installed().join("a.list"), "mine.example\n");
    fleet.pull().expect_code(1).expect_stderr(&["a.list is not from a bundle; move it away"]);
    assert_eq!(fleet.visible()["a.list"], "mine.example\n");
}

#[test]
fn wrong_options_are_explained_without_the_url() {
    let fleet = Fleet::new();
    for (url, more, reason) in [
        ("http://10.0.0.1/x?sig=SECRET", &[][..], "write https://HOST/PATH"),
        ("https://user:SECRET@corp.example/x", &[], "write https://HOST/PATH"),
        ("https://127.0.0.1:1/x?sig=SECRET", &["--proxy", "socks5://proxy"], "write http://HOST:PORT"),
        ("https://127.0.0.1:1/x?sig=SECRET", &["--roots", "none.pem"], "none.pem"),
        ("https://127.0.0.1:1/x?sig=SECRET", &["--public-key", "none.pub"], "public key none.pub"),
    ] {
        let run = fleet.pull_with(url, more).expect_code(1).expect_stderr(&[reason]);
        assert!(!run.stderr.contains("SECRET"), "{}", run.stderr);
    }
}

#[test]
fn names_are_looked_up_through_the_bootstrap_servers() {
    let fleet = Fleet::new();
    let authority = Authority::new();
    fs::write(fleet.directory.path().join("named.pem"), authority.pem()).expect("a file");
    let server = FileServer::start(&authority.issue(&["policy.example"]), Act::File(fleet.pack(5)));
    let resolver = ScriptedUpstream::start();
    resolver.on("policy.example", Script::reply(Response::answering(&["policy.example 300 A 127.0.0.1"])));
    let url = format!("https://policy.example:{}/policy.tar", server.address.port());
    let bootstrap = resolver.address().to_string();
    fleet.pull_with(&url, &["--roots", "named.pem", "--bootstrap", &bootstrap]).expect_code(0);
    assert_eq!(fleet.visible(), files_of(5));
    fleet.pull_with(&url, &["--roots", "named.pem", "--bootstrap", "127.0.0.1:1"]).expect_code(2);
}

/// A proxy that opens connections with the right password; returns its address and the heads of the requests.
fn proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let all = Arc::clone(&heads);
    let work = move |stream: TcpStream| -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
        all.lock().expect("a lock").push(head.clone());
        let mut client = stream;
        if !head.contains("Basic dXNlcjpwYXNz") && !head.contains("basic dXNlcjpwYXNz") {
            return client.write_all(b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n");
        }
        // Whatever the name, the server is here.
        let port = head.split(' ').nth(1).and_then(|target| target.rsplit(':').next()).unwrap_or_default();
        let mut server = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        client.write_all(b"HTTP/1.1 200 X\r\n\r\n")?;
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        std::io::copy(&mut reader, &mut server).map(drop)
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let work = work.clone();
            std::thread::spawn(move || drop(work(stream)));
        }
    });
    (address, heads)
}

#[test]
fn a_proxy_connects_to_names_that_this_host_cannot_resolve() {
    let fleet = Fleet::new();
    let authority = Authority::new();
    fs::write(fleet.directory.path().join("named.pem"), authority.pem()).expect("a file");
    let server = FileServer::start(&authority.issue(&["policy.invalid"]), Act::File(fleet.pack(5)));
    let url = format!("https://policy.invalid:{}/policy.tar?sig=SECRET", server.address.port());
    let (address, heads) = proxy();
    let through = |login: &str| {
        fleet.pull_with(&url, &["--roots", "named.pem", "--proxy", &format!("http://{login}{address}")])
    };
    through("").expect_code(1).expect_stderr(&["the proxy refuses the connection (HTTP status 407)"]);
    through("user:pass@").expect_code(0);
    assert_eq!(fleet.visible(), files_of(5));
    // The proxy learns the host, and nothing of what is sent there.
    for head in heads.lock().expect("a lock").iter() {
        assert!(head.starts_with(&format!("CONNECT policy.invalid:{} HTTP/1.1\r\n", server.address.port())));
        assert!(!head.contains("SECRET"));
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_policy() {
    let fleet = Fleet::new();
    fleet.publish(1);
    fleet.pull().expect_code(0);
    let begun = Instant::now();
    fleet.pull().expect_code(0);
    let usual = begun.elapsed().as_micros() as u64;
    for serial in 2..=40 {
        fleet.publish(serial);
        let mut child = Command::new(binary())
            .args([
                "pull",
                &fleet.server.url(),
                "--public-key",
                "key.pub",
                "--into",
                "into",
                "--roots",
                "ca.pem",
            ])
            .current_dir(fleet.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        std::thread::sleep(Duration::from_micros(rand::random_range(0..2 * usual)));
        drop(child.kill());
        child.wait().expect("a child can be waited for");
        // One bundle whole, the new one or one before. Links of the other may lead nowhere.
        let text = fs::read_to_string(fleet.installed().join("a.list")).expect("a policy");
        let installed = text.trim_start_matches('n').split('.').next().and_then(|serial| serial.parse().ok());
        assert_eq!(fleet.visible(), files_of(installed.expect("a serial")), "killed at serial {serial}");
    }
    fleet.publish(41);
    fleet.pull().expect_code(0);
    assert_eq!(fleet.visible(), files_of(41));
    let entries = fs::read_dir(fleet.installed()).expect("a directory").count();
    // Two bundles, `..data`, the links, and the lock: nothing else is left.
    assert_eq!(entries, 2 + 1 + 3 + 1);
}

#[test]
fn a_sidecar_pulls_until_it_is_stopped() {
    let fleet = Fleet::new();
    let mut child = Command::new(binary())
        .args(["pull", &fleet.server.url(), "--public-key", "key.pub", "--into", "into", "--roots", "ca.pem"])
        .args(["--every", "1s"])
        .current_dir(fleet.directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    // The first pulls fail: the server closes.
    eventually("a request", || (!fleet.server.take_requests().is_empty()).then_some(()));
    for serial in [1, 2] {
        fleet.publish(serial);
        eventually("a new bundle", || (fleet.visible() == files_of(serial)).then_some(()));
    }
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
    let status = eventually("its end", || child.try_wait().expect("a child can be waited for"));
    assert!(status.success(), "{status}");
}

#[test]
fn pulls_at_once_take_turns() {
    let fleet = Fleet::new();
    fleet.publish(5);
    beside(0..4, |_| {
        let run = fleet.pull();
        let is_busy = run.code == 2 && run.stderr.contains("another `namegate pull` is running");
        assert!(run.code == 0 || is_busy, "{run:?}");
    });
    assert_eq!(fleet.visible(), files_of(5));
}

#[test]
fn a_running_resolver_takes_the_next_bundle() {
    let fleet = Fleet::new();
    fleet.publish(1);
    fleet.pull().expect_code(0);
    let upstream = ScriptedUpstream::start();
    // In a directory of the bundle, which is another directory after each pull: the sandbox must allow both.
    let zone = fleet.installed().join("zones/b.list");
    let gate = Gate::start(&upstream, &format!("server.watch = true\npolicy.zones = [{zone:?}]"));
    for serial in [1, 2, 3] {
        if serial > 1 {
            fleet.publish(serial);
            fleet.pull().expect_code(0);
        }
        let is_allowed = |name: &str| gate.ask(name, "A").rcode() == "NOERROR";
        eventually("the new policy", || is_allowed(&format!("n{serial}.example")).then_some(()));
        assert!(!is_allowed(&format!("n{}.example", serial - 1)));
        assert!(!is_allowed(&format!("n{}.example", serial + 1)));
    }
}

/// Azure's instance metadata service, in a namespace that has its address: gives `token` to those who ask as it requires.
fn metadata_service(token: String) -> Arc<Mutex<Vec<String>>> {
    let listener = TcpListener::bind("169.254.169.254:80").expect("the address is in this namespace");
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let asked = Arc::clone(&requests);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = String::new();
            for line in BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok) {
                if line.is_empty() {
                    break;
                }
                head += &(line.to_ascii_lowercase() + "\n");
            }
            let body = format!(r#"{{"access_token":"{token}","expires_in":"3599","token_type":"Bearer"}}"#);
            let is_right = head.contains("\nmetadata: true\n") && head.contains("api-version=2018-02-01");
            let status = if is_right { 200 } else { 400 };
            asked.lock().expect("no thread panicked").push(head);
            drop(write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    });
    requests
}

/// A token for storage accounts that is valid for an hour from `begin` seconds before now.
fn token(begin: u64) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let now = std::time::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs();
    let head = part(serde_json::json!({"typ": "JWT", "alg": "RS256"}));
    let claims = part(serde_json::json!({
        "aud": "https://storage.azure.com", "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
        "iat": now - begin, "nbf": now - begin, "exp": now - begin + 3600,
    }));
    format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode("signature"))
}

#[test]
#[ignore = "needs Azurite (npm package azurite) and network namespaces, which take root and iproute2; .ci/run has both"]
fn blobs_are_pulled_with_a_managed_identity() {
    let fleet = Fleet::new();
    let at = fleet.directory.path();
    let authority = Authority::new();
    fs::write(at.join("blobs.pem"), authority.pem()).expect("a file");
    let (certificate, key) = authority.issue(&["127.0.0.1"]).pem();
    fs::write(at.join("cert.pem"), certificate).expect("a file");
    fs::write(at.join("key.pem"), key).expect("a file");
    let azurite = Azurite::start(at);
    azurite.put("policy", "", &[]);
    azurite.put("policy/policy.tar", "application/octet-stream", &fleet.pack(5));
    azurite.stop();
    for (begin, code, told) in [(60, 0, "installed serial 5"), (7200, 1, "HTTP status 40")] {
        let namespaces = Namespaces::new(&format!("imds{code}"));
        namespaces.add_address(Place::Client, "c", "169.254.169.254/32");
        namespaces.within(Place::Client, || {
            let asked = metadata_service(token(begin));
            let azurite = Azurite::start_for_tokens(at);
            let identity =
                ["--identity", "azure:0b1f6471-1bf0-4dda-aec3-cb9272f09590", "--roots", "blobs.pem"];
            let url = azurite.url("policy/policy.tar");
            let run = fleet.pull_with(&url, &identity).expect_code(code);
            assert!(run.stdout.contains(told) || run.stderr.contains(told), "{run:?}");
            assert!(!run.stderr.contains("eyJ"), "the token is shown: {run:?}");
            let asked = asked.lock().expect("no thread panicked").clone();
            assert!(asked[0].contains("&client_id=0b1f6471-1bf0-4dda-aec3-cb9272f09590"), "{asked:?}");
            // Nobody else is told it: without it, the blob is not given.
            fleet
                .pull_with(&url, &["--roots", "blobs.pem"])
                .expect_code(1)
                .expect_stderr(&["HTTP status 40"]);
        });
    }
    assert_eq!(fleet.visible(), files_of(5));
}

#[test]
#[ignore = "needs Azurite (npm package azurite), whose program NAMEGATE_AZURITE names; .ci/run installs it"]
fn blobs_are_pulled_through_shared_access_signatures() {
    let fleet = Fleet::new();
    let azurite = Azurite::start(fleet.directory.path());
    azurite.put("policy", "", &[]);
    azurite.put("policy/policy.tar", "application/octet-stream", &fleet.pack(5));
    let (now, before) = (azurite.sas("policy/policy.tar", 3600), azurite.sas("policy/policy.tar", -60));
    assert!(fleet.pull_with(&now, &[]).expect_code(0).stdout.starts_with("installed serial 5"));
    assert_eq!(fleet.pull_with(&now, &[]).expect_code(0).stdout, "unchanged: serial 5\n");
    eventually("status 304", || (azurite.last_status() == 304).then_some(()));
    let expired = fleet.pull_with(&before, &[]).expect_code(1).expect_stderr(&["HTTP status 403"]);
    assert!(!expired.stderr.contains("sig="), "{}", expired.stderr);
    let wrong = now.replace("sig=", "sig=A");
    fleet.pull_with(&wrong, &[]).expect_code(1).expect_stderr(&["HTTP status 403 (Auth"]);
    fleet
        .pull_with(&azurite.sas("policy/none", 3600), &[])
        .expect_code(1)
        .expect_stderr(&["404 (BlobNotFound)"]);
    // Overwritten: a new ETag.
    azurite.put("policy/policy.tar", "application/octet-stream", &fleet.pack(6));
    assert!(fleet.pull_with(&now, &[]).expect_code(0).stdout.starts_with("installed serial 6"));
    assert_eq!(fleet.visible(), files_of(6));
}
