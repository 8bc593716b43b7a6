//! The command line: one module per command.

mod allow;
mod audit;
mod check;
mod completions;
mod demo;
mod diff;
mod explain;
mod export;
mod healthcheck;
mod http;
mod prove;
mod learn;
mod import;
mod init;
mod log;
mod man;
mod moment;
mod output;
mod rules;
mod serve;
mod shadow;
mod top;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;

use crate::address::upstream::UpstreamAddress;
use crate::assemble::{Assembly, AssemblyFaults, Sources, assemble};
use crate::config::{Overrides, admin_address, listen_address};
use crate::policy::Mode;
use output::{FAILED, OK, complain, print, warn};

/// Version, commit, and the target the binary was built for; `build.rs` sets the latter two.
const LONG_VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("NAMEGATE_COMMIT"), ", ", env!("NAMEGATE_TARGET"), ")");

/// A DNS resolver that answers only what you allow.
///
/// Names on the allowlist are forwarded to an upstream resolver. Every other name gets NXDOMAIN. Without a command,
/// namegate runs the resolver.
#[derive(Debug, Parser)]
#[command(
    name = "namegate",
    version,
    long_version = LONG_VERSION,
    max_term_width = 80,
    after_help = "Examples:
  namegate                         Run with built-in settings on 127.0.0.1:1053
  namegate check                   Validate the settings before a reload
  namegate explain ml.azure.com    Show which rule decides

Run `namegate COMMAND --help` for a command's options and examples."
)]
struct Command {
    #[command(flatten)]
    overrides: SettingsOverrides,
    #[command(subcommand)]
    action: Option<Action>,
}

/// The settings file, and the settings that the command line overrides.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings overrides")]
struct SettingsOverrides {
    /// Settings file [default: /etc/namegate/namegate.toml if it exists]
    #[arg(long, value_name = "FILE", env = "NAMEGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Listen on this address, `IP:PORT` or `IP`; repeatable
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address, env = "NAMEGATE_LISTEN", value_delimiter = ',', hide_env_values = true)]
    listen: Vec<SocketAddr>,
    /// Forward to this server, such as 168.63.129.16 or tls://10.0.0.4#NAME, where NAME is in its certificate; repeatable
    #[arg(
        long,
        value_name = "SERVER",
        env = "NAMEGATE_UPSTREAM",
        value_delimiter = ',',
        hide_env_values = true
    )]
    upstream: Vec<UpstreamAddress>,
    /// Serve the status page and metrics on this address; `off` disables them
    #[arg(long, value_name = "ADDRESS", value_parser = admin, env = "NAMEGATE_ADMIN", hide_env_values = true)]
    admin: Option<AdminOption>,
    /// `enforce`, or `observe`: forward blocked names too, and count them
    #[arg(long, value_name = "MODE", env = "NAMEGATE_MODE", hide_env_values = true)]
    mode: Option<Mode>,
    /// Load this allowlist, by name or path; repeatable
    #[arg(
        long,
        value_name = "ALLOWLIST",
        env = "NAMEGATE_ZONES",
        value_delimiter = ',',
        hide_env_values = true
    )]
    zones: Vec<String>,
}

/// Where a running resolver serves its pages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings overrides")]
struct AdminOverrides {
    /// Settings file with the defaults of these options [default: /etc/namegate/namegate.toml if it exists]
    #[arg(long, value_name = "FILE", env = "NAMEGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Address of the resolver's status page [default: `admin.listen` in the settings]
    #[arg(long, value_name = "ADDRESS", value_parser = admin, env = "NAMEGATE_ADMIN", hide_env_values = true)]
    admin: Option<AdminOption>,
}

/// A command's own arguments, and the settings that it lets the command line override.
#[derive(Debug, Args)]
struct With<A: Args, O: Args> {
    #[command(flatten)]
    arguments: A,
    #[command(flatten)]
    overrides: O,
}

#[derive(Clone, Copy, Debug)]
struct AdminOption(Option<SocketAddr>);

/// Reads an address or a subnet.
fn subnet(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse());
    net.map(|net: IpNet| net.trunc())
        .map_err(|_| "use an address, or a subnet such as `10.1.0.0/16`".to_owned())
}

fn admin(text: &str) -> Result<AdminOption, String> {
    if text == "off" {
        return Ok(AdminOption(None));
    }
    admin_address(text).map(AdminOption).map_err(|error| error.to_string())
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run the resolver (default)
    #[command(after_help = "Examples:
  namegate serve --config /etc/namegate/namegate.toml
  namegate serve --listen 127.0.0.1:1053 --upstream 168.63.129.16
  namegate serve --mode observe

Signals: SIGHUP reloads settings and allowlists, SIGTERM and SIGINT stop.")]
    Serve(SettingsOverrides),
    /// Validate settings and allowlists; opens no sockets
    #[command(after_help = "Examples:
  namegate check --config /etc/namegate/namegate.toml
  namegate check --deny-warnings --allow broad

Exit status: 0 valid, 1 errors, or warnings with --deny-warnings.")]
    Check(With<check::Arguments, SettingsOverrides>),
    /// Write a settings file for an Azure ML workspace, in observe mode
    ///
    /// Chooses allowlists and parameters from the hosts that the workspace needs. Without --from and options, it asks.
    #[command(after_help = "Examples:
  namegate init --from needs.json --output namegate.toml
  namegate init --region westeurope --storage contosostore --acr contosoacr
  az rest --url \"$URL\" | namegate init --from - -o namegate.toml

FILE is what `az rest` prints for `outboundNetworkDependenciesEndpoints`: see
\"Settings for a workspace\" in docs/azure.md.

Exit status: 0 written, 1 not written, 2 the input cannot be used.")]
    Init(init::Arguments),
    /// Show whether a name would resolve, and which rule decides
    #[command(after_help = "Examples:
  namegate explain ml.azure.com
  namegate explain mystore.blob.core.windows.net --client 10.1.0.4
  namegate explain ml.azure.com --type AAAA --json

Exit status: 0 allowed, observed or local, 1 blocked or refused, or local with a
CNAME target that is, or invalid settings, 2 not a domain name.")]
    Explain(With<explain::Arguments, SettingsOverrides>),
    /// List the rules of the policy, with file and line
    #[command(after_help = "Examples:
  namegate rules
  namegate rules --group build-agents --json
  namegate rules --unused 90d

Exit status: 0 listed, 1 invalid settings, 2 no such client group, or no answer
from the running resolver.")]
    Rules(With<rules::Arguments, SettingsOverrides>),
    /// Print the effective settings as TOML
    #[command(after_help = "Examples:
  namegate config
  namegate config --config /etc/namegate/namegate.toml --mode observe")]
    Config(SettingsOverrides),
    /// Convert name lists and zone files to allowlists or local zones
    #[command(after_help = "Examples:
  namegate import list hosts.txt --output zones/mine.toml
  az network nic show --ids \"$NIC\" | namegate import private-endpoint - -o .

Exit status: 0 all converted, 1 some lines were not converted, 2 not readable.")]
    Import(import::Arguments),
    /// Report what is dangerous or useless in lists of any program
    ///
    /// Reads allowlists and settings of namegate, workspace dependencies, Azure Firewall rules, domain lists of Azure and
    /// AWS, response policy zones, filter lists, hosts files and names, one per line.
    #[command(after_help = "Examples:
  namegate audit domain-list.json
  namegate audit zones/*.toml --log queries.json --markdown > audit.md
  namegate audit names.txt --minimal zones/names.toml

Exit status: 0 no findings, 1 findings, 2 not readable, or --minimal refused.")]
    Audit(audit::Arguments),
    /// Compare the policy with the needs of an Azure ML workspace
    #[command(after_help = "Examples:
  namegate diff needed.json --needed-only

FILE is what `az rest` prints for `outboundNetworkDependenciesEndpoints`: see
\"Diff\" in docs/allowlists.md.

Exit status: 0 no difference, 1 differences, 2 not readable.")]
    Diff(With<diff::Arguments, SettingsOverrides>),
    /// Write the policy for a firewall or another resolver
    #[command(after_help = "Examples:
  namegate export azure-firewall --output rules.json
  namegate export azure-dns-policy --discover 168.63.129.16 > policy.json
  namegate export unbound --strict > allowlist.conf

docs/exports.md says what each target can express, and how to load the file.

Exit status: 0 written, 1 written without a host that a vendor's current list
requires, or with warnings and --strict, or invalid settings, 2 wrong options.")]
    Export(With<export::Arguments, SettingsOverrides>),
    /// Demonstrate namegate on loopback
    ///
    /// Runs an upstream and a resolver in one process, sends six queries and prints the answers.
    #[command(after_help = "Examples:
  namegate demo
  namegate demo upstream
  namegate demo traffic --rate 50 --for 1m")]
    Demo(demo::Arguments),
    /// Suggest rules for blocked names
    ///
    /// Reads query logs or, without a FILE, the blocked names from the running resolver's admin listener; with --since,
    /// --until or --client its history. Prints an allowlist with the evidence for each rule.
    #[command(after_help = "Examples:
  namegate learn --output zones/learned.toml
  namegate learn /var/log/namegate/queries.json --since 7d --min-count 3
  namegate learn --since 02:00 --until 02:30 --client 10.0.1.7

Review the suggestions. A lookup shows that a client wants a name, not that you
should allow it.",
        mut_arg("config", |option| option.help(
            "Settings file: the policy to compare with, and `admin.listen` [default: /etc/namegate/namegate.toml if it exists]"
        )),
        mut_arg("admin", |option| option.help(
            "Address of the running resolver's status page [default: `admin.listen` in the settings]"
        )))]
    Learn(With<learn::Arguments, SettingsOverrides>),
    /// Show a running resolver: rates, upstreams, most blocked names
    #[command(after_help = "Examples:
  namegate top
  namegate top --once --admin 10.0.0.4:9153
  namegate top --json | jq .status.totals

Keys: q quit, p pause.")]
    Top(With<top::Arguments, AdminOverrides>),
    /// Search past lookups of a running resolver
    ///
    /// Lists lookups of the last day (`history.max_age`), newest first. A row stands for equal lookups within a minute,
    /// allowed ones within five. Times are UTC.
    #[command(after_help = "Examples:
  namegate log --client 10.0.1.7 --since 02:00 --until 02:30 --blocked
  namegate log --below azureml.ms --failed
  namegate log --name pypi.org --since 2h --json

Exit status: 0 listed, 2 no answer from the running resolver, or its history is
off.")]
    Log(With<log::Arguments, AdminOverrides>),
    /// List lookups that the candidate policy would decide differently
    #[command(after_help = "Examples:
  namegate shadow
  namegate shadow --json

The candidate policy is the settings file in `policy.shadow`.
Exit status: 0 no difference, 1 differences, 2 no candidate policy or resolver
not reachable.")]
    Shadow(With<shadow::Arguments, AdminOverrides>),
    /// Test that forbidden names stay blocked and required names resolve
    ///
    /// Queries a running resolver over UDP and TCP, with many record types, and writes a dated report.
    #[command(after_help = "Examples:
  namegate prove
  namegate prove --server 10.0.0.4 --admin 10.0.0.4:9153 --output report.txt

The names are `prove.must_not_resolve` and `prove.must_resolve` in the settings.
Exit status: 0 passed, 1 failed, 2 not tested.",
        mut_arg("config", |option| option.help(
            "Settings file: names to test, defaults of options [default: /etc/namegate/namegate.toml if it exists]"
        )))]
    Prove(With<prove::Arguments, AdminOverrides>),
    /// Allow a name for a limited time (a grant)
    #[command(after_help = "Examples:
  namegate allow packages.example.com --for 2h --reason \"patch CVE-2026-1234\"
  namegate allow packages.example.com --revoke

The token must be the resolver's admin token (`admin.token_file`).")]
    Allow(With<allow::Arguments, AdminOverrides>),
    /// List the grants in force
    #[command(after_help = "Examples:
  namegate allowed
  namegate allowed --json")]
    Allowed(With<allow::ListArguments, AdminOverrides>),
    /// Check that a running resolver is ready
    #[command(after_help = "Examples:
  namegate healthcheck
  namegate healthcheck --admin 127.0.0.1:9153

Exit status: 0 ready, 1 not ready or not reachable.")]
    Healthcheck(AdminOverrides),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:
  namegate completions bash > /etc/bash_completion.d/namegate
  namegate completions zsh > \"${fpath[1]}/_namegate\"")]
    Completions(completions::Arguments),
    /// Write the man pages to a directory
    #[command(after_help = "Examples:
  namegate man /usr/local/share/man/man1")]
    Man(man::Arguments),
}

impl SettingsOverrides {
    /// Applies the options before the command's name, as in `namegate --config FILE check`.
    fn or(self, before: Self) -> Self {
        let or = |these: Vec<SocketAddr>, others| if these.is_empty() { others } else { these };
        Self {
            config: self.config.or(before.config),
            listen: or(self.listen, before.listen),
            upstream: if self.upstream.is_empty() { before.upstream } else { self.upstream },
            admin: self.admin.or(before.admin),
            mode: self.mode.or(before.mode),
            zones: if self.zones.is_empty() { before.zones } else { self.zones },
        }
    }

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

impl From<AdminOverrides> for SettingsOverrides {
    fn from(AdminOverrides { config, admin }: AdminOverrides) -> Self {
        Self { config, admin, ..Self::default() }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Command { overrides: before, action } = Command::parse();
    let action = action.unwrap_or_else(|| Action::Serve(SettingsOverrides::default()));
    ExitCode::from(run(action, before))
}

fn run(action: Action, before: SettingsOverrides) -> u8 {
    let sources = |overrides: SettingsOverrides| overrides.or(before).sources();
    match action {
        Action::Serve(overrides) => done(serve::run(sources(overrides))),
        Action::Check(With { arguments, overrides }) => {
            with_assembly(&sources(overrides), |assembly| check::run(&arguments, &assembly))
        }
        Action::Explain(With { arguments, overrides }) => {
            with_assembly(&sources(overrides), |assembly| explain::run(&arguments, &assembly))
        }
        Action::Rules(With { arguments, overrides }) => match arguments.unused() {
            Some(period) => rules::run_unused(&arguments, period, &sources(overrides)),
            None => with_assembly(&sources(overrides), |assembly| rules::run(&arguments, &assembly)),
        },
        Action::Config(overrides) => {
            with_assembly(&sources(overrides), |assembly| print(&assembly.settings.to_toml()))
        }
        Action::Init(arguments) => init::run(arguments),
        Action::Import(arguments) => import::run(&arguments),
        Action::Audit(arguments) => audit::run(&arguments),
        Action::Diff(With { arguments, overrides }) => diff::run(&arguments, &sources(overrides)),
        Action::Export(With { arguments, overrides }) => {
            with_assembly(&sources(overrides), |assembly| export::run(&arguments, &assembly))
        }
        Action::Demo(arguments) => done(demo::run(arguments)),
        Action::Learn(With { arguments, overrides }) => {
            let sources = sources(overrides);
            with_assembly(&sources, |assembly| learn::run(&arguments, &assembly, &sources))
        }
        Action::Top(With { arguments, overrides }) => top::run(&arguments, &sources(overrides.into())),
        Action::Log(With { arguments, overrides }) => log::run(&arguments, &sources(overrides.into())),
        Action::Shadow(With { arguments, overrides }) => shadow::run(&arguments, &sources(overrides.into())),
        Action::Prove(With { arguments, overrides }) => prove::run(&arguments, &sources(overrides.into())),
        Action::Allow(With { arguments, overrides }) => allow::run(&arguments, &sources(overrides.into())),
        Action::Allowed(With { arguments, overrides }) => allow::list(&arguments, &sources(overrides.into())),
        Action::Healthcheck(overrides) => healthcheck::run(&sources(overrides.into())),
        Action::Completions(arguments) => completions::run(&arguments),
        Action::Man(arguments) => man::run(&arguments),
    }
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
