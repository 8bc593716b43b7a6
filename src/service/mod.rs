//! The running resolver: start, reload, shutdown, sandbox, watchdog, sockets and state directory.

mod audit_log;
pub(crate) mod cookie_secrets;
pub mod descriptors;
pub mod inherited;
pub mod notify;
pub mod own_allowlists;
pub mod grant_store;
pub mod reload;
pub mod request_store;
pub mod rule_use_store;
pub mod sandbox;
pub mod serve;
pub mod shutdown;
pub mod sockets;
pub mod start_checks;
pub mod state;
pub mod watch;
pub mod watchdog;
pub mod webhook;

/// Why namegate cannot start: all problems as text, with hints.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;
