//! [`AddressRace`]: how to get to a server: its addresses, in turn, until one proves to be it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::sleep;

use super::addresses::Addresses;
use super::connection::Connection;
use super::encryption::Encryption;
use super::shown;
use crate::address::encrypted::EncryptedAddress;
use crate::upstream::encrypted::failure_throttle::FailureThrottle;

/// Time between the beginnings of two attempts (RFC 8305 section 5: the Connection Attempt Delay, 250 ms).
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// See the module's head.
#[derive(Debug)]
pub(super) struct AddressRace {
    pub(super) address: EncryptedAddress,
    encryption: Arc<Encryption>,
    addresses: Addresses,
    pub(super) complaints: FailureThrottle,
}

impl AddressRace {
    /// The way to `address`.
    pub(super) fn new(address: EncryptedAddress, encryption: &Arc<Encryption>) -> Self {
        let (addresses, complaints) = (Addresses::default(), FailureThrottle::default());
        Self { address, encryption: Arc::clone(encryption), addresses, complaints }
    }

    /// A new connection: to the address that worked last, or to the first of the others that lets itself be reached. The next one is
    /// tried when one fails, or has not answered for a while.
    ///
    /// Errors: why the last one failed, for people.
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
                                self.complain(&format!("no connection to {}; {socket} is used", lost.join(", ")));
                            }
                            return Ok(connection);
                        }
                        Err(error) if !has_more && attempts.is_empty() => {
                            let name = self.address.server_name.to_str();
                            break format!("no connection to {socket} as `{name}`: {}", shown_whole(&error));
                        }
                        Err(error) => lost.push(format!("{socket} ({})", shown_whole(&error))),
                    }
                },
                () = sleep(NEXT_AFTER), if has_more => {}
            }
        };
        self.addresses.doubt();
        Err(why)
    }

    /// Logs what is wrong, once.
    pub(super) fn complain(&self, why: &str) {
        if self.complaints.is_new(why) {
            tracing::warn!("upstream {}: {why}", self.address);
        }
    }
}

/// Remedies are our own words, behind what somebody else may have chosen.
fn shown_whole(error: &str) -> String {
    match error.split_once("; ") {
        Some((error, remedy)) => format!("{}; {remedy}", shown(error)),
        None => shown(error),
    }
}
