//! Tests of the service: start, reload, takeover, shutdown, and files on disk.

mod drain;
mod files;
mod inherited_sockets;
mod interleavings;
mod over_reloads;
mod reload;
mod running;
mod sandbox;
mod service_manager;
mod start_checks;
mod state_directory;
mod systemd;
mod watch;
mod webhook;
