//! [`AddressRace`]: connects to a server by trying its addresses in turn until one proves its identity.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::sleep;

use super::addresses::Addresses;
use super::connection::Connection;
use super::encryption::Encryption;
use crate::address::encrypted::EncryptedAddress;
use crate::upstream::encrypted::failure_throttle::FailureThrottle;
use crate::util::log_event::log;

/// Delay between the starts of two attempts (RFC 8305 section 5: the Connection Attempt Delay, 250 ms).
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Connects to one server; see the module documentation.
#[derive(Debug)]
pub(super) struct AddressRace {
    pub(super) address: EncryptedAddress,
    encryption: Arc<Encryption>,
    addresses: Addresses,
    pub(super) complaints: FailureThrottle,
}

impl AddressRace {
    /// A race for the server at `address`.
    pub(super) fn new(address: EncryptedAddress, encryption: &Arc<Encryption>) -> Self {
        let (addresses, complaints) = (Addresses::default(), FailureThrottle::default());
        Self { address, encryption: Arc::clone(encryption), addresses, complaints }
    }

    /// Opens a connection to the address that worked last, or to the first other one that is reachable. The next
    /// address is tried when an attempt fails, or takes longer than [`NEXT_AFTER`].
    ///
    /// Errors: the reason of the last failure, as text.
    pub(super) async fn connect(&self) -> Result<Connection, String> {
        let sockets = self.addresses.of(&self.address.host, &self.encryption.bootstrap).await?;
        let mut untried = sockets.into_iter();
        let (mut attempts, mut slow, mut lost) = (FuturesUnordered::new(), Vec::new(), Vec::new());
        let why = loop {
            if let Some(socket) = untried.next() {
                attempts.push(async move {
                    (socket, Connection::open(&self.address, socket, &self.encryption.tls).await)
                });
                slow.push(socket);
            }
            let has_more = untried.len() > 0;
            tokio::select! {
                Some((socket, outcome)) = attempts.next() => {
                    slow.retain(|slow| *slow != socket);
                    match outcome {
                        Ok(connection) => {
                            self.addresses.works(socket);
                            lost.extend(slow.iter().map(|slow| format!("{slow} (no reply within {NEXT_AFTER:?})")));
                            if !lost.is_empty() {
                                self.complain(&format!("no connection to {}; using {socket}", lost.join(", ")));
                            }
                            return Ok(connection);
                        }
                        Err(error) if !has_more && attempts.is_empty() => {
                            let name = self.address.server_name.to_str();
                            break format!("no connection to {socket} as `{name}`: {}", error);
                        }
                        Err(error) => lost.push(format!("{socket} ({})", error)),
                    }
                },
                () = sleep(NEXT_AFTER), if has_more => {}
            }
        };
        self.addresses.doubt();
        Err(why)
    }

    /// Logs a failure once.
    pub(super) fn complain(&self, why: &str) {
        if self.complaints.is_new(why) {
            log!(UpstreamNoConnection, "upstream {}: {why}", self.address);
        }
    }
}
