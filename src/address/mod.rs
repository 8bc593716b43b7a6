//! TODO address

pub mod upstream;
pub mod encrypted;
pub mod roots;
pub(crate) mod trust;
