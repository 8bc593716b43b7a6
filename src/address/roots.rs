//! [`Roots`]: whose word is taken for who a server is.

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

/// The certificate authorities that encrypted upstreams' certificates must come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those that this machine trusts. Where the environment has `SSL_CERT_FILE` or `SSL_CERT_DIR`, those they name.
    #[default]
    Platform,
    /// Those of a file, and no others.
    File {
        /// Where they were read.
        path: PathBuf,
        /// What was read.
        anchors: Vec<TrustAnchor<'static>>,
    },
}

/// Why there is nobody to trust: what is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\n  help: {help}")]
pub struct RootsError {
    /// What is wrong, for people.
    pub message: String,
    /// What to do instead.
    pub help: String,
}

impl Roots {
    /// Reads a PEM file. Sections of it that are no certificates are passed over.
    ///
    /// Errors: it cannot be read, is no PEM, or has no certificate or a broken one.
    pub fn read(path: &Path) -> Result<Self, RootsError> {
        let fail = |reason: String| RootsError {
            message: format!("no certificate authorities from {}: {reason}", path.display()),
            help: "write `platform`, or the path of a file with certificates in PEM form".to_owned(),
        };
        let sections = CertificateDer::pem_file_iter(path).map_err(|error| fail(explain(error)))?;
        let mut store = RootCertStore::empty();
        for (number, section) in (1..).zip(sections) {
            let certificate = section.map_err(|error| fail(explain(error)))?;
            store.add(certificate).map_err(|error| fail(format!("certificate {number}: {error}")))?;
        }
        match store.is_empty() {
            true => Err(fail("it holds no certificate".to_owned())),
            false => Ok(Self::File { path: path.to_owned(), anchors: store.roots }),
        }
    }

    /// The authorities' names and keys.
    ///
    /// Errors: the machine has none, or they cannot be read.
    pub fn load(&self) -> Result<RootCertStore, RootsError> {
        if let Self::File { anchors, .. } = self {
            return Ok(RootCertStore { roots: anchors.clone() });
        }
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // Among the machine's some are usually too old for anyone; the others are enough.
        store.add_parsable_certificates(found.certs);
        if !store.is_empty() {
            return Ok(store);
        }
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let reasons = if reasons.is_empty() { "there are none".to_owned() } else { reasons.join("; ") };
        Err(RootsError {
            message: format!("this machine's certificate authorities cannot be used: {reasons}"),
            help: "install the package `ca-certificates`, or name a PEM file as `roots` in [upstream]"
                .to_owned(),
        })
    }
}

impl Roots {
    /// What speaks against a certificate of the file that is for the server `name` itself, as a self-signed one is: what a client would
    /// say of it. None where all is well, or no certificate is for that server.
    pub fn doubt(&self, name: &ServerName<'_>) -> Option<String> {
        let Self::File { path, anchors } = self else { return None };
        let roots = Arc::new(RootCertStore { roots: anchors.clone() });
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok()?;
        // It was read a moment ago, and its faults were told.
        let certificates = CertificateDer::pem_file_iter(path).ok()?.filter_map(Result::ok);
        let is_of_server = |certificate: &CertificateDer<'_>| {
            ParsedCertificate::try_from(certificate)
                .is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
        };
        let error = certificates.filter(is_of_server).find_map(|certificate| {
            verifier.verify_server_cert(&certificate, &[], name, &[], UnixTime::now()).err()
        })?;
        Some(with_remedy(error.to_string()))
    }
}

fn explain(error: rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        other => format!("it is no PEM file: {other}"),
    }
}
