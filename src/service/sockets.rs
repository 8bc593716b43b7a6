//! [`Sockets`]: everything that is listened on, opened before the process gives up what that takes.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use super::inherited::Inherited;
use crate::config::Settings;
use crate::net::socket::{AwaitedListener, Endpoint, bind_tcp};
use crate::service::StartError;

/// Everything that is listened on.
#[derive(Debug)]
pub struct Sockets {
    /// Where queries are taken.
    pub endpoints: Vec<Endpoint>,
    /// Where HTTP is served.
    pub admin: Option<AdminListener>,
}

/// Where HTTP is served. Two processes never share it: each would have a part of the scrapes.
#[derive(Debug)]
pub enum AdminListener {
    /// From the start.
    Open(TcpListener),
    /// Once the process that this one takes over from has ended.
    Awaited(AwaitedListener),
}

impl Sockets {
    /// Takes what was inherited, and binds the rest as `settings` say.
    ///
    /// Errors: an address cannot be had; with remedy.
    pub fn open(settings: &Settings, inherited: Inherited) -> Result<Self, StartError> {
        let workers = match settings.server.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let (mut endpoints, admin) = inherited.into_endpoints(workers)?;
        if endpoints.is_empty() {
            let bind = |address: &SocketAddr| Endpoint::bind(*address, workers, settings.server.reuse_port);
            endpoints = settings.server.listen.iter().map(bind).collect::<Result<_, _>>()?;
        }
        let admin = match (admin, settings.admin.listen) {
            (Some(listener), _) => Some(AdminListener::Open(listener)),
            (None, Some(address)) => Some(bind_admin(address, settings.server.reuse_port)?),
            (None, None) => None,
        };
        Ok(Self { endpoints, admin })
    }

    /// The listener that has to wait for its address.
    pub fn awaited(&self) -> Option<&AwaitedListener> {
        match &self.admin {
            Some(AdminListener::Awaited(listener)) => Some(listener),
            _ => None,
        }
    }
}

/// Listens for HTTP at `address`; where another process does, which this one `may_wait` for, later.
fn bind_admin(address: SocketAddr, may_wait: bool) -> Result<AdminListener, StartError> {
    let listener = match bind_tcp(address, false) {
        Err(error) if may_wait && error.kind() == ErrorKind::AddrInUse => {
            AwaitedListener::new(address).map(AdminListener::Awaited)
        }
        bound => bound.map(AdminListener::Open),
    };
    listener.map_err(|error| {
        format!("cannot listen on {address} for HTTP: {error}\n  help: set `listen` in [admin], or `--admin`")
            .into()
    })
}
