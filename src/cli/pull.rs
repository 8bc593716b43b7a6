//! `namegate pull`: fetches, verifies and installs a bundle.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::output::{FAILED, NO_ANSWER, OK, counted, marked, print, warn};
use crate::address::http_url::HttpUrl;
use crate::address::roots::Roots;
use crate::address::socket::{DNS_PORT, upstream_socket};
use crate::http_client::proxy::Proxy;
use crate::http_client::{HostLookup, HttpClient};
use crate::service::shutdown::{Request, Signals};
use crate::tools::bundle::{Identity, PublicKeys, PullError, PullRequest, Pulled, pull};
use crate::util::rfc3339;

/// Shortest interval of `--every`.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// What to fetch, and where to install it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Address of the bundle: https, or http to a loopback address
    #[arg(env = "NAMEGATE_PULL_URL", hide_env_values = true)]
    url: String,
    /// Public key that must have signed the bundle, or a file with it; repeatable
    #[arg(long, value_name = "KEY", required = true)]
    public_key: Vec<String>,
    /// Directory to install to; created if missing
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Prove this identity to the server: `azure`, or `azure:CLIENT_ID`
    #[arg(long, value_name = "IDENTITY")]
    identity: Option<Identity>,
    /// Trust the CAs in this PEM file, instead of those this machine trusts
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// Resolve host names with this server; repeatable [default: the system's resolver]
    #[arg(long, value_name = "ADDRESS", value_parser = bootstrap, value_delimiter = ',')]
    bootstrap: Vec<SocketAddr>,
    /// Connect through this HTTP proxy [default: HTTPS_PROXY, except for NO_PROXY]
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Refuse a larger bundle
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    max_size: ByteSize,
    /// Time for the whole download
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: humantime::Duration,
    /// Repeat until SIGTERM, for a sidecar; SIGHUP pulls at once
    #[arg(long, value_name = "DURATION")]
    every: Option<humantime::Duration>,
}

fn bootstrap(text: &str) -> Result<SocketAddr, String> {
    upstream_socket(text, DNS_PORT).map_err(|error| error.message)
}

/// Pulls; exit status 0 installed or unchanged, 1 refused, 2 no answer.
pub(super) fn run(arguments: Arguments) -> u8 {
    let every = arguments.every.map(|every| MIN_INTERVAL.max(*every));
    let prepared = prepare(arguments).map_err(PullError::Refused);
    let started =
        prepared.and_then(|prepared| Ok((prepared, Builder::new_current_thread().enable_all().build()?)));
    let ((client, request), runtime) = match started {
        Ok(started) => started,
        Err(error) => return report(Err(error)),
    };
    let status = runtime.block_on(async {
        match every {
            None => report(pull(&client, &request).await),
            Some(every) => repeat(&client, &request, every).await,
        }
    });
    // A lookup of the system's resolver cannot be cancelled.
    runtime.shutdown_background();
    status
}

/// Pulls until SIGTERM or SIGINT; SIGHUP pulls at once. In a container, this is the first process, for which the kernel ignores
/// signals without a handler.
async fn repeat(client: &HttpClient, request: &PullRequest, every: Duration) -> u8 {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return report(Err(error.into())),
    };
    loop {
        let pull_and_wait = async {
            report(pull(client, request).await);
            sleep(every).await;
        };
        tokio::select! {
            () = pull_and_wait => {}
            asked = signals.next() => if asked == Request::Stop { return OK },
        }
    }
}

/// Prints the outcome; returns the exit status.
fn report(outcome: Result<Pulled, PullError>) -> u8 {
    match outcome {
        Ok(Pulled::Installed(manifest)) => print(&format!(
            "installed serial {} ({}, expires {})",
            manifest.serial,
            counted(manifest.files.len() as u64, "file"),
            rfc3339::seconds(manifest.expires)
        )),
        Ok(Pulled::Unchanged(manifest)) => print(&format!("unchanged: serial {}", manifest.serial)),
        Err(error) => {
            warn(&marked(&error));
            if matches!(error, PullError::NoAnswer(_)) { NO_ANSWER } else { FAILED }
        }
    }
}

fn prepare(arguments: Arguments) -> Result<(HttpClient, PullRequest), String> {
    let Arguments { url, public_key, into, identity, roots, bootstrap, proxy, max_size, timeout, every: _ } =
        arguments;
    // An error without the URL, which may hold a secret.
    let url = HttpUrl::parse(&url).ok_or(
        "invalid URL\n  help: write https://HOST/PATH, or http://127.0.0.1:PORT/PATH; without user and fragment",
    )?;
    let roots =
        roots.map_or(Ok(Roots::Platform), |file| Roots::read(&file)).map_err(|error| error.to_string())?;
    let lookup = if bootstrap.is_empty() { HostLookup::System } else { HostLookup::Bootstrap(bootstrap) };
    let variable = |names: [&str; 2]| names.into_iter().find_map(|name| std::env::var(name).ok());
    let except = if proxy.is_some() { None } else { variable(["no_proxy", "NO_PROXY"]) };
    let proxy = proxy.or_else(|| variable(["https_proxy", "HTTPS_PROXY"])).filter(|proxy| !proxy.is_empty());
    let proxy = proxy.map(|proxy| {
        Proxy::parse(&proxy, except.as_deref().unwrap_or_default())
            .ok_or("invalid address of a proxy\n  help: write http://HOST:PORT in --proxy or HTTPS_PROXY")
    });
    let client = HttpClient::new(&roots, lookup, proxy.transpose()?)?;
    let keys = PublicKeys::read(&public_key)?;
    let request = PullRequest {
        url,
        keys,
        directory: into,
        identity,
        max_size: max_size.as_u64(),
        timeout: timeout.into(),
    };
    Ok((client, request))
}
