//! [`Encryption`]: what all encrypted upstreams have in common.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::address::roots::Roots;

/// Whom to trust, and whom to ask where a server is.
#[derive(Clone, Debug)]
pub struct Encryption {
    roots: Arc<RootCertStore>,
    /// Plain resolvers that are asked for the addresses of upstreams written with a host name, and nothing else.
    pub(super) bootstrap: Vec<SocketAddr>,
    /// TLS 1.2 and 1.3. Sessions are resumed.
    pub(super) tls: ClientConfig,
}

impl Encryption {
    /// Trusts `roots`.
    ///
    /// Errors: they cannot be loaded; for people, with a remedy.
    pub fn new(roots: &Roots, bootstrap: Vec<SocketAddr>) -> Result<Self, String> {
        let roots = Arc::new(roots.load().map_err(|error| error.to_string())?);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        Ok(Self { roots, bootstrap, tls })
    }
}

/// Equal where the same servers would be believed, and found in the same way.
impl PartialEq for Encryption {
    fn eq(&self, other: &Self) -> bool {
        self.roots.roots == other.roots.roots && self.bootstrap == other.bootstrap
    }
}

impl Eq for Encryption {}
