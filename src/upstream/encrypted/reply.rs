//! The result of a query over a connection.

use std::time::Duration;

/// A reply as received.
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    /// Seconds the reply spent in HTTP caches (RFC 8484 section 5.1).
    pub(super) age: u32,
}

/// Why a query over a connection brought no reply.
#[derive(Debug)]
pub(super) enum Loss {
    /// The reply is invalid.
    Unusable(String),
    /// The server answers with an error status and may say when to retry.
    Unwilling { why: String, again_after: Option<Duration> },
    /// This query's stream has ended; the connection has not.
    Stream(String),
    /// The connection has ended.
    Ended(String),
}

/// What the order of a reply shows about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyOrder {
    /// It arrived after the reply to a later query: the server processes several concurrently.
    Overtaken,
    /// It arrived in query order.
    InTurn,
}
