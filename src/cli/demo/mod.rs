//! `namegate demo`: the gate at work without a network. Alone it shows everything within one process; its roles are
//! what stands around a gate that runs by itself, as in docker-compose.yml.

mod mix;
mod show;
mod traffic;
mod upstream;

use clap::{Args, Subcommand};

use crate::assemble::Sources;
use crate::service::StartError;

/// Which role to play.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Be the upstream: serve the demonstration's names on the loopback address that `--listen` names
    Upstream,
    /// Be the clients: ask one server for a mix of names, allowed and blocked, until told to stop
    Traffic(traffic::Arguments),
}

/// Plays the role.
pub(super) fn run(arguments: &Arguments, sources: &Sources) -> Result<(), StartError> {
    match &arguments.role {
        None => show::run(),
        Some(Role::Upstream) => upstream::run(&sources.overrides.listen),
        Some(Role::Traffic(arguments)) => traffic::run(arguments),
    }
}
