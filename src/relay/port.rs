//! [`PortId`]: identifies a socket for first attempts.

use mio::Token;

/// Identifies one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PortId(pub(super) usize);

impl From<Token> for PortId {
    fn from(token: Token) -> Self {
        Self(token.0)
    }
}
