//! Tests of the DNS protocol towards clients: messages, transports and attacks.

mod amplification;
mod answers;
mod cookies;
mod dig;
mod floods;
mod hostile_clients;
mod messages;
mod other_clients;
mod tcp;
mod tcp_connections;
mod tcp_limits;
mod udp;
