//! Settings: a TOML file in, [`Settings`] out, and every mistake in it reported with its place and a remedy.
//!
//! [`load()`] finds and reads the file. Reading goes section by section through a crate-internal `Section`, which keeps
//! the place of every value, so that all faults of a file are found in one go. Zone files are read the same way by
//! [`crate::allowlist`].

mod admin;
pub(crate) mod allowlist_name;
mod block;
mod cache;
mod client;
mod cookies;
pub(crate) mod embedded;
mod inline_rule;
pub mod limits;
mod load;
mod local;
mod log;
mod policy;
mod prove;
mod rate_limit;
mod route;
mod sandbox;
mod server;
mod settings;
mod tunnel_guard;
mod upstream;
pub(crate) mod value;
mod values;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use value::{is_parameter_name, needs_bootstrap, word};

pub use admin::Admin;
pub use block::{Block, BlockAnswer};
pub use cache::Cache;
pub use client::ClientGroup;
pub use cookies::Cookies;
pub use inline_rule::InlineRule;
pub use load::{DEFAULT_PATH, Loaded, Overrides, load};
pub use local::Local;
pub use log::{ClientAddress, Dnstap, Log, LogFormat, LogLevel, LogQueries};
pub use policy::Policy;
pub use prove::Prove;
pub use rate_limit::RateLimit;
pub use route::{Route, patterns};
pub use sandbox::Sandbox;
pub use server::{OtherClients, Server};
pub use settings::{Settings, settings};
pub use tunnel_guard::{GuardMode, TunnelGuard};
pub use upstream::Upstream;
pub use value::{admin_address, listen_address};
