//! `namegate demo`: namegate at work without a network. Without a role everything runs in one process; the roles are
//! the upstream and the clients of a resolver that runs by itself, as in docker-compose.yml.

mod mix;
mod show;
mod traffic;
mod upstream;

use clap::{Args, Subcommand};

use crate::service::StartError;

/// The role to play.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Run only the demo upstream
    #[command(after_help = "Examples:
  namegate demo upstream
  namegate demo upstream --listen 127.0.0.1:5300")]
    Upstream(upstream::Arguments),
    /// Run only the demo clients: query one server for allowed and blocked names
    #[command(after_help = "Examples:
  namegate demo traffic
  namegate demo traffic --server 127.0.0.1:1053 --rate 50 --for 1m")]
    Traffic(traffic::Arguments),
}

/// Plays the role.
pub(super) fn run(arguments: Arguments) -> Result<(), StartError> {
    match arguments.role {
        None => show::run(),
        Some(Role::Upstream(arguments)) => upstream::run(&arguments),
        Some(Role::Traffic(arguments)) => traffic::run(&arguments),
    }
}
