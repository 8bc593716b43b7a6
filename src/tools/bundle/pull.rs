//! [`pull`]: fetches, verifies and installs a bundle. Whatever fails, the installed one stays in force.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::download::{Downloaded, download};
use super::error::PullError;
use super::identity::Identity;
use super::install::{InstalledBundle, PolicyDirectory};
use super::key::PublicKeys;
use super::manifest::BundleManifest;
use super::{check, unpack};
use crate::address::http_url::HttpUrl;
use crate::http_client::HttpClient;
use crate::util::rfc3339;

/// What to fetch, and where to install it.
pub(crate) struct PullRequest {
    pub(crate) url: HttpUrl,
    pub(crate) keys: PublicKeys,
    pub(crate) directory: PathBuf,
    pub(crate) identity: Option<Identity>,
    /// Largest bundle in bytes.
    pub(crate) max_size: u64,
    /// Time for the whole download.
    pub(crate) timeout: Duration,
}

/// What is in force now.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// A new bundle.
    Installed(BundleManifest),
    /// The same as before.
    Unchanged(BundleManifest),
}

/// Fetches the bundle and installs it if it is a newer one.
///
/// Errors: no answer, or a bundle that may not be installed.
pub(crate) async fn pull(client: &HttpClient, request: &PullRequest) -> Result<Pulled, PullError> {
    let path = &request.directory;
    let in_directory = |error: std::io::Error| PullError::Refused(format!("{}: {error}", path.display()));
    let directory = PolicyDirectory::open(path).map_err(in_directory)?;
    let busy = || PullError::NoAnswer(format!("{}: another `namegate pull` is running", path.display()));
    let directory = directory.ok_or_else(busy)?;
    let installed = directory.installed().map_err(PullError::Refused)?;
    let expired = installed.as_ref().map(|installed| refuse_expired(&installed.manifest, SystemTime::now()));
    let pulled = pull_into(&directory, installed, client, request).await;
    // Otherwise whoever silences the server could keep an expired policy in force unnoticed.
    match (pulled, expired) {
        (Err(PullError::NoAnswer(error)), Some(Err(expired))) => {
            Err(PullError::Refused(format!("{error}; the installed {expired}")))
        }
        (pulled, _) => pulled,
    }
}

async fn pull_into(
    directory: &PolicyDirectory,
    installed: Option<InstalledBundle>,
    client: &HttpClient,
    request: &PullRequest,
) -> Result<Pulled, PullError> {
    let PullRequest { url, keys, directory: path, .. } = request;
    let in_directory = |error: std::io::Error| PullError::Refused(format!("{}: {error}", path.display()));
    let whole = installed.as_ref().filter(|installed| installed.is_whole);
    let etag = whole.and_then(|_| directory.etag(&url.to_string()));
    let fetch = fetch(client, request, etag.as_deref());
    let silence = || PullError::NoAnswer(format!("{url}: not complete within {:?}", request.timeout));
    let fetched = timeout(request.timeout, fetch).await.map_err(|_| silence())??;
    let now = SystemTime::now();
    let (bytes, etag) = match fetched {
        Downloaded::File(bytes, etag) => (bytes, etag),
        Downloaded::Unchanged => {
            let installed = installed.ok_or_else(|| PullError::NoAnswer(format!("{url}: no content")))?;
            refuse_expired(&installed.manifest, now)?;
            directory.link(&installed.manifest).map_err(in_directory)?;
            return Ok(Pulled::Unchanged(installed.manifest));
        }
    };
    let refused = |error: String| PullError::Refused(format!("{url}: {error}"));
    let payload = unpack::verify(&bytes, keys).map_err(refused)?;
    let manifest = payload.manifest().map_err(refused)?;
    refuse_expired(&manifest, now)?;
    if let Some(installed) = &installed
        && is_installed(&manifest, installed)?
    {
        directory.link(&manifest).map_err(in_directory)?;
        directory.store_etag(&url.to_string(), etag);
        return Ok(Pulled::Unchanged(manifest));
    }
    let stage = directory.stage().map_err(in_directory)?;
    let prepared = payload.unpack(&manifest, &stage).map_err(|error| refused(error.to_string()));
    let prepared = prepared.and_then(|()| check::check(&stage, &manifest).map_err(PullError::Refused));
    if let Err(error) = prepared {
        // The next pull removes it too.
        let _ = std::fs::remove_dir_all(&stage);
        return Err(error);
    }
    directory.activate(&manifest).map_err(in_directory)?;
    let previous = installed.as_ref().map(InstalledBundle::name);
    directory.tidy(&manifest, previous).map_err(in_directory)?;
    directory.store_etag(&url.to_string(), etag);
    Ok(Pulled::Installed(manifest))
}

async fn fetch(
    client: &HttpClient,
    PullRequest { url, identity, max_size, .. }: &PullRequest,
    etag: Option<&str>,
) -> Result<Downloaded, PullError> {
    let headers = match identity {
        Some(identity) => identity.headers(client).await?,
        None => http::HeaderMap::new(),
    };
    download(client, url, etag, headers, *max_size).await
}

/// True if `manifest` is that of the installed bundle, and all its files are there.
///
/// Errors: it is older, or another one with the same serial.
fn is_installed(manifest: &BundleManifest, installed: &InstalledBundle) -> Result<bool, PullError> {
    let (new, old) = (manifest.serial, installed.manifest.serial);
    if new < old {
        return Err(PullError::Refused(format!("serial {new} is lower than the installed one, {old}")));
    }
    if new == old && *manifest != installed.manifest {
        return Err(PullError::Refused(format!(
            "serial {new} is installed with other content\n  help: give every bundle a higher serial"
        )));
    }
    Ok(new == old && installed.is_whole)
}

fn refuse_expired(manifest: &BundleManifest, now: SystemTime) -> Result<(), PullError> {
    if now < manifest.expires {
        return Ok(());
    }
    Err(PullError::Refused(format!(
        "serial {} has expired, at {}\n  help: publish a new bundle; correct this machine's clock if it is wrong",
        manifest.serial,
        rfc3339::seconds(manifest.expires)
    )))
}
