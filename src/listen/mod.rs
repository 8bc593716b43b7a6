//! Sockets: bytes in, bytes out, no meaning.

pub mod batch;
pub mod connections;
pub mod delivery;
pub mod descriptors;
pub mod inherited;
pub mod reply_socket;
pub mod socket;
pub mod sockets;
pub mod tcp;
pub mod udp;
