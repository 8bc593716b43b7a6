//! Sockets: bytes in, bytes out, no meaning.

pub mod connections;
pub mod delivery;
pub mod tcp;
pub mod udp;
pub mod fetch;
