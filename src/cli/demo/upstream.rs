//! `namegate demo upstream`: the demonstration's names, for a gate that runs by itself.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::runtime::Builder;

use crate::cli::output::try_print;
use crate::local::{EmbeddedUpstream, demo_zones};
use crate::service::StartError;
use crate::service::shutdown::{Request, Signals};

/// Where it listens when nothing is said: a port that neither the gate nor a resolver of the machine uses.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5300);

/// Serves on every address of `listen` until SIGTERM or SIGINT.
pub(super) fn run(listen: &[SocketAddr]) -> Result<(), StartError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(if listen.is_empty() { &[LISTEN] } else { listen }))
}

async fn serve(listen: &[SocketAddr]) -> Result<(), StartError> {
    let mut signals = Signals::new()?;
    let mut servers = Vec::new();
    for address in listen {
        let server = EmbeddedUpstream::start(&demo_zones(), *address)
            .await
            .map_err(|error| format!("cannot serve on {address}: {error}"))?;
        try_print(&format!("serving the demonstration's names on {} (udp, tcp)", server.address()))?;
        servers.push(server);
    }
    while signals.next().await != Request::Stop {}
    for server in servers {
        server.shutdown().await?;
    }
    Ok(())
}
