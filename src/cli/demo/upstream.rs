//! `namegate demo upstream`: the names of the demonstration, for a resolver that runs by itself.

use std::net::SocketAddr;

use clap::Args;
use tokio::runtime::Builder;

use crate::cli::output::try_print;
use crate::config::listen_address;
use crate::local::{EmbeddedUpstream, demo_zones};
use crate::service::StartError;
use crate::service::shutdown::{Request, Signals};

/// Where the upstream listens.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Loopback address to listen on; repeatable
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address, env = "NAMEGATE_LISTEN", value_delimiter = ',', default_value = "127.0.0.1:5300", hide_env_values = true)]
    listen: Vec<SocketAddr>,
}

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(arguments: &Arguments) -> Result<(), StartError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&arguments.listen))
}

async fn serve(listen: &[SocketAddr]) -> Result<(), StartError> {
    let mut signals = Signals::new()?;
    let mut servers = Vec::new();
    for address in listen {
        let server = EmbeddedUpstream::start(&demo_zones(), *address)
            .await
            .map_err(|error| format!("cannot serve on {address}: {error}"))?;
        try_print(&format!("serving the names of the demonstration on {} (udp, tcp)", server.address()))?;
        servers.push(server);
    }
    while signals.next().await != Request::Stop {}
    for server in servers {
        server.shutdown().await?;
    }
    Ok(())
}
