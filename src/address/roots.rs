//! [`Roots`]: the trusted certificate authorities (CAs) for encrypted upstreams.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::TrustAnchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;

use super::trust::with_remedy;

/// The certificate authorities that must have issued an encrypted upstream's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// The CAs that the system trusts, or those named by `SSL_CERT_FILE` or `SSL_CERT_DIR`.
    #[default]
    Platform,
    /// Only the CAs in a file.
    File {
        /// The file.
        path: PathBuf,
        /// Its CAs.
        anchors: Vec<TrustAnchor<'static>>,
    },
}

/// Why CA certificates cannot be loaded: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\n  help: {help}")]
pub struct RootsError {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Roots {
    /// Reads a PEM file. Skips sections that are not certificates.
    ///
    /// Errors: the file cannot be read, is not PEM, or has no certificate or an invalid one.
    pub fn read(path: &Path) -> Result<Self, RootsError> {
        let fail = |reason: String| RootsError {
            message: format!("cannot read CA certificates from {}: {reason}", path.display()),
            help: "write `platform`, or the path of a PEM file with CA certificates".to_owned(),
        };
        let sections = CertificateDer::pem_file_iter(path).map_err(|error| fail(explain(error)))?;
        let mut store = RootCertStore::empty();
        for (number, section) in (1..).zip(sections) {
            let certificate = section.map_err(|error| fail(explain(error)))?;
            store.add(certificate).map_err(|error| fail(format!("certificate {number}: {error}")))?;
        }
        match store.is_empty() {
            true => Err(fail("the file contains no certificate".to_owned())),
            false => Ok(Self::File { path: path.to_owned(), anchors: store.roots }),
        }
    }

    /// Loads the CAs' names and keys.
    ///
    /// Errors: the system has no CAs, or they cannot be read.
    pub fn load(&self) -> Result<RootCertStore, RootsError> {
        if let Self::File { anchors, .. } = self {
            return Ok(RootCertStore { roots: anchors.clone() });
        }
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // Some of the system's certificates are usually too old to parse; the others are enough.
        store.add_parsable_certificates(found.certs);
        if !store.is_empty() {
            return Ok(store);
        }
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let reasons = if reasons.is_empty() { "none found".to_owned() } else { reasons.join("; ") };
        Err(RootsError {
            message: format!("cannot load the system's CA certificates: {reasons}"),
            help: "install the package `ca-certificates`, or set `upstream.roots`, or --roots, to a PEM file"
                .to_owned(),
        })
    }
}

impl Roots {
    /// The error that a client would report for a certificate in the file that is the one of server `name` itself, such
    /// as a self-signed one. `None` if it is valid, or if no certificate is for that server.
    pub fn doubt(&self, name: &ServerName<'_>) -> Option<String> {
        let Self::File { path, anchors } = self else { return None };
        let roots = Arc::new(RootCertStore { roots: anchors.clone() });
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok()?;
        // The file was read a moment ago, and errors were reported then.
        let certificates = CertificateDer::pem_file_iter(path).ok()?.filter_map(Result::ok);
        let is_of_server = |certificate: &CertificateDer<'_>| {
            ParsedCertificate::try_from(certificate)
                .is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
        };
        let error = certificates.filter(is_of_server).find_map(|certificate| {
            verifier.verify_server_cert(&certificate, &[], name, &[], UnixTime::now()).err()
        })?;
        Some(with_remedy(&error.to_string()))
    }
}

fn explain(error: rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        other => format!("not a PEM file: {other}"),
    }
}
