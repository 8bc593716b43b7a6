//! namegate: a DNS resolver that answers only what you allow.
//!
//! Names on an allowlist are forwarded to an upstream resolver; every other name gets NXDOMAIN. The diagram
//! shows the steps of one query, which `engine` and `relay` run; ARCHITECTURE.md says which module may use which.
//!
//! ```text
//!   listen     udp, tcp: bytes in, bytes out
//!     ↓ bytes
//!   engine     runs the steps below for one query: request → reply | cache miss | local lookup | drop
//!     ↓
//!   wire       parses and writes DNS messages
//!     ↓ Query
//!   policy     may the query be forwarded? Allowed(AllowedQuery) | Blocked(reason) | Local | Refused
//!     ↓ Local: to local (local zones), past cache, relay and upstream
//!     ↓ AllowedQuery: only policy creates it; cache and relay accept nothing else
//!   cache      answers stored as bytes
//!     ↓ cache miss
//!   relay      pending queries, coalescing
//!   upstream   the exchange with a server
//!     ↓ Answer
//!   events     one event per query;   observe   metrics, logs, recent history
//! ```
//!
//! Around it: [`assemble`] reads and compiles [`config`] and [`allowlist`]. [`service`] builds the state that decides
//! queries, runs everything, and replaces the policy on a [`control`] command without stopping. [`admin`] is the HTTP
//! listener, [`cli`] the command line, and [`tools`] has the commands that work offline, and those that test a running
//! resolver.
//! [`hazard`] knows names that are risky to allow, and [`foreign`] reads the lists of other programs.
//!
//! # Example
//!
//! Build a policy and query it. `examples/embed_policy.rs` reads an allowlist from a file and decides for a client.
//!
//! ```
//! use namegate::policy::rule::{Action, Pattern};
//! use namegate::policy::{Compile, Mode, NewRule, PolicyBuilder};
//! use namegate::wire::presentation::read_name;
//!
//! let mut rules = PolicyBuilder::new();
//! let source = rules.source("example", "example.toml");
//! for (line, (action, pattern)) in
//!     [(Action::Allow, "*.azureml.ms"), (Action::Deny, "*.search.azureml.ms")].into_iter().enumerate()
//! {
//!     rules.rule(NewRule::new(action, &Pattern::parse(pattern)?, source, line as u32 + 1));
//! }
//! let policy = rules.build(Compile::new(Mode::Enforce));
//!
//! let decide = |name: &str| policy.rule_for(&read_name(name)?).map(|rule| rule.action());
//! assert_eq!(decide("eastus.api.azureml.ms"), Some(Action::Allow));
//! assert_eq!(decide("x.search.azureml.ms"), Some(Action::Deny));
//! assert_eq!(decide("evil.example"), None);
//! # Ok::<(), namegate::policy::rule::PatternError>(())
//! ```

pub mod cli;
pub mod service;
pub mod admin;
pub mod tools;
pub mod foreign;
pub mod api;
pub mod observe;
pub mod listen;
pub mod relay;
pub mod engine;
pub mod assemble;
pub(crate) mod http_client;
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
