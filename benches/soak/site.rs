//! [`Site`]: the running namegate and its files: settings change with every reload, and some are broken.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::load::random::Random;
use crate::load::reply::ADDRESS;
use crate::load::workload::SUFFIXES;
use crate::support::Gate;

/// Names in the allowlist, which changes with each reload.
const LISTED: usize = 20_000;
/// Timeout of a reload: its thread has the lowest priority, and other programs may want all cores.
const RELOAD_LIMIT: Duration = Duration::from_secs(120);
/// Interval of checks whether it is over.
const STEP: Duration = Duration::from_millis(100);
/// The admin token.
pub(crate) const TOKEN: &str = "soak-soak-soak-soak-soak-soak-soak-soak";
/// A client outside the allowed subnet.
pub(crate) const REFUSED: Ipv4Addr = Ipv4Addr::new(127, 200, 0, 1);
/// A name in a local zone.
pub(crate) const LOCAL: &str = "www.corp.example";
/// Start of the log line of a failed reload.
pub(crate) const BROKEN: &str = "reload failed";

/// A running namegate whose directory holds all files.
pub(crate) struct Site {
    gate: Gate,
    lists: [String; 2],
    token: NamedTempFile,
}

impl Site {
    /// Starts namegate.
    pub(crate) fn start(upstream: SocketAddr) -> io::Result<Self> {
        let lists = [3, 4].map(list);
        let zone = format!(
            "$ORIGIN corp.example.\n$TTL 300\n@ IN SOA ns hostmaster 1 7200 900 1209600 60\n@ IN NS ns\n\
             ns IN A 10.0.0.53\nwww IN A {ADDRESS}\n"
        );
        // The token file must be readable by its owner only.
        let mut token = NamedTempFile::new()?;
        token.write_all(TOKEN.as_bytes())?;
        let files = [("big.list", lists[0].as_str()), ("corp.zone", &zone)];
        let gate = Gate::with_files(&[upstream], &settings(0, token.path()), &files);
        Ok(Self { gate, lists, token })
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gate.address()
    }

    /// Changes the files and reloads; every fifth time they are broken.
    ///
    /// Panics if the result is not the expected one.
    pub(crate) fn reload(&self, number: usize) {
        let is_broken = number % 5 == 4;
        self.gate.write_file("big.list", &self.lists[number % 2]);
        let fault = if is_broken { "policy.mode = \"nothing\"" } else { "" };
        self.gate.write_settings(&format!("{}\n{fault}\n", settings(number, self.token.path())));
        let counts = || {
            let metrics = self.gate.metrics();
            ["success", "failure"]
                .map(|result| metrics.sum("namegate_policy_reloads_total", &[("result", result)]))
        };
        let (before, begin) = (counts(), Instant::now());
        self.gate.signal("HUP");
        let wanted = if is_broken { [before[0], before[1] + 1.0] } else { [before[0] + 1.0, before[1]] };
        while counts() != wanted {
            assert!(begin.elapsed() < RELOAD_LIMIT, "reload {number}: {:?} instead of {wanted:?}", counts());
            thread::sleep(STEP);
        }
    }
}

/// The settings; each number makes them different.
fn settings(number: usize, token: &Path) -> String {
    let allow = SUFFIXES.map(|suffix| format!("\".{suffix}\"")).join(", ");
    format!(
        r#"server.allow_clients = ["127.0.0.0/9"]
        log.queries = "none"
        admin.token_file = "{token}"
        policy.zones = ["big"]
        policy.zones_directory = "{{dir}}"
        policy.allow = [{allow}, "only-{number}.example.com"]
        block.ttl = "{ttl}s"
        cache.max_bytes = "8MiB"
        tunnel_guard.window = "20s"
        local = [{{ origin = "corp.example", file = "{{dir}}/corp.zone" }}]
        "#,
        ttl = 10 + number % 20,
        token = token.display(),
    )
}

fn list(seed: u64) -> String {
    let mut random = Random::new(seed);
    (0..LISTED).map(|_| format!(".{}\n", random.listed_name())).collect()
}
