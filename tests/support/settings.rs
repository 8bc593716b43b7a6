//! Writes the settings of the process under test.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Base settings of every test: everything on loopback, ports chosen by the system, one allowed subtree, no client but
/// the test, and no reload but those that the test asks for.
const BASE: &str = r#"
    [server]
    listen = ["127.0.0.1:0"]
    watch = false
    [policy]
    zones = []
    allow = [".allowed.example"]
    [admin]
    listen = "127.0.0.1:0"
    [prove]
    interval = "0s"
"#;

/// Writes the settings file in `directory` and returns its path.
pub(crate) fn write_settings(directory: &Path, upstreams: &[SocketAddr], settings: &str) -> PathBuf {
    let mut merged: Table = BASE.parse().expect("the base settings are TOML");
    let servers: Vec<Value> = upstreams.iter().map(|address| Value::from(address.to_string())).collect();
    merged.insert("upstream".to_owned(), Table::from_iter([("servers".to_owned(), servers.into())]).into());
    let own = settings.replace("{dir}", directory.to_str().expect("a path in UTF-8"));
    let own: Table = own.parse().unwrap_or_else(|error| panic!("settings are not TOML: {error}\n{own}"));
    overlay(&mut merged, own);
    let path = directory.join("namegate.toml");
    write(&path, &merged.to_string());
    path
}

fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => drop(below.insert(key, value)),
        }
    }
}

/// Writes a file and creates its parent directories.
pub(crate) fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory can be made");
    fs::write(path, content).expect("a file can be written");
}
