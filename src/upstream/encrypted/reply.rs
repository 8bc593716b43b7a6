//! What a query through a connection brings.

use std::time::Duration;

/// A reply as it came.
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    /// Seconds that it was kept on its way here (RFC 8484 section 5.1).
    pub(super) age: u32,
}

/// Why a query through a connection brought no reply.
#[derive(Debug)]
pub(super) enum Loss {
    /// There was one, and it is none: what cannot be read.
    Unusable(String),
    /// The server answers and does not want to, and says perhaps when to ask it again.
    Unwilling { why: String, again_after: Option<Duration> },
    /// The stream of this query has ended; the connection has not.
    Stream(String),
    /// The connection has ended.
    Ended(String),
}

/// What a reply tells of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyOrder {
    /// It came after that to a later query: the server works on several at once.
    Overtaken,
    /// It came in the order of the queries.
    InTurn,
}
