//! Tests that the README's commands print what it shows.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::command::{binary, namegate};
use crate::support::lines::Lines;
use crate::support::{Message, Query, UdpClient, free_address};

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
        assert!((first_screen.clone() + "\n").contains(part), "{part}");
    }
}

#[test]
fn the_settings_shown_are_good() {
    let blocks = blocks("toml");
    let [settings] = blocks.as_slice() else { panic!("one block of settings") };
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("namegate.toml"), settings).unwrap();
    namegate(directory.path(), &["check", "--config", "namegate.toml"]).expect_code(0);
}

/// A process from the README, killed when dropped.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    /// Starts `namegate` with `arguments`; reads its address after `marker` in its output.
    fn start(arguments: &[&str], marker: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let mut child = Command::new(binary())
            .args(arguments)
            .current_dir(directory.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        let output: Box<dyn Read + Send> = match marker.starts_with("serving") {
            true => Box::new(stdout),
            false => Box::new(stderr),
        };
        let line = Lines::collect(output).expect(marker);
        let (_, rest) = line.split_once(marker).expect("the marker");
        let address = rest.split_whitespace().next().and_then(|word| word.parse().ok());
        Self { child, address: address.unwrap_or_else(|| panic!("no address in `{line}`")) }
    }

    /// The upstream and the resolver, started as in the README, on other ports.
    fn both() -> (Self, Self) {
        let upstream = Self::start(
            &["demo", "upstream", "--listen", "127.0.0.1:0"],
            "serving the names of the demonstration on ",
        );
        let (listen, servers) = (free_address().to_string(), upstream.address.to_string());
        let arguments = ["--listen", &listen, "--admin", "127.0.0.1:0", "--upstream", &servers];
        let resolver = Self::start(&arguments, "listening on ");
        (upstream, resolver)
    }
}

impl Drop for Running {
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
    let (_upstream, resolver) = Running::both();
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
    let (_upstream, resolver) = Running::both();
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
