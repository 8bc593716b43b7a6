//! Black-box tests: the real binary on loopback, between clients that send any bytes and a scripted upstream. Each test
//! asserts both ends: what the client got and what the upstream received.
//!
//! One folder per topic, one module per question. The behaviour tables are a separate test target, `tables`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

mod admin;
mod cache;
mod faults;
mod limits;
mod local;
mod observe;
mod policy;
mod project;
mod protocol;
mod service;
mod tools;
mod upstream;

#[allow(dead_code, reason = "shared with the benchmarks, which use the rest")]
#[path = "../benches/load/mod.rs"]
mod load;
#[allow(dead_code, reason = "shared with the benchmark, which uses the rest")]
#[path = "../benches/overload/stand.rs"]
mod stand;
#[allow(dead_code, reason = "shared with the tables target, which uses the rest")]
mod support;
