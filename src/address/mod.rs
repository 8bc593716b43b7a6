//! Addresses as settings write them, and who asks: data.

pub mod client;
pub mod encrypted;
pub mod roots;
pub mod socket;
pub(crate) mod trust;
pub mod upstream;
