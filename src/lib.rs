//! namegate: a DNS resolver for networks that must not resolve everything.
//!
//! Names on an allowlist are forwarded to an upstream resolver and answered whole; every other name is NXDOMAIN. The
//! modules follow one query:
//!
//! ```text
//!   listen     udp, tcp: bytes in, bytes out
//!     ↓ bytes
//!   wire       bytes ↔ typed facts, in place
//!     ↓ Query
//!   policy     may the name leave? Allowed(AllowedQuery) | Blocked(reason) | Local | Refused
//!     ↓ AllowedQuery: only policy makes one, and only it opens the next two doors
//!   cache      answers kept as bytes
//!     ↓ miss (fetch)
//!   upstream   asked for the whole answer        local   zones answered here
//!     ↓ Answer
//!   gate       the whole journey as one function: request bytes → reply | miss | silence
//!     ↓
//!   telemetry  counters, metrics, logs, and what happened lately
//! ```
//!
//! Around it: [`config`] and [`zones`] are read and compiled by [`assemble`] and made the [`state`] that queries are judged by, [`serve`] runs it all, [`reload`] swaps
//! the policy under traffic as [`orders`] say, [`registry`] keeps what is allowed for a time, [`explain`] judges a name without
//! asking anyone, [`advise`] judges the rules and [`learn`] proposes new ones, both by what [`hazard`] knows of dangerous names,
//! [`effective`] lays all rules out for [`export`] and [`diff`], [`mod@import`] makes allowlist files of what others print,
//! [`prove`] asks for names that must not resolve, [`sandbox`] gives up what a running gate does not need, [`notify`] and [`watchdog`]
//! tell the service manager how it fares, [`shutdown`] listens to signals, [`admin`] is the HTTP side, [`cli`] the
//! command line.

pub mod cli;
pub mod service;
pub mod admin;
pub mod tools;
pub mod api;
pub mod observe;
pub mod listen;
pub mod relay;
pub mod engine;
pub mod assemble;
pub mod upstream;
pub mod cache;
pub mod local;
pub mod events;
pub mod allowlist;
pub mod config;
pub mod control;
pub mod hazard;
pub mod policy;
pub mod diagnostics;
pub mod address;
pub mod wire;
pub mod net;
pub mod util;
