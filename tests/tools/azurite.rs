//! [`Azurite`]: Microsoft's emulator of blob storage, with signed URLs (shared access signatures).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::support::free_address;
use crate::support::lines::Lines;

/// The emulator's account and its key, which are the same everywhere.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A version of the interface in which few fields are signed.
const VERSION: &str = "2018-11-09";

/// A running emulator, killed when dropped.
pub(super) struct Azurite {
    child: Child,
    address: SocketAddr,
    log: Lines,
}

impl Azurite {
    /// Starts the program that `NAMEGATE_AZURITE` names.
    pub(super) fn start(directory: &Path) -> Self {
        Self::start_with(directory, &[])
    }

    /// Starts it over HTTPS, as `cert.pem` and `key.pem`, where it accepts tokens: it checks their times, issuer and audience.
    pub(super) fn start_for_tokens(directory: &Path) -> Self {
        Self::start_with(directory, &["--cert", "cert.pem", "--key", "key.pem", "--oauth", "basic"])
    }

    fn start_with(directory: &Path, options: &[&str]) -> Self {
        let program = std::env::var_os("NAMEGATE_AZURITE").expect("NAMEGATE_AZURITE names azurite-blob");
        let address = free_address();
        let mut child = Command::new(program)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &address.port().to_string()])
            .args(["--disableTelemetry", "--location"])
            .arg(directory)
            .args(options)
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Azurite starts");
        let log = Lines::collect(child.stdout.take().expect("stdout is piped"));
        let azurite = Self { child, address, log };
        // A large Node program: beside other tests it takes longer to start than anything else waits.
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "Azurite does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        azurite
    }

    /// Creates a container, if `content_type` is empty, or a blob.
    pub(super) fn put(&self, path: &str, content_type: &str, bytes: &[u8]) {
        let expiry = time(3600);
        let text = format!("{ACCOUNT}\nrwdlac\nb\nsco\n\n{expiry}\n\n\n{VERSION}\n");
        let is_container = content_type.is_empty();
        let (what, header) = match is_container {
            true => ("restype=container&", String::new()),
            false => ("", format!("x-ms-blob-type: BlockBlob\r\nContent-Type: {content_type}\r\n")),
        };
        let signature = sign(&text);
        let mut stream = TcpStream::connect(self.address).expect("Azurite listens");
        write!(
            stream,
            "PUT /{ACCOUNT}/{path}?{what}sv={VERSION}&ss=b&srt=sco&sp=rwdlac&se={expiry}&sig={signature} HTTP/1.1\r\n\
             Host: {}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            bytes.len()
        )
        .and_then(|()| stream.write_all(bytes))
        .expect("a request");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        assert!(reply.starts_with("HTTP/1.1 201 "), "{path}: {reply}");
    }

    /// The URL with which a blob can be read for `seconds` from now.
    pub(super) fn sas(&self, path: &str, seconds: i64) -> String {
        let expiry = time(seconds);
        let resource = format!("/blob/{ACCOUNT}/{path}");
        let signature = sign(&format!("r\n\n{expiry}\n{resource}\n\n\n\n{VERSION}\nb\n\n\n\n\n\n"));
        format!("http://{}/{ACCOUNT}/{path}?sv={VERSION}&sr=b&sp=r&se={expiry}&sig={signature}", self.address)
    }

    /// The URL of a blob.
    pub(super) fn url(&self, path: &str) -> String {
        format!("https://{}/{ACCOUNT}/{path}", self.address)
    }

    /// Ends it when what it has is on the disk.
    pub(super) fn stop(mut self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
        drop(self.child.wait());
    }

    /// The HTTP status of the last reply.
    pub(super) fn last_status(&self) -> u16 {
        let lines = self.log.all();
        let status =
            lines.iter().rev().find_map(|line| line.split("HTTP/1.1\" ").nth(1)?.get(..3)?.parse().ok());
        status.unwrap_or_else(|| panic!("no reply: {lines:?}"))
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The time in so many seconds; the colons need no escape in a query.
fn time(seconds: i64) -> String {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance };
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A signature, escaped for a URL.
fn sign(text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(KEY).expect("Base64"));
    let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
    signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}
