//! [`PortId`]: one of the sockets that first attempts are made through.

use mio::Token;

/// One of the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PortId(pub(super) usize);

impl From<Token> for PortId {
    fn from(token: Token) -> Self {
        Self(token.0)
    }
}
