//! `namegate healthcheck`: for containers, where nothing else can ask /readyz.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::{FAILED, print, warn};
use crate::assemble::Sources;
use crate::config;

/// Time to connect, and again to be answered: container runtimes give up after some seconds themselves.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the admin listener that the settings name.
pub(super) fn run(sources: &Sources) -> u8 {
    let loaded = match config::load(sources.config.as_deref(), &sources.overrides) {
        Ok(loaded) => loaded,
        Err(report) => {
            warn(&report.render(false));
            return FAILED;
        }
    };
    let Some(address) = loaded.settings.admin.listen else {
        warn("error: the admin listener is off; set `listen` in [admin]");
        return FAILED;
    };
    match ask(reachable(address)) {
        Ok(reply) if reply.starts_with("HTTP/1.1 200 ") => print("ready"),
        Ok(reply) => {
            warn(reply.rsplit("\r\n\r\n").next().unwrap_or_default().trim_end());
            FAILED
        }
        Err(error) => {
            warn(&format!("no answer from http://{address}/readyz: {error}"));
            FAILED
        }
    }
}

/// A wildcard address is reached through loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut reply = String::new();
    // A page of a few lines; whatever else answers there is not the gate.
    stream.take(64 * 1024).read_to_string(&mut reply)?;
    Ok(reply)
}
