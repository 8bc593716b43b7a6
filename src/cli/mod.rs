//! The command line: one module per command.

mod allow;
mod check;
mod demo;
mod diff;
mod explain;
mod export;
mod healthcheck;
mod http;
mod prove;
mod json_page;
mod learn;
mod import;
mod output;
mod rules;
mod serve;
mod shadow;
mod top;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::address::upstream::UpstreamAddress;
use crate::assemble::{Assembly, AssemblyFaults, Sources, assemble};
use crate::config::{Overrides, admin_address, listen_address};
use crate::policy::Mode;
use output::{FAILED, OK, complain, print, warn};

/// A DNS resolver for networks that must not resolve everything.
///
/// Names on the allowlist are forwarded; every other name is NXDOMAIN. Without a command the gate runs.
#[derive(Debug, Parser)]
#[command(name = "namegate", version, max_term_width = 100)]
struct Command {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Args)]
struct Options {
    /// Settings file [default: /etc/namegate/namegate.toml if it exists, else the built-in defaults]
    #[arg(long, global = true, value_name = "FILE", env = "NAMEGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Listen here instead, `IP:PORT` or `IP`; may be repeated
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = listen_address, env = "NAMEGATE_LISTEN", value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// Forward to this server instead, such as 168.63.129.16 or tls://10.0.0.4#dns.example; may be repeated
    #[arg(long, global = true, value_name = "SERVER", env = "NAMEGATE_UPSTREAM", value_delimiter = ',')]
    upstream: Vec<UpstreamAddress>,
    /// Serve metrics and health here instead; `off` turns it off
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = admin, env = "NAMEGATE_ADMIN")]
    admin: Option<AdminOption>,
    /// `enforce`, or `observe` to forward everything and only count
    #[arg(long, global = true, value_name = "MODE", env = "NAMEGATE_MODE")]
    mode: Option<Mode>,
    /// Use this allowlist instead, by name or path; may be repeated
    #[arg(long, global = true, value_name = "ZONE", env = "NAMEGATE_ZONES", value_delimiter = ',')]
    zones: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct AdminOption(Option<SocketAddr>);

fn admin(text: &str) -> Result<AdminOption, String> {
    if text == "off" {
        return Ok(AdminOption(None));
    }
    admin_address(text).map(AdminOption).map_err(|error| error.to_string())
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run the gate (the default)
    Serve,
    /// Read settings, zones and parameters, report everything wrong and what is probably not meant, bind nothing
    Check(check::Arguments),
    /// Say what would happen to a name, and why; exit status 0 allowed, 1 blocked
    Explain(explain::Arguments),
    /// List the rules in force with where each comes from
    Rules(rules::Arguments),
    /// Print the effective settings as TOML
    Config,
    /// Turn what Azure and other resolvers print into allowlist files and local zones
    Import(import::Arguments),
    /// Compare what an Azure ML workspace needs with what is allowed; exit status 1 on a difference
    Diff(diff::Arguments),
    /// Write the effective allowlist for a firewall or another resolver
    Export(export::Arguments),
    /// Show it working on this machine alone: a gate, an embedded upstream and a few queries
    Demo(demo::Arguments),
    /// Propose rules for what was blocked, as a zone file, from a query log or the running gate
    Learn(learn::Arguments),
    /// Watch a running gate: rates, upstreams, most blocked names, blocked lookups as they come
    Top(top::Arguments),
    /// List where the policy to come (`policy.shadow`) would decide otherwise; exit status 1 where it would
    Shadow(shadow::Arguments),
    /// Ask a running gate for names that must not resolve, in every way there is, and for those that must, and report
    Prove(prove::Arguments),
    /// Have a running gate allow a name for a while
    Allow(allow::Arguments),
    /// List what a running gate allows for a while
    Allowed(allow::ListArguments),
    /// Ask a running gate's /readyz; exit status 0 when it is ready
    Healthcheck,
}

impl Options {
    fn sources(self) -> Sources {
        let overrides = Overrides {
            listen: self.listen,
            upstream: self.upstream,
            admin: self.admin.map(|admin| admin.0),
            mode: self.mode,
            zones: self.zones,
        };
        Sources { config: self.config, overrides }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Command { options, action } = Command::parse();
    let sources = options.sources();
    let status = match action.unwrap_or(Action::Serve) {
        Action::Serve => done(serve::run(sources)),
        Action::Check(arguments) => with_assembly(&sources, |assembly| check::run(&arguments, &assembly)),
        Action::Explain(arguments) => with_assembly(&sources, |assembly| explain::run(&arguments, &assembly)),
        Action::Rules(arguments) => with_assembly(&sources, |assembly| rules::run(&arguments, &assembly)),
        Action::Config => with_assembly(&sources, |assembly| print(&assembly.settings.to_toml())),
        Action::Import(arguments) => import::run(&arguments),
        Action::Diff(arguments) => diff::run(&arguments, &sources),
        Action::Export(arguments) => with_assembly(&sources, |assembly| export::run(&arguments, &assembly)),
        Action::Demo(arguments) => done(demo::run(&arguments, &sources)),
        Action::Learn(arguments) => {
            with_assembly(&sources, |assembly| learn::run(&arguments, &assembly, &sources))
        }
        Action::Top(arguments) => top::run(&arguments, &sources),
        Action::Shadow(arguments) => shadow::run(&arguments, &sources),
        Action::Prove(arguments) => prove::run(&arguments, &sources),
        Action::Allow(arguments) => allow::run(&arguments, &sources),
        Action::Allowed(arguments) => allow::list(&arguments, &sources),
        Action::Healthcheck => healthcheck::run(&sources),
    };
    ExitCode::from(status)
}

fn with_assembly(sources: &Sources, command: impl FnOnce(Assembly) -> u8) -> u8 {
    match assemble(sources, 1) {
        Ok(assembly) => command(assembly),
        Err(faults) => {
            complain(&faults);
            FAILED
        }
    }
}

fn done(outcome: Result<(), crate::service::StartError>) -> u8 {
    match outcome {
        Ok(()) => OK,
        Err(error) => {
            match error.downcast_ref::<AssemblyFaults>() {
                Some(faults) => complain(faults),
                None => warn(&format!("error: {error}")),
            }
            FAILED
        }
    }
}
