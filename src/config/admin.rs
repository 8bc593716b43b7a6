//! Settings of `[admin]`: the HTTP side.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::config::{limits, write};

/// The HTTP side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Admin {
    /// Where HTTP is listened on; none: nowhere.
    #[serde(serialize_with = "write::optional_address")]
    pub listen: Option<SocketAddr>,
    /// A file with the token that requests which change state must bring; none: such requests are refused.
    #[serde(serialize_with = "write::optional_path")]
    pub token_file: Option<PathBuf>,
    /// [`limits::MAX_TEMPORARY`], whole seconds: longest that a name may be allowed for a while.
    #[serde(serialize_with = "write::quantity")]
    pub max_temporary: Duration,
    /// [`limits::TOP`]
    pub top: usize,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, limits::ADMIN_PORT))),
            token_file: None,
            max_temporary: limits::MAX_TEMPORARY.default,
            top: limits::TOP.default,
        }
    }
}
