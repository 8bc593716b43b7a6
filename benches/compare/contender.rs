//! [`Contender`]: a server that can be started, and what it must be told to be a gate for a list of names.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A server that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    /// Its name in the tables.
    pub(crate) name: &'static str,
    /// Whose it is.
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    pub(crate) arguments: fn(&Site<'_>) -> Vec<String>,
    /// Its files in the site's directory: name and text.
    pub(crate) files: fn(&Site<'_>) -> Vec<(&'static str, String)>,
    /// How many threads answer queries.
    pub(crate) workers: usize,
    /// Whether it bears a list of a million names; for the others that takes minutes, or all memory.
    pub(crate) many_rules: bool,
}

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No server at all: what the kernel's part costs.
    Floor,
    /// Namegate in one of its settings.
    Own,
    /// From a package of this name.
    Peer(&'static str),
}

/// What a server is to do: allow these names and all below them, ask the upstream for them, and deny the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: SocketAddr,
    pub(crate) suffixes: &'a [String],
    /// For the server's files; exists, and is empty.
    pub(crate) directory: &'a Path,
}

impl Site<'_> {
    /// The path of a file of the server's.
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

/// The floor, which is this program again.
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

/// Namegate as its users run it, without its HTTP side, and with a second worker.
pub(crate) fn own(program: &Path) -> [Contender; 3] {
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
    let two_workers = Contender {
        name: "namegate-2-workers",
        files: |site| namegate(site, 2, ""),
        workers: 2,
        ..usual.clone()
    };
    [usual, without_admin, two_workers]
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
