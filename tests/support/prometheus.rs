//! [`Prometheus`]: a real Prometheus server that scrapes namegate with the rules in `config/prometheus`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::lines::Lines;
use super::metrics::get;
use super::{eventually, free_address};

/// Directory of the committed configuration.
pub(crate) const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/prometheus");

/// A running server with its own storage, killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: Lines,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts a server that scrapes `target` and evaluates the committed rules once per second.
    ///
    /// `past` holds older samples in the OpenMetrics format.
    pub(crate) fn start(target: SocketAddr, past: &str) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let storage = directory.path().join("data");
        configure(directory.path(), target);
        remember(directory.path(), &storage, past);
        let address = free_address();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", directory.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", storage.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus is installed");
        let log = Lines::collect(child.stderr.take().expect("stderr is piped"));
        let prometheus = Self { child, address, log, _directory: directory };
        eventually("Prometheus to be ready", || {
            let accepts = TcpStream::connect(address).is_ok();
            (accepts && get(address, "/-/ready").0 == 200).then_some(())
        });
        prometheus
    }

    /// The `data` of an API page; the server's error message if it refuses.
    pub(crate) fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let pairs: Vec<String> =
            parameters.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
        let (_, body) = get(self.address, &format!("/api/v1/{path}?{}", pairs.join("&")));
        let mut page: Value = serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))?;
        match page["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(page["data"].take()),
        }
    }

    /// The current samples of an expression, without NaN, which a rate of no events divided by itself yields.
    pub(crate) fn query(&self, expression: &str) -> Result<Vec<f64>, String> {
        let data = self.api("query", &[("query", expression)])?;
        let result = data["result"].as_array().ok_or_else(|| format!("no result in {data}"))?;
        let value = |sample: &Value| sample["value"][1].as_str().and_then(|text| text.parse().ok());
        Ok(result.iter().filter_map(value).filter(|value: &f64| !value.is_nan()).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- Prometheus' log\n{}", self.log.all().join("\n"));
        }
    }
}

/// Writes the committed configuration with another target and other intervals, and the unchanged rules.
fn configure(directory: &Path, target: SocketAddr) {
    let mut text = fs::read_to_string(Path::new(CONFIG).join("prometheus.yml")).expect("prometheus.yml");
    for (committed, wanted) in [
        ("\"namegate:9153\"", format!("\"{target}\"").as_str()),
        ("interval: 15s", "interval: 1s"),
        ("scrape_interval: 5s", "scrape_interval: 1s"),
    ] {
        assert!(text.contains(committed), "prometheus.yml lacks `{committed}`");
        text = text.replace(committed, wanted);
    }
    fs::write(directory.join("prometheus.yml"), text).expect("a file can be written");
    for rules in ["rules.yml", "alerts.yml"] {
        fs::copy(Path::new(CONFIG).join(rules), directory.join(rules)).expect("a file can be copied");
    }
}

/// Imports past samples into the storage.
fn remember(directory: &Path, storage: &Path, past: &str) {
    let samples = directory.join("past");
    fs::write(&samples, format!("{past}# EOF\n")).expect("a file can be written");
    let mut promtool = Command::new("promtool");
    promtool.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(samples).arg(storage);
    let output = promtool.stdin(Stdio::null()).output().expect("promtool is installed");
    assert!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stderr));
}

/// Percent-encodes all but what is safe anywhere in a URL.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
