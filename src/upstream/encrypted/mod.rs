//! `EncryptedServer`: asking over TLS, HTTPS and QUIC.
//!
//! A server has few connections, each shared by many queries, opened when they are needed and opened again when they have
//! ended. Whatever goes wrong, nothing is ever sent but through a connection whose other end has proved who it is.

pub mod address;
pub mod encryption;
pub mod roots;
mod addresses;
mod complaints;
mod connection;
mod slot;

use std::io;
use std::sync::Arc;

use tokio::sync::SemaphorePermit;

use super::accept::{self, Sent};
use super::server::ServerStats;
use super::{ExchangeError, Prompt};
use crate::wire::answer::Answer;
use crate::wire::header::Header;
use crate::wire::request;
use address::{EncryptedAddress, Protocol};
use addresses::Addresses;
use complaints::Complaints;
use connection::{Connection, Loss};
use encryption::Encryption;
use slot::Slot;

/// Connections to one server: the second one is opened only when the first has all it may carry.
const MAX_CONNECTIONS: usize = 2;

/// Connections that a query is sent through: one that ends is no answer, and most end because nothing was asked for a while.
const MAX_TRIES: usize = 2;

/// Longest text of a failure that is shown: servers may send pages.
const MAX_SHOWN: usize = 200;

/// One server and the connections to it.
#[derive(Debug)]
pub(super) struct EncryptedServer {
    route: Arc<Route>,
    slots: [Arc<Slot>; MAX_CONNECTIONS],
    complaints: Complaints,
}

/// How to get to a server.
#[derive(Debug)]
struct Route {
    address: EncryptedAddress,
    encryption: Arc<Encryption>,
    addresses: Addresses,
}

impl EncryptedServer {
    /// The server at `address`; it is not connected to before it is asked.
    pub(super) fn new(address: EncryptedAddress, encryption: &Arc<Encryption>) -> Self {
        Self {
            route: Arc::new(Route {
                address,
                encryption: Arc::clone(encryption),
                addresses: Addresses::default(),
            }),
            slots: std::array::from_fn(|_| Arc::new(Slot::new())),
            complaints: Complaints::default(),
        }
    }

    /// Asks, through an open connection where there is one.
    pub(super) async fn exchange(
        &self,
        prompt: &Prompt,
        edns: bool,
        stats: &ServerStats,
    ) -> Result<Answer, ExchangeError> {
        match self.ask(prompt, edns).await {
            Ok(reply) => {
                self.complaints.clear();
                let sent = Sent { id: self.id_of(&reply), question: &prompt.question, case: None, edns };
                accept::whole(&reply, sent, stats)
            }
            Err(Failure::Unusable(why)) => {
                self.complain(&why);
                Err(ExchangeError::Unusable)
            }
            Err(Failure::Network(why)) => {
                self.complain(&why);
                Err(ExchangeError::Network(io::Error::other(why)))
            }
        }
    }

    async fn ask(&self, prompt: &Prompt, edns: bool) -> Result<Vec<u8>, Failure> {
        let mut query = Vec::with_capacity(request::PADDED);
        // RFC 8484 section 4.1 and RFC 9250 section 4.2.1 ask for id 0; over TLS the library chooses one.
        match edns {
            true => request::write_padded(&mut query, 0, &prompt.question, prompt.flags),
            false => request::write_without_edns(&mut query, 0, &prompt.question, prompt.flags),
        }
        let (slot, _permit) = self.slot().await?;
        let mut ended = String::new();
        for _ in 0..MAX_TRIES {
            let route = Arc::clone(&self.route);
            let connection = slot.connection(|| async move { route.connect().await });
            let connection = connection.await.map_err(|why| Failure::Network(why.to_string()))?;
            match connection.ask(&query, || slot.set_aside(&connection)).await {
                Ok(reply) => {
                    slot.works();
                    return Ok(reply);
                }
                Err(Loss::Unusable(why)) => return Err(Failure::Unusable(shown(&why))),
                Err(Loss::Ended(why)) => {
                    ended = shown(&why);
                    slot.ended(&connection, &ended);
                }
            }
        }
        Err(Failure::Network(ended))
    }

    /// A slot, and leave to ask through it: the first that has room, else one that gets room.
    async fn slot(&self) -> Result<(&Arc<Slot>, SemaphorePermit<'_>), Failure> {
        for slot in &self.slots {
            if let Ok(permit) = slot.permits.try_acquire() {
                return Ok((slot, permit));
            }
        }
        let slot = &self.slots[rand::random_range(..self.slots.len())];
        let permit = slot.permits.acquire().await.map_err(|closed| Failure::Network(closed.to_string()))?;
        Ok((slot, permit))
    }

    /// The id that a reply must have. Over TLS the library has seen to that.
    fn id_of(&self, reply: &[u8]) -> u16 {
        match self.route.address.protocol {
            Protocol::Tls => Header::parse(reply).map_or(0, |header| header.id),
            Protocol::Https | Protocol::Quic => 0,
        }
    }

    fn complain(&self, why: &str) {
        if self.complaints.is_new(why) {
            tracing::warn!("upstream {}: {why}", self.route.address);
        }
    }
}

impl Route {
    async fn connect(&self) -> Result<Connection, String> {
        let mut why = String::new();
        for socket in self.addresses.of(&self.address.host, &self.encryption.bootstrap).await? {
            match Connection::open(&self.address, socket, &self.encryption.tls).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    let name = self.address.server_name.to_str();
                    why = format!("no connection to {socket} as `{name}`: {}", shown(&error));
                }
            }
        }
        self.addresses.doubt();
        if why.contains("certificate") {
            why.push_str("; whose certificates are accepted is set by `roots` in [upstream]");
        }
        Err(why)
    }
}

/// Why a server gave no reply, for people.
enum Failure {
    Unusable(String),
    Network(String),
}

/// A library's or a server's words, made safe to show.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
