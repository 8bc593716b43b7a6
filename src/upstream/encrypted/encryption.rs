//! [`Encryption`]: the TLS settings of all encrypted upstreams.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::address::roots::Roots;

/// The trusted roots, and the resolvers that resolve server names.
#[derive(Clone, Debug)]
pub struct Encryption {
    roots: Arc<RootCertStore>,
    /// Plain resolvers, used only to resolve the host names of upstreams.
    pub(super) bootstrap: Vec<SocketAddr>,
    /// TLS 1.2 and 1.3. Sessions are resumed.
    pub(super) tls: ClientConfig,
}

impl Encryption {
    /// Trusts `roots`.
    ///
    /// Errors: they cannot be loaded; as text with a remedy.
    pub fn new(roots: &Roots, bootstrap: Vec<SocketAddr>) -> Result<Self, String> {
        let roots = Arc::new(roots.load().map_err(|error| error.to_string())?);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        Ok(Self { roots, bootstrap, tls })
    }

    /// The TLS settings, for another client.
    pub fn into_tls(self) -> ClientConfig {
        self.tls
    }
}

/// Equal if both trust the same servers and resolve their names the same way.
impl PartialEq for Encryption {
    fn eq(&self, other: &Self) -> bool {
        self.roots.roots == other.roots.roots && self.bootstrap == other.bootstrap
    }
}

impl Eq for Encryption {}
