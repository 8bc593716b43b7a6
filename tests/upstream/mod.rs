//! Tests of upstreams: queries, replies, faults, encryption and limits.

mod budget;
mod dying;
mod edns_fallback;
mod encrypted;
mod encrypted_faults;
mod encrypted_trust;
mod entropy;
mod exchanges;
mod forged_icmp;
mod forwarding;
mod hostile_answers;
mod loops;
mod replies;
mod routes;
mod spoofing;
mod unbound;
