//! TODO net

pub mod batch;
pub mod reply_socket;
pub mod socket;
