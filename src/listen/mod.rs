//! Sockets: bytes in, bytes out, no meaning.

pub mod datagram;
pub mod socket;
pub mod tcp;
pub mod udp;
