//! [`Contender`]: a server under test, and its configuration as an allowlisting resolver.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A server that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    /// Its name in the tables.
    pub(crate) name: &'static str,
    /// Whose server it is.
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    pub(crate) arguments: fn(&Site<'_>) -> Vec<String>,
    /// Files in the site's directory: name and text.
    pub(crate) files: fn(&Site<'_>) -> Vec<(&'static str, String)>,
    /// How many threads answer queries.
    pub(crate) workers: usize,
    /// Whether it can load a million names; the others need minutes, or all memory.
    pub(crate) many_rules: bool,
}

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No server at all: only the kernel's cost.
    Floor,
    /// Namegate, in one of its configurations.
    Own,
    /// From the Debian package with this name.
    Peer(&'static str),
}

/// What a server must do: allow these names and everything below them, forward those to the upstream, and deny the
/// rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: SocketAddr,
    pub(crate) suffixes: &'a [String],
    /// Directory for the server's files; exists and is empty.
    pub(crate) directory: &'a Path,
}

impl Site<'_> {
    /// The path of one of the server's files.
    pub(crate) fn path(&self, file: &str) -> String {
        self.directory.join(file).display().to_string()
    }

    /// One line of text for each suffix.
    pub(crate) fn lines(&self, line: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        for suffix in self.suffixes {
            text.push_str(&line(suffix));
            text.push('\n');
        }
        text
    }
}

/// The floor: this program, run again.
pub(crate) fn floor() -> io::Result<Contender> {
    Ok(Contender {
        name: "floor",
        kind: Kind::Floor,
        program: std::env::current_exe()?,
        arguments: |site| vec!["floor".into(), "--listen".into(), site.listen.to_string()],
        files: |_| Vec::new(),
        workers: 1,
        many_rules: true,
    })
}

/// Namegate as users run it; without its HTTP listener; without the history; and with two workers.
pub(crate) fn own(program: &Path) -> [Contender; 4] {
    let arguments = |site: &Site<'_>| vec!["--config".into(), site.path("namegate.toml")];
    let usual = Contender {
        name: "namegate",
        kind: Kind::Own,
        program: program.into(),
        arguments,
        files: |site| namegate(site, 1, ""),
        workers: 1,
        many_rules: true,
    };
    let without_admin = Contender {
        name: "namegate-no-admin",
        files: |site| namegate(site, 1, "[admin]\nlisten = \"\"\n"),
        ..usual.clone()
    };
    let without_history = Contender {
        name: "namegate-no-history",
        files: |site| namegate(site, 1, "[history]\nmax_age = \"0s\"\n"),
        ..usual.clone()
    };
    let two_workers = Contender {
        name: "namegate-2-workers",
        files: |site| namegate(site, 2, ""),
        workers: 2,
        ..usual.clone()
    };
    [usual, without_admin, without_history, two_workers]
}

fn namegate(site: &Site<'_>, workers: usize, more: &str) -> Vec<(&'static str, String)> {
    let Site { listen, upstream, .. } = site;
    let settings = format!(
        r#"[server]
listen = ["{listen}"]
workers = {workers}
[upstream]
servers = ["{upstream}"]
max_in_flight = 65535
max_qps = 0
[policy]
zones = ["allowed"]
zones_directory = "."
[log]
queries = "none"
{more}"#
    );
    let zone = site.lines(|suffix| format!(".{suffix}"));
    vec![("namegate.toml", settings), ("allowed.list", zone)]
}
