//! Addresses as written in settings, and the address of a client. Data only.

pub mod client;
pub mod encrypted;
pub mod http_url;
pub mod roots;
pub mod socket;
pub(crate) mod trust;
pub mod upstream;
