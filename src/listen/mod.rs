//! Listeners: receive queries over UDP and TCP, and send replies.

pub mod connections;
pub mod delivery;
pub mod fetch;
pub mod tcp;
pub mod udp;
