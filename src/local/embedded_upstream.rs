//! [`EmbeddedUpstream`]: a small authoritative server on loopback that stands in for an upstream.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::zone_handler::Catalog;
use tokio::net::{TcpListener, UdpSocket};

use super::local_zones::LocalZones;

/// Idle time after which a TCP connection is closed.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Responses that may be queued on one TCP connection.
const TCP_RESPONSES: usize = 32;
/// Attempts to find a port free for both UDP and TCP, if the caller passes port 0.
const BIND_ATTEMPTS: usize = 8;

/// The names that `namegate demo` resolves: pairs of origin and master file.
///
/// One zone at the root: hickory's catalog follows a CNAME only within a zone, but a resolver returns the whole chain.
pub fn demo_zones() -> [(&'static str, &'static str); 1] {
    [(".", include_str!("demo/root.zone"))]
}

/// A UDP and TCP server on one loopback port. Dropping it stops it.
pub struct EmbeddedUpstream {
    server: Server<Catalog>,
    address: SocketAddr,
}

impl EmbeddedUpstream {
    /// Serves `zones` (origin and master file) on `listen`; port 0 picks a free port.
    ///
    /// Errors: `InvalidInput` if the address is not loopback, `InvalidData` if a zone is invalid, otherwise the error
    /// from binding.
    pub async fn start(zones: &[(&str, &str)], listen: SocketAddr) -> Result<Self> {
        if !listen.ip().is_loopback() {
            return Err(Error::new(ErrorKind::InvalidInput, format!("{listen} is not a loopback address")));
        }
        let zones =
            LocalZones::from_texts(zones).map_err(|report| Error::new(ErrorKind::InvalidData, report))?;
        let (udp, tcp) = bind(listen).await?;
        let address = udp.local_addr()?;
        let mut server = Server::new(zones.into_catalog());
        server.register_socket(udp);
        server.register_listener(tcp, TCP_IDLE, TCP_RESPONSES);
        Ok(Self { server, address })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the server and waits until its sockets are closed.
    pub async fn shutdown(mut self) -> Result<()> {
        self.server.shutdown_gracefully().await.map_err(Error::other)
    }
}

async fn bind(listen: SocketAddr) -> Result<(UdpSocket, TcpListener)> {
    let mut attempt = 1;
    loop {
        let tcp = TcpListener::bind(listen).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if listen.port() != 0 || attempt == BIND_ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::{Name, RecordType};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn query(name: &str, record_type: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
        message.to_vec().unwrap()
    }

    #[tokio::test]
    async fn serves_udp_and_tcp() {
        let upstream = EmbeddedUpstream::start(&demo_zones(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(upstream.address()).await.unwrap();
        let workspace = "4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.workspace.eastus.api.azureml.ms.";
        let mut buffer = [0; 4096];
        for (name, record_type, records) in [
            (workspace, RecordType::A, 2),
            ("score.eastus.inference.ml.azure.com.", RecordType::A, 2),
            ("login.microsoftonline.com.", RecordType::A, 4),
            ("demostorage.blob.core.windows.net.", RecordType::A, 2),
            ("pypi.org.", RecordType::AAAA, 1),
            ("files.pythonhosted.org.", RecordType::A, 2),
            ("no.such.name.", RecordType::A, 0),
        ] {
            socket.send(&query(name, record_type)).await.unwrap();
            let length = socket.recv(&mut buffer).await.unwrap();
            let response = Message::from_vec(&buffer[..length]).unwrap();
            assert_eq!(response.answers.len(), records, "{name}");
            let soa =
                response.authorities.iter().filter(|record| record.record_type() == RecordType::SOA).count();
            assert_eq!(soa, usize::from(records == 0), "{name}");
        }
        let mut stream = TcpStream::connect(upstream.address()).await.unwrap();
        let request = query("pypi.org.", RecordType::A);
        stream.write_all(&(request.len() as u16).to_be_bytes()).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        stream.read_exact(&mut buffer[..usize::from(length)]).await.unwrap();
        assert_eq!(Message::from_vec(&buffer[..usize::from(length)]).unwrap().answers.len(), 2);
        let address = upstream.address();
        upstream.shutdown().await.unwrap();
        // Both ports are free again.
        let again = EmbeddedUpstream::start(&demo_zones(), address).await.unwrap();
        drop(again);
    }

    #[tokio::test]
    async fn stays_on_loopback() {
        let kind = |error: Error| error.kind();
        let everywhere = EmbeddedUpstream::start(&demo_zones(), "0.0.0.0:0".parse().unwrap()).await;
        assert_eq!(everywhere.err().map(kind), Some(ErrorKind::InvalidInput));
        let broken = EmbeddedUpstream::start(&[("x", "x A 1")], "127.0.0.1:0".parse().unwrap()).await;
        assert_eq!(broken.err().map(kind), Some(ErrorKind::InvalidData));
    }
}
