//! Sockets: bytes in, bytes out, no meaning.

pub mod batch;
pub mod connections;
pub mod delivery;
pub mod socket;
pub mod tcp;
pub mod udp;
