//! namegate: a DNS resolver for networks that must not resolve everything.
//!
//! Names on an allowlist are forwarded to an upstream resolver and answered whole; every other name is NXDOMAIN. The rooms follow
//! one query; ARCHITECTURE.md says which may use which.
//!
//! ```text
//!   listen     udp, tcp: bytes in, bytes out
//!     ↓ bytes
//!   wire       bytes ↔ typed facts, in place
//!     ↓ Query
//!   policy     may the name leave? Allowed(AllowedQuery) | Blocked(reason) | Local | Refused
//!     ↓ AllowedQuery: only policy makes one, and only it opens the next doors
//!   cache      answers kept as bytes
//!     ↓ miss
//!   relay      who waits for which question
//!   upstream   asked for the whole answer        local   zones answered here
//!     ↓ Answer
//!   engine     the whole journey as one function: request bytes → reply | miss | silence
//!     ↓
//!   events     counted;   observe   told: metrics, logs, and what happened lately
//! ```
//!
//! Around it: [`config`] and [`allowlist`] are read and compiled by [`assemble`], [`service`] makes of it the state that queries are
//! judged by, runs it all, and swaps the policy under traffic as [`control`] says. [`admin`] is the HTTP side, [`cli`] the command
//! line, [`tools`] what commands do beside a running resolver; what [`hazard`] knows of dangerous names serves several of them.

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
