//! `EncryptedServer`: upstream exchanges over TLS, HTTPS and QUIC.
//!
//! A server has few connections, each shared by many queries. A connection opens when it is needed and reopens after it
//! has ended. Queries are only ever sent over a connection whose peer has proved its identity.

mod address_race;
pub(crate) mod addresses;
mod connection;
pub mod encryption;
mod failure_throttle;
mod https;
mod pool;
mod reply;
mod rest;
mod slot;
mod tls;

use std::io;
use std::sync::Arc;

use tokio::time::Instant;

use super::accept::{self, SentQuery};
use super::{ExchangeError, UpstreamQuery};
use crate::address::encrypted::{EncryptedAddress, EncryptedProtocol};
use crate::upstream::encrypted::address_race::AddressRace;
use crate::upstream::server_stats::ServerStats;
use crate::wire::answer::Answer;
use crate::wire::header::Header;
use crate::wire::request;
use crate::wire::section::age_ttls;
use encryption::Encryption;
use pool::Pool;
use reply::{Loss, Reply};
use rest::Rest;

/// Connections tried per query. A lost connection is not an answer: most end because they were idle, or because the
/// server answers one query per connection.
const MAX_TRIES: usize = 3;

/// Maximum characters of a failure in the log, including its hint. A server may send a whole page as its error.
const MAX_SHOWN: usize = 500;

/// One server and its connections.
#[derive(Debug)]
pub(super) struct EncryptedServer {
    route: Arc<AddressRace>,
    pool: Pool,
    rest: Rest,
}

impl EncryptedServer {
    /// The server at `address`. It connects at the first query.
    pub(super) fn new(address: EncryptedAddress, encryption: &Arc<Encryption>) -> Self {
        Self {
            route: Arc::new(AddressRace::new(address, encryption)),
            pool: Pool::new(),
            rest: Rest::default(),
        }
    }

    /// Makes one exchange. Dropping the future ends the wait.
    pub(super) async fn exchange(
        &self,
        prompt: &UpstreamQuery,
        edns: bool,
        stats: &ServerStats,
    ) -> Result<Answer, ExchangeError> {
        match self.ask(prompt, edns).await {
            Ok(Reply { mut bytes, age }) => {
                self.route.complaints.clear();
                self.rest.end();
                // RFC 8484 section 5.1: "the DoH client MUST account for the Age ... of a response when calculating the
                // DNS TTL".
                age_ttls(&mut bytes, age);
                let sent = SentQuery { id: self.id_of(&bytes), question: &prompt.question, case: None, edns };
                accept::whole(&bytes, sent, stats)
            }
            Err(Failure::Unusable(why)) => {
                self.route.complain(&why);
                Err(ExchangeError::Unusable)
            }
            Err(Failure::Unwilling(why)) => {
                self.route.complain(&why);
                Err(ExchangeError::Unwilling(why))
            }
            Err(Failure::Network(why)) => {
                self.route.complain(&why);
                Err(ExchangeError::Network(io::Error::other(why)))
            }
        }
    }

    async fn ask(&self, prompt: &UpstreamQuery, edns: bool) -> Result<Reply, Failure> {
        if let Some(why) = self.rest.reason() {
            return Err(Failure::Unwilling(why));
        }
        let mut query = Vec::with_capacity(request::PADDED);
        // RFC 8484 section 4.1 and RFC 9250 section 4.2.1 ask for id 0; over TLS, `TlsLink` replaces it
        // with an unused id.
        match edns {
            true => request::write_padded(&mut query, 0, &prompt.question, prompt.flags),
            false => request::write_without_edns(&mut query, 0, &prompt.question, prompt.flags),
        }
        let (mut ended, mut lost_stream) = (String::new(), false);
        for lost in 0..MAX_TRIES {
            // The last try uses a connection that no other query shares: another query cannot make the server close it,
            // and if this query does, no other query is lost.
            let chosen =
                if lost + 1 < MAX_TRIES { self.pool.choose().await } else { self.pool.whole().await };
            let (slot, _leave) = chosen.map_err(Failure::Network)?;
            let route = Arc::clone(&self.route);
            let connection = slot.connection(|| async move { route.connect().await });
            let connection = connection.await.map_err(|why| Failure::Network(why.to_string()))?;
            let asked = Instant::now();
            let on_silence = || {
                slot.set_aside(&connection);
                self.pool.note_silence(asked);
            };
            match connection.ask(&query, on_silence).await {
                Ok((reply, turn)) => {
                    slot.works();
                    self.pool.note(turn);
                    return Ok(reply);
                }
                Err(Loss::Unusable(why)) => return Err(Failure::Unusable(shown(&why))),
                Err(Loss::Unwilling { why, again_after }) => {
                    self.rest.begin(&why, again_after);
                    return Err(Failure::Unwilling(shown(&why)));
                }
                Err(Loss::Stream(why)) if lost_stream => return Err(Failure::Unusable(shown(&why))),
                // A failed stream is retried once; the connection stays open.
                Err(Loss::Stream(why)) => {
                    lost_stream = true;
                    ended = shown(&why);
                }
                Err(Loss::Ended(why)) => {
                    lost_stream = false;
                    ended = shown(&why);
                    slot.ended(&connection, &ended);
                    self.pool.note_end(connection.replies(), connection.last_heard().elapsed());
                }
            }
        }
        Err(Failure::Network(ended))
    }

    /// The id that the reply must have.
    fn id_of(&self, reply: &[u8]) -> u16 {
        match self.route.address.protocol {
            // `TlsLink` has already matched the id.
            EncryptedProtocol::Tls => Header::parse(reply).map_or(0, |header| header.id),
            EncryptedProtocol::Https | EncryptedProtocol::Quic => 0,
        }
    }
}

/// Why there is no reply.
enum Failure {
    /// The reply is invalid.
    Unusable(String),
    /// The server answers with an error status.
    Unwilling(String),
    /// The connection failed or ended.
    Network(String),
}

/// Makes a text safe for the log: a server may have chosen it.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
