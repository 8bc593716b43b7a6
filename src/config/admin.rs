//! Settings of `[admin]`: the HTTP server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::values::{optional_path, plain};
use crate::config::{limits, serializers, value};
use crate::diagnostics::{Section, ValueError};

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdminSettings {
    /// Address of /metrics, /livez, /readyz, /healthz and the status page. Change it if Prometheus runs on another
    /// machine; then restrict access with a firewall or a proxy, because it has no TLS. Empty: off.
    #[serde(serialize_with = "serializers::optional_address")]
    pub listen: Option<SocketAddr>,
    /// Host names by which browsers and Prometheus reach the admin listener, such as "gate-1.corp.example". IP
    /// addresses and names of one label always work. Requests for other hosts are refused, because any web page can
    /// point its own name here (DNS rebinding); /livez, /readyz and /healthz accept any host.
    pub hosts: Vec<String>,
    /// File with the token that is required for requests that change state. Empty: such requests are refused. The
    /// status page takes it for signing in.
    #[serde(serialize_with = "serializers::optional_path")]
    pub token_file: Option<PathBuf>,
    /// File with another token, which only reads. Empty: none.
    #[serde(serialize_with = "serializers::optional_path")]
    pub viewer_token_file: Option<PathBuf>,
    /// Who reads the data of the status page without a token: "loopback" (clients on this machine), "token" (nobody,
    /// and /metrics needs a token too) or "any". Set "token" if a proxy on this machine serves others: all its clients
    /// come from loopback.
    pub read: ReadAccess,
    /// Longest duration of a grant (`namegate allow`), 1m to 30d. Lower it so that grants end sooner, for example
    /// before the next review.
    #[serde(serialize_with = "serializers::quantity")]
    pub max_temporary: Duration,
    /// How many of the most blocked names, and of the clients that query them, are shown and exported, 0 to 100.
    pub top: usize,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, limits::ADMIN_PORT))),
            hosts: Vec::new(),
            token_file: None,
            viewer_token_file: None,
            read: ReadAccess::Loopback,
            max_temporary: limits::MAX_TEMPORARY.default,
            top: limits::TOP.default,
        }
    }
}

/// Who reads without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadAccess {
    /// Clients whose address is loopback.
    Loopback,
    /// Nobody.
    Token,
    /// Everyone.
    Any,
}

/// A host name without scheme and port, folded to lower case.
pub(super) fn host(text: &str) -> Result<String, ValueError> {
    let labels = text.trim_end_matches('.').split('.').map(value::label);
    let labels: Vec<String> = labels.collect::<Result<_, _>>().map_err(|error| ValueError {
        help: Some("write a host name without scheme and port, such as `gate-1.corp.example`".to_owned()),
        ..error
    })?;
    Ok(labels.join("."))
}

pub(super) fn admin(mut section: Section<'_, '_>, base: &Path) -> AdminSettings {
    let default = AdminSettings::default();
    let admin = AdminSettings {
        listen: section.parsed_or("listen", value::admin_address, default.listen),
        hosts: section.set("hosts", host).map_or(default.hosts, plain),
        token_file: optional_path(&mut section, "token_file", base),
        viewer_token_file: optional_path(&mut section, "viewer_token_file", base),
        read: section.or("read", default.read),
        max_temporary: section.limited("max_temporary", limits::MAX_TEMPORARY),
        top: section.limited("top", limits::TOP),
    };
    section.finish();
    admin
}
