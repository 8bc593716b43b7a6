//! Small helpers for all modules; they know nothing of DNS.

pub(crate) mod allocator;
pub mod duration;
pub(crate) mod escape;
pub mod heartbeat;
pub mod label;
pub mod log_event;
pub(crate) mod own_file;
pub(crate) mod rfc3339;
pub mod secret_file;
pub(crate) mod sync;
pub(crate) mod url;
