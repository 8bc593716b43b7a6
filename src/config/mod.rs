//! Settings: a TOML file in, [`Settings`] out, and every mistake in it reported with its place and a remedy.
//!
//! [`load()`] finds and reads the file. Reading goes section by section through a crate-internal `Section`, which keeps
//! the place of every value, so that all faults of a file are found in one go. Zone files are read the same way by
//! [`crate::zones`].

mod admin;
mod cache;
mod client;
mod cookies;
mod diagnostic;
mod faults;
pub mod limit;
pub mod limits;
mod load;
mod log;
mod prove;
mod rate_limit;
mod read;
mod report;
mod route;
mod sandbox;
mod section;
mod settings;
mod source;
mod spelling;
mod tunnel_guard;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use faults::Faults;
pub(crate) use section::Section;
pub(crate) use spelling::suggest;
pub(crate) use value::{is_parameter_name, is_zone_name, needs_bootstrap, word};

pub use admin::Admin;
pub use cache::Cache;
pub use client::ClientGroup;
pub use cookies::Cookies;
pub use diagnostic::{Diagnostic, Severity};
pub use load::{DEFAULT_PATH, Loaded, Overrides, load};
pub use log::{ClientAddress, Dnstap, Log, LogFormat, LogLevel, LogQueries};
pub use prove::Prove;
pub use rate_limit::RateLimit;
pub use read::settings;
pub use report::{MAX_DRAWN, Report};
pub use route::{Route, patterns};
pub use sandbox::Sandbox;
pub use settings::{
    Block, BlockAnswer, InlineRule, Local, Mode, OtherClients, Policy, Server, Settings, Upstream,
};
pub use source::Source;
pub use tunnel_guard::{GuardMode, TunnelGuard};
pub use value::{ValueError, admin_address, listen_address};
