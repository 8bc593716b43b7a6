//! Sockets: bytes in, bytes out, no meaning.

pub mod connections;
pub mod delivery;
pub mod fetch;
pub mod tcp;
pub mod udp;
