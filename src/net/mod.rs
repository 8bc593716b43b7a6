//! Sockets: datagrams in batches, what is listened on, and where a packet would go. The unsafe code is in `batch`.

pub mod batch;
pub mod reply_socket;
pub mod socket;
