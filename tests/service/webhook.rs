//! Tests the webhook: signed messages to a receiver that works, fails, or is not the right one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::admin::token::write_token;
use crate::support::authority::{Authority, Identity};
use crate::support::http::Http;
use crate::support::{Gate, PATIENCE, ScriptedUpstream, eventually};

/// `whsec_` and the bytes 0 to 31.
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What the receiver does with one message.
#[derive(Clone, Copy)]
enum Reaction {
    Status(u16),
    /// Sends this header with a redirect.
    Redirect(&'static str),
    Close,
    Silence,
}

/// A message as received.
#[derive(Debug)]
struct Posted {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
    at: Instant,
}

impl Posted {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or_else(|| panic!("no {name}: {self:?}"), |(_, value)| value)
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// An HTTPS server that reacts as told, then with 204.
struct Hook {
    address: SocketAddr,
    posted: Receiver<Posted>,
}

impl Hook {
    fn start(identity: &Identity, reactions: &[Reaction]) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), Some(identity), reactions)
    }

    fn start_at(address: SocketAddr, identity: Option<&Identity>, reactions: &[Reaction]) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        let tls = identity.map(|identity| Arc::new(identity.server_config("http/1.1")));
        let (sender, posted) = channel();
        let reactions = Arc::new(Mutex::new(reactions.to_vec()));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, sender, reactions) = (tls.clone(), sender.clone(), Arc::clone(&reactions));
                std::thread::spawn(move || drop(serve(stream, tls, &sender, &reactions)));
            }
        });
        Self { address, posted }
    }

    fn next(&self) -> Posted {
        self.posted.recv_timeout(PATIENCE).expect("a message")
    }

    /// Fails if a message comes within `time`.
    fn expect_nothing(&self, time: Duration) {
        let more = self.posted.recv_timeout(time);
        assert!(more.is_err(), "{more:?}");
    }
}

fn serve(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    sender: &Sender<Posted>,
    reactions: &Mutex<Vec<Reaction>>,
) -> std::io::Result<()> {
    match tls {
        Some(tls) => {
            let connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
            answer(StreamOwned::new(connection, stream), sender, reactions)
        }
        None => answer(stream, sender, reactions),
    }
}

fn answer(
    stream: impl Read + Write,
    sender: &Sender<Posted>,
    reactions: &Mutex<Vec<Reaction>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((key, value)) = header.trim_end().split_once(": ") else { break };
        headers.push((key.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(key, _)| key == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).expect("UTF-8");
    let reaction = {
        let mut reactions = reactions.lock().expect("a lock");
        if reactions.is_empty() { Reaction::Status(204) } else { reactions.remove(0) }
    };
    drop(sender.send(Posted { line: line.trim_end().to_owned(), headers, body, at: Instant::now() }));
    let stream = reader.get_mut();
    match reaction {
        Reaction::Status(status) => write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")?,
        Reaction::Redirect(to) => {
            write!(stream, "HTTP/1.1 307 X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")?;
        }
        Reaction::Close => return Ok(()),
        Reaction::Silence => std::thread::sleep(PATIENCE * 4),
    }
    stream.flush()
}

struct Hooked {
    _upstream: ScriptedUpstream,
    _directory: TempDir,
    gate: Gate,
}

fn gate(authority: &Authority, url: &str, more: &str) -> Hooked {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().expect("a directory"));
    let (secret, roots) = (directory.path().join("secret"), directory.path().join("ca.pem"));
    write_token(&secret, SECRET, 0o600);
    std::fs::write(&roots, authority.pem()).expect("a file");
    let settings = format!(
        "requests.enabled = true\nwebhook.url = \"{url}\"\nwebhook.secret_file = {secret:?}\nwebhook.roots = \
         {roots:?}\n{more}"
    );
    let gate = Gate::start(&upstream, &settings);
    Hooked { _upstream: upstream, _directory: directory, gate }
}

fn file(gate: &Gate, name: &str) -> String {
    let body = json!({"name": name, "reason": "a job", "author": "ana"}).to_string();
    let reply = Http::to(gate.admin()).json("POST", "/api/v1/requests", &body);
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.value()["id"].as_str().expect("an id").to_owned()
}

fn count(gate: &Gate, result: &str) -> f64 {
    gate.metrics().sum("namegate_webhook_messages_total", &[("result", result)])
}

fn expect_count(gate: &Gate, result: &str, wanted: f64) {
    eventually(result, || (count(gate, result) == wanted).then_some(()));
}

#[test]
fn new_request_is_told_with_a_signature() {
    let authority = Authority::new();
    let hook = Hook::start(&authority.issue(&["127.0.0.1"]), &[]);
    let hooked = gate(&authority, &format!("https://{}/hook?x=y", hook.address), "");
    let id = file(&hooked.gate, "wanted.example");
    let posted = hook.next();
    assert_eq!(posted.line, "POST /hook?x=y HTTP/1.1");
    assert_eq!(posted.header("host"), hook.address.to_string());
    let value = posted.value();
    assert_eq!(value["type"], "request.filed");
    assert_eq!((&value["data"]["id"], &value["data"]["name"]), (&id.into(), &"wanted.example".into()));
    assert_eq!(value["data"]["client"], "127.0.0.1");
    let content =
        format!("{}.{}.{}", posted.header("webhook-id"), posted.header("webhook-timestamp"), posted.body);
    let key: Vec<u8> = (0..32).collect();
    let wanted = hmac(&key, content.as_bytes());
    assert_eq!(posted.header("webhook-signature"), format!("v1,{wanted}"));
    expect_count(&hooked.gate, "delivered", 1.0);
    hooked.gate.expect_clean_log();
}

/// HMAC-SHA256 (RFC 2104) in Base64.
fn hmac(key: &[u8], content: &[u8]) -> String {
    let block = |pad: u8| (0..64).map(|at| key.get(at).unwrap_or(&0) ^ pad).collect::<Vec<u8>>();
    let inner = Sha256::digest([&block(0x36), content].concat());
    STANDARD.encode(Sha256::digest([&block(0x5c), &inner[..]].concat()))
}

#[test]
fn failed_message_is_sent_again_with_the_same_id() {
    let authority = Authority::new();
    let reactions = [Reaction::Status(500), Reaction::Close];
    let hook = Hook::start(&authority.issue(&["127.0.0.1"]), &reactions);
    let hooked = gate(&authority, &format!("https://{}/", hook.address), "");
    file(&hooked.gate, "wanted.example");
    let (first, second, third) = (hook.next(), hook.next(), hook.next());
    assert!(first.header("webhook-id") == second.header("webhook-id") && first.body == third.body);
    assert!(second.at - first.at >= Duration::from_secs(1) && third.at - second.at >= Duration::from_secs(5));
    expect_count(&hooked.gate, "delivered", 1.0);
    hooked.gate.stderr.expect("webhook: a message was not delivered");
    hooked.gate.stderr.expect("webhook: messages are delivered again");
}

#[test]
fn redirects_and_refusals_are_final() {
    let authority = Authority::new();
    let other = Hook::start(&authority.issue(&["127.0.0.1"]), &[]);
    let to: &'static str = Box::leak(format!("https://{}/", other.address).into_boxed_str());
    let reactions = [Reaction::Redirect(to), Reaction::Status(404)];
    let hook = Hook::start(&authority.issue(&["127.0.0.1"]), &reactions);
    let hooked = gate(&authority, &format!("https://{}/", hook.address), "");
    file(&hooked.gate, "a.example");
    file(&hooked.gate, "b.example");
    file(&hooked.gate, "c.example");
    for name in ["a.example", "b.example", "c.example"] {
        assert_eq!(hook.next().value()["data"]["name"], name);
    }
    expect_count(&hooked.gate, "delivered", 1.0);
    assert_eq!(count(&hooked.gate, "failed"), 2.0);
    other.expect_nothing(Duration::from_millis(100));
}

#[test]
fn nothing_is_sent_to_a_server_with_a_wrong_certificate() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for identity in [stranger.issue(&["127.0.0.1"]), authority.issue(&["127.0.0.2"])] {
        let hook = Hook::start(&identity, &[]);
        let hooked = gate(&authority, &format!("https://{}/", hook.address), "");
        file(&hooked.gate, "wanted.example");
        hooked.gate.stderr.expect("webhook: a message was not delivered");
        hook.expect_nothing(Duration::from_millis(100));
    }
}

#[test]
fn silent_receiver_holds_nothing_up() {
    let authority = Authority::new();
    let hook = Hook::start(&authority.issue(&["127.0.0.1"]), &[Reaction::Silence]);
    let hooked = gate(&authority, &format!("https://{}/", hook.address), "");
    file(&hooked.gate, "wanted.example");
    hook.next();
    let start = Instant::now();
    file(&hooked.gate, "other.example");
    assert_eq!(hooked.gate.ask("blocked.example", "A").rcode(), "NXDOMAIN");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn receiver_that_comes_up_later_gets_the_message() {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let address = crate::support::free_address();
    let hooked = gate(&authority, &format!("https://{address}/"), "");
    file(&hooked.gate, "wanted.example");
    hooked.gate.stderr.expect("webhook: a message was not delivered");
    let hook = Hook::start_at(address, Some(&identity), &[]);
    assert_eq!(hook.next().value()["type"], "request.filed");
}

#[test]
fn failed_reload_canary_and_first_denials_are_told() {
    let authority = Authority::new();
    let hook = Hook::start_at("127.0.0.1:0".parse().expect("an address"), None, &[]);
    let events = "webhook.events = [\"reload\", \"first_denial\", \"canary\"]\n\
                  prove.must_not_resolve = []\nprove.must_resolve = [\"never.example\"]\nprove.interval = \"1s\"";
    let hooked = gate(&authority, &format!("http://{}/", hook.address), events);
    let canary = hook.next().value();
    assert_eq!(
        (&canary["type"], &canary["data"]["name"]),
        (&"canary.failed".into(), &"never.example".into())
    );
    hooked.gate.write_settings("nonsense = 1");
    hooked.gate.signal("HUP");
    assert_eq!(hook.next().value()["type"], "reload.failed");
    for name in ["b.example", "a.example", "b.example"] {
        hooked.gate.ask(name, "A");
    }
    file(&hooked.gate, "not-told.example");
    let denied = eventually("the first denials", || {
        let value = hook.next().value();
        (value["type"] == "names.blocked").then_some(value)
    });
    assert_eq!(denied["data"], json!({"names": ["a.example", "b.example"], "more": 0}));
    hooked.gate.ask("a.example", "A");
    hook.expect_nothing(Duration::from_secs(11));
}
