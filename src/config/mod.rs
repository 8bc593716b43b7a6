//! Settings: a TOML file in, [`Settings`] out. Every error in it is reported with its location and a hint.
//!
//! [`load()`] finds and reads the file. It reads each section through a crate-internal `Section`, which remembers the
//! location of every value, so that all errors of a file are reported at once. [`crate::allowlist`] reads allowlists
//! the same way.

mod admin;
pub(crate) mod allowlist_name;
mod block;
mod cache;
mod client;
mod cookies;
pub(crate) mod embedded;
mod history;
mod inline_rule;
pub mod limits;
mod load;
mod local;
mod log;
mod policy;
mod prove;
mod rate_limit;
mod requests;
mod route;
mod sandbox;
mod serializers;
mod server;
mod settings;
mod tunnel_guard;
mod upstream;
mod value;
mod value_sources;
mod values;
mod webhook;

#[cfg(test)]
mod tests;

pub(crate) use value::{is_parameter_name, label, needs_bootstrap, word};

pub use admin::{AdminSettings, ReadAccess};
pub use block::{BlockAnswer, BlockSettings};
pub use cache::CacheSettings;
pub use client::ClientGroup;
pub use cookies::CookieSettings;
pub use history::HistorySettings;
pub use inline_rule::InlineRule;
pub use load::{DEFAULT_PATH, Loaded, Overrides, inputs, load};
pub use local::LocalZoneSettings;
pub use log::{ClientAddress, DnstapSettings, LogFormat, LogLevel, LogQueries, LogSettings};
pub use policy::PolicySettings;
pub use prove::ProveSettings;
pub use rate_limit::RateLimitSettings;
pub use requests::RequestSettings;
pub use route::{RouteSettings, patterns};
pub use sandbox::SandboxSettings;
pub use server::{OtherClients, ServerSettings};
pub use settings::{Settings, settings};
pub use tunnel_guard::{GuardMode, TunnelGuardSettings};
pub use upstream::UpstreamSettings;
pub use value::{admin_address, listen_address};
pub use value_sources::{ValueSource, ValueSources, with_sources};
pub use webhook::{WebhookEvent, WebhookSettings};
