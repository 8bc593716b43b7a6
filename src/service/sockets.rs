//! [`Sockets`]: all listening sockets, opened before the process drops its privileges.

use std::net::{SocketAddr, TcpListener};

use super::inherited::Inherited;
use crate::config::Settings;
use crate::net::socket::{self, AwaitedListener, BindError, Endpoint, Purpose};
use crate::service::StartError;

/// Everything that is listened on.
#[derive(Debug)]
pub struct Sockets {
    /// The sockets for queries.
    pub endpoints: Vec<Endpoint>,
    /// Where HTTP is served.
    pub admin: Option<AdminListener>,
}

/// The HTTP listener. Two processes never share it: each would get only part of the scrapes.
#[derive(Debug)]
pub enum AdminListener {
    /// Open from the start.
    Open(TcpListener),
    /// Opens when the process that this one replaces has ended.
    Awaited(AwaitedListener),
}

impl Sockets {
    /// Takes the inherited sockets, and binds the others as `settings` say.
    ///
    /// Errors: an address cannot be bound; with a hint.
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

    /// The admin listener if it must wait for its address.
    pub fn awaited(&self) -> Option<&AwaitedListener> {
        match &self.admin {
            Some(AdminListener::Awaited(listener)) => Some(listener),
            _ => None,
        }
    }
}

/// Listens for HTTP on `address`. If another process uses it and `may_wait` is set, waits for the address later.
fn bind_admin(address: SocketAddr, may_wait: bool) -> Result<AdminListener, StartError> {
    match socket::bind_admin(address) {
        Err(error) if may_wait && error.is_in_use() => {
            Ok(AwaitedListener::new(address).map(AdminListener::Awaited)?)
        }
        bound => Ok(bound.map(AdminListener::Open)?),
    }
}

/// Why the addresses in `settings` cannot be bound, one error for each; opens nothing for longer than the test takes.
pub fn test(settings: &Settings) -> Vec<BindError> {
    let queries = settings.server.listen.iter().map(|address| (*address, &[Purpose::Tcp, Purpose::Udp][..]));
    let admin = settings.admin.listen.map(|address| (address, &[Purpose::Http][..]));
    let test = |(address, purposes): (_, &[Purpose])| {
        purposes.iter().find_map(|purpose| socket::test_bind(address, *purpose).err())
    };
    queries.chain(admin).filter_map(test).collect()
}
