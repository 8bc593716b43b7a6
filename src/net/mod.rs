//! Sockets: batched datagrams, listen addresses and own addresses. The unsafe code is in `batch`.

pub mod batch;
pub mod port_holder;
pub mod reply_socket;
pub mod socket;
