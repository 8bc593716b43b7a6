//! [`Port`]: one of the sockets that first attempts are made through.

use mio::Token;

/// One of the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Port(pub(super) usize);

impl From<Token> for Port {
    fn from(token: Token) -> Self {
        Self(token.0)
    }
}
