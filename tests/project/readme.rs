//! Tests that the README's commands print what it shows.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::command::{binary, namegate};
use crate::support::lines::Lines;
use crate::support::{Message, Query, UdpClient, free_address};
use crate::tools::demo::DemoUpstream;

const README: &str = include_str!("../../README.md");

/// The text of every fenced block in `language`.
fn blocks(language: &str) -> Vec<&'static str> {
    let blocks = README.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[test]
fn readme_is_short_and_shows_setup_first() {
    assert!(README.lines().count() <= 150, "{} lines", README.lines().count());
    let first_screen: Vec<&str> = README.lines().take(40).collect();
    let first_screen = first_screen.join("\n");
    for part in ["`cargo run --release`", "cargo test", "status-page.png", "http://127.0.0.1:9153/", "$ dig "]
    {
        assert!(first_screen.contains(part), "{part}");
    }
}

#[test]
fn the_settings_shown_are_good() {
    let blocks = blocks("toml");
    let [settings] = blocks.as_slice() else { panic!("one block of settings") };
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("namegate.toml"), settings).unwrap();
    namegate(directory.path(), &["check", "--files-only", "--config", "namegate.toml"]).expect_code(0);
}

/// The resolver as the README starts it, with its built-in settings, on other ports. It is killed when dropped.
struct Resolver {
    child: Child,
    address: SocketAddr,
}

impl Resolver {
    fn start(upstream: &DemoUpstream) -> Self {
        let directory = TempDir::new().unwrap();
        let (address, servers) = (free_address(), upstream.address.to_string());
        let mut child = Command::new(binary())
            .args(["--listen", &address.to_string(), "--admin", "127.0.0.1:0", "--upstream", &servers])
            .current_dir(directory.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        Lines::collect(child.stderr.take().expect("standard error is piped")).expect("listening on ");
        Self { child, address }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The dig commands, each with the output shown below it.
fn transcripts() -> Vec<(&'static str, &'static str)> {
    let console = blocks("console");
    let [console] = console.as_slice() else { panic!("one console block") };
    let transcripts = console.split("$ ").skip(1).map(|text| text.split_once('\n').unwrap());
    let transcripts: Vec<_> = transcripts.collect();
    assert_eq!(transcripts.len(), 3);
    transcripts
}

/// Checks the demo's answers without dig.
#[test]
fn the_dig_lines_are_answered_as_shown() {
    let upstream = DemoUpstream::start();
    let resolver = Resolver::start(&upstream);
    for (command, output) in transcripts() {
        let words = command.split(' ').take_while(|word| *word != "|");
        let name = words.filter(|word| !word.starts_with(['+', '@', '-'])).last().expect("a name");
        let client = UdpClient::of(resolver.address);
        let reply: Message = client.ask(&Query::new(name, "A").edns());
        match output.contains("NXDOMAIN") {
            true => assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("NXDOMAIN", vec![15])),
            false => {
                let shown: Vec<&str> = output.lines().map(|line| line.trim_end_matches('.')).collect();
                assert_eq!(reply.answer_data(), shown, "{command}");
            }
        }
    }
}

#[test]
#[ignore = "needs dig (Debian package bind9-dnsutils); .ci/run installs it"]
fn the_dig_lines_print_what_is_shown() {
    let upstream = DemoUpstream::start();
    let resolver = Resolver::start(&upstream);
    let port = resolver.address.port().to_string();
    for (command, output) in transcripts() {
        let here = command.replace("-p 1053", &format!("-p {port}"));
        let run = Command::new("sh").args(["-c", &here]).output().expect("a shell");
        assert_eq!(without_id(&String::from_utf8_lossy(&run.stdout)), without_id(output), "{command}");
    }
}

/// dig picks a random id.
fn without_id(output: &str) -> String {
    output.split("id: ").map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit())).collect()
}
