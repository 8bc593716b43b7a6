//! Black-box tests: the real binary on loopback, between clients that send any bytes and an upstream that follows a
//! script. Each test asserts both ends: what the client got and what the upstream received.
//!
//! One module per topic. The behaviour tables are the other test target, `tables`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

mod admin_limits;
mod admin_token;
mod allow;
mod amplification;
mod ancestors;
mod answers;
mod blocking;
mod bypass_names;
mod cache;
mod check;
mod cli;
mod client_groups;
mod client_limits;
mod code;
mod containers;
mod cookies;
mod demo;
mod diff;
mod dig;
mod dnstap;
mod documents;
mod dying_upstream;
mod edns_fallback;
mod elsewhere;
mod elsewhere_answers;
mod encrypted;
mod encrypted_faults;
mod encrypted_trust;
mod every_option;
mod drain;
mod examples;
mod export;
mod export_readings;
mod export_servers;
mod fair_shares;
mod faults_clock;
mod faults_hosts;
mod faults_namespaces;
mod faults_network;
mod faults_outputs;
mod faults_reload;
mod faults_resources;
mod faults_restart;
mod faults_upstream;
mod field_files;
mod forged_clients;
mod forged_icmp;
mod forwarding;
mod forwarding_loops;
mod inherited_sockets;
mod layers;
mod learn;
mod import;
mod import_faults;
mod import_local_zones;
mod interface;
mod interleavings;
mod lists;
#[allow(dead_code, reason = "shared with the benchmarks, which use the rest")]
#[path = "../benches/load/mod.rs"]
mod load;
mod local_aliases;
mod local_zones;
mod metrics;
mod other_clients;
mod over_reloads;
mod overload;
mod pages;
mod prometheus;
mod protocol;
mod prove;
mod query_log;
mod readme;
mod rate_limit;
mod refresh;
mod regression;
mod regression_files;
mod regression_service;
mod regression_tcp;
mod reload;
mod routes;
mod sandbox;
mod service_manager;
mod shadow;
#[allow(dead_code, reason = "shared with the benchmark, which uses the rest")]
#[path = "../benches/overload/stand.rs"]
mod stand;
mod state_directory;
mod status_page;
mod stuck_outputs;
#[allow(dead_code, reason = "shared with the tables target, which uses the rest")]
mod support;
mod systemd;
mod tcp;
mod tcp_limits;
mod tcp_places;
mod top;
mod tunnel_guard;
mod udp;
mod unbound;
mod upstream_budget;
mod upstream_entropy;
mod upstream_faults;
mod upstream_spoofing;
mod validators;
