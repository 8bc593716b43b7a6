//! The command line: one module per command.

mod allow;
mod audit;
mod bundle;
mod check;
mod completions;
mod demo;
mod diff;
mod explain;
mod export;
mod fleet;
mod healthcheck;
mod http;
mod prove;
mod learn;
mod pull;
mod import;
mod init;
mod log;
mod man;
mod moment;
mod output;
mod reload;
mod request;
mod rules;
mod serve;
mod shadow;
mod top;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use ipnet::IpNet;

use crate::address::upstream::UpstreamAddress;
use crate::assemble::{Assembly, Sources, assemble};
use crate::config::{Overrides, admin_address, listen_address, with_sources};
use crate::diagnostics::Report;
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
#[derive(Clone, Debug, Default, Args)]
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
    /// From [`AdminToken`].
    #[arg(skip)]
    token_file: Option<PathBuf>,
}

/// The token for a running resolver.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Settings overrides")]
struct AdminToken {
    /// File with the admin token, or to read, the viewer's [default: `admin.token_file`, `admin.viewer_token_file`]
    #[arg(long, value_name = "FILE", env = "NAMEGATE_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
}

/// Where running resolvers serve their pages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings overrides")]
struct FleetOverrides {
    /// Settings file with the defaults of these options [default: /etc/namegate/namegate.toml if it exists]
    #[arg(long, value_name = "FILE", env = "NAMEGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Address of a resolver's status page; repeatable [default: `admin.listen` in the settings]
    #[arg(long, value_name = "ADDRESS", value_parser = admin, env = "NAMEGATE_ADMIN", value_delimiter = ',', hide_env_values = true)]
    admin: Vec<AdminOption>,
    #[command(flatten)]
    token: AdminToken,
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
    #[command(flatten)]
    token: AdminToken,
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
    /// Validate settings and allowlists, and test whether this host can serve them
    ///
    /// Runs every test that `serve` runs before it answers: state directory, upstreams, secrets, logs, addresses and
    /// ports. A port that a running namegate uses is no error.
    #[command(after_help = "Examples:
  namegate check --config /etc/namegate/namegate.toml
  namegate check --deny-warnings --allow broad
  namegate check --files-only --config azure.toml

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
  namegate explain ml.azure.com --running

Exit status: 0 allowed, observed or local, 1 blocked or refused, or local with a
CNAME target that is, or invalid settings, 2 not a domain name, or no answer
from the running resolver.")]
    Explain(With<explain::Arguments, SettingsOverrides>),
    /// List the rules of the policy, with file and line
    #[command(after_help = "Examples:
  namegate rules
  namegate rules --group build-agents --json
  namegate rules --unused 90d

Exit status: 0 listed, 1 invalid settings, 2 no such client group, or no answer
from the running resolver.")]
    Rules(With<rules::Arguments, SettingsOverrides>),
    /// Print the effective settings as TOML, with the source of each value
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
    /// Pack and sign a policy directory, for `namegate pull`
    ///
    /// Packs allowlists, and settings and local zones if the directory has them, into one signed file. A directory that
    /// `namegate check` would reject is not packed. Names that begin with a dot are left out.
    #[command(after_help = "Examples:
  namegate bundle --new-key fleet.key
  namegate bundle policy --serial 12 --key fleet.key
  namegate bundle policy --serial \"$BUILD\" --key fleet.key --expires 30d

SOURCE_DATE_EPOCH sets the time of the bundle, for reproducible builds.

Exit status: 0 written, 1 not written, 2 wrong options.")]
    Bundle(bundle::Arguments),
    /// Fetch, verify and install a bundle
    ///
    /// Installs a bundle if it has the right signature, a higher serial than the installed one, and has not expired. Else
    /// the installed one stays.
    #[command(after_help = "Examples:
  namegate pull https://corp.example/p.tar --public-key fleet.key.pub --into DIR
  NAMEGATE_PULL_URL=\"$URL\" namegate pull --public-key \"$KEY\" --into DIR
  namegate pull \"$URL\" --identity azure --public-key \"$KEY\" --into DIR
  namegate pull \"$URL\" --public-key \"$KEY\" --into DIR --every 5m

Exit status: 0 installed or unchanged, 1 refused, which needs a person, 2 no
answer from the server, try again.")]
    Pull(pull::Arguments),
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
should allow it.

Exit status: 0 suggested, 1 not possible, 2 no answer from the running resolver.",
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
  namegate top --json | jq .status.problems

Keys: q quit, p pause.

Exit status: 0 shown, 1 no admin listener in the settings, 2 no answer from the
running resolver.")]
    Top(With<top::Arguments, AdminOverrides>),
    /// Search past lookups of a running resolver
    ///
    /// Lists lookups of the last day (`history.max_age`), newest first. A row stands for equal lookups within a minute,
    /// allowed ones within five. Times are UTC.
    #[command(after_help = "Examples:
  namegate log --client 10.0.1.7 --since 02:00 --until 02:30 --blocked
  namegate log --below azureml.ms --failed
  namegate log --name pypi.org --since 2h --json

Exit status: 0 listed, 2 not possible: no answer from the running resolver, or
its history is off.")]
    Log(With<log::Arguments, AdminOverrides>),
    /// List lookups that the candidate policy would decide differently
    #[command(after_help = "Examples:
  namegate shadow
  namegate shadow --json

The candidate policy is the settings file in `policy.shadow`.

Exit status: 0 no difference, 1 differences, 2 no candidate policy, or no
answer from the running resolver.")]
    Shadow(With<shadow::Arguments, AdminOverrides>),
    /// Test that forbidden names stay blocked and required names resolve
    ///
    /// Queries a running resolver over UDP and TCP, with many record types, and writes a dated report.
    #[command(after_help = "Examples:
  namegate prove
  namegate prove --server 10.0.0.4 --admin 10.0.0.4:9153 --output report.txt

The names are `prove.must_not_resolve` and `prove.must_resolve` in the settings.
With the admin token, the resolver does not count these lookups as a client's.

Exit status: 0 passed, 1 failed, 2 not tested, or no answer from the resolver.",
        mut_arg("config", |option| option.help(
            "Settings file: names to test, defaults of options [default: /etc/namegate/namegate.toml if it exists]"
        )))]
    Prove(With<prove::Arguments, AdminOverrides>),
    /// Allow a name for a limited time (a grant)
    #[command(after_help = "Examples:
  namegate allow packages.example.com --for 2h --reason \"patch CVE-2026-1234\"
  namegate allow packages.example.com --revoke
  namegate allow packages.example.com --revoke --admin 10.0.0.4 --admin 10.0.0.5

The token must be the resolver's admin token (`admin.token_file`).
Exit status: 0 done, 1 refused by a resolver, 2 no answer from one.")]
    Allow(With<allow::Arguments, FleetOverrides>),
    /// List the grants in force
    #[command(after_help = "Examples:
  namegate allowed
  namegate allowed --json

Exit status: 0 listed, 1 no admin listener in the settings, 2 no answer from the
running resolver.")]
    Allowed(With<allow::ListArguments, AdminOverrides>),
    /// Request a blocked name
    ///
    /// The request is filed for this host's address. An approver makes a grant of it, or denies it.
    #[command(after_help = "Examples:
  namegate request packages.example.com --reason \"build of project 7\"
  namegate request --status 5f0c3d6a8e914b27a1d2c3b4e5f60718

Needs `requests.enabled` on the resolver, and no token.")]
    Request(With<request::Arguments, AdminOverrides>),
    /// List requests for names, approve or deny them
    #[command(after_help = "Examples:
  namegate requests
  namegate requests approve ID --for 2h --group
  namegate requests deny ID --reason \"use the mirror\"
  namegate requests rule ID >> zones/mine.toml

Deciding needs the resolver's admin token (`admin.token_file`).")]
    Requests(With<request::RequestsArguments, AdminOverrides>),
    /// Ask a running resolver to reload, and print the outcome
    #[command(after_help = "Examples:
  namegate reload
  namegate reload --admin 10.0.0.4 --admin 10.0.0.5

The token must be the resolver's admin token (`admin.token_file`).
Exit status: 0 reloaded, 1 not reloaded by a resolver, 2 no answer from one.")]
    Reload(FleetOverrides),
    /// Compare running resolvers: version, policy, mode, grants
    #[command(after_help = "Examples:
  namegate fleet --admin 10.0.0.4 --admin 10.0.0.5

Exit status: 0 all the same, 1 different, 2 no answer from one.")]
    Fleet(FleetOverrides),
    /// Check that a running resolver is ready
    #[command(after_help = "Examples:
  namegate healthcheck
  namegate healthcheck --admin 127.0.0.1:9153

Exit status: 0 ready, 1 not ready or no answer: container runtimes know no
other.")]
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

/// Options that override settings: their ids, and the settings' paths.
const OVERRIDES: [(&str, &str); 5] = [
    ("listen", "server.listen"),
    ("upstream", "upstream.servers"),
    ("admin", "admin.listen"),
    ("mode", "policy.mode"),
    ("zones", "policy.zones"),
];

/// The options that are on the command line, before and after the command's name. All others are from the environment.
struct CommandLine {
    before: Vec<&'static str>,
    after: Vec<&'static str>,
}

impl CommandLine {
    fn of(matches: &ArgMatches) -> Self {
        let after = matches.subcommand().map(|(_, matches)| matches);
        Self { before: written(matches), after: after.map(written).unwrap_or_default() }
    }
}

/// The options of [`SettingsOverrides`] that are on the command line of one command.
fn written(matches: &ArgMatches) -> Vec<&'static str> {
    let is_written = |id: &&str| {
        matches.try_contains_id(id).is_ok()
            && matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
    };
    OVERRIDES.iter().map(|(id, _)| *id).chain(["config"]).filter(is_written).collect()
}

impl SettingsOverrides {
    /// Applies the options before the command's name, as in `namegate --config FILE check`. The command line takes
    /// precedence over the environment, and an option after the name over one before it.
    fn or(self, before: Self, line: &CommandLine) -> Self {
        let is_after = |id, is_set: bool| is_set && (line.after.contains(&id) || !line.before.contains(&id));
        let Self { config, listen, upstream, admin, mode, zones, token_file } = self;
        Self {
            config: if is_after("config", config.is_some()) { config } else { before.config },
            listen: if is_after("listen", !listen.is_empty()) { listen } else { before.listen },
            upstream: if is_after("upstream", !upstream.is_empty()) { upstream } else { before.upstream },
            admin: if is_after("admin", admin.is_some()) { admin } else { before.admin },
            mode: if is_after("mode", mode.is_some()) { mode } else { before.mode },
            zones: if is_after("zones", !zones.is_empty()) { zones } else { before.zones },
            token_file,
        }
    }

    fn sources(self, line: &CommandLine) -> Sources {
        let is_set = |id| match id {
            "listen" => !self.listen.is_empty(),
            "upstream" => !self.upstream.is_empty(),
            "admin" => self.admin.is_some(),
            "mode" => self.mode.is_some(),
            _ => !self.zones.is_empty(),
        };
        let source = |id: &str| match line.before.contains(&id) || line.after.contains(&id) {
            true => format!("the command line (--{id})"),
            false => format!("the environment variable NAMEGATE_{}", id.to_ascii_uppercase()),
        };
        let sources = OVERRIDES
            .iter()
            .filter(|(id, _)| is_set(id))
            .map(|(id, setting)| (*setting, source(id)))
            .collect();
        let overrides = Overrides {
            listen: self.listen,
            upstream: self.upstream,
            admin: self.admin.map(|admin| admin.0),
            mode: self.mode,
            zones: self.zones,
            token_file: self.token_file,
            sources,
        };
        Sources { config: self.config, overrides }
    }
}

impl From<AdminOverrides> for SettingsOverrides {
    fn from(AdminOverrides { config, admin, token }: AdminOverrides) -> Self {
        Self { config, admin, token_file: token.token_file, ..Self::default() }
    }
}

impl FleetOverrides {
    /// The overrides for each resolver.
    fn each(self) -> Vec<SettingsOverrides> {
        let Self { config, admin, token: AdminToken { token_file } } = self;
        let one = |admin| SettingsOverrides {
            config: config.clone(),
            admin,
            token_file: token_file.clone(),
            ..SettingsOverrides::default()
        };
        if admin.is_empty() {
            vec![one(None)]
        } else {
            admin.into_iter().map(|admin| one(Some(admin))).collect()
        }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let matches = without_empty_variables(Command::command()).get_matches();
    let Command { overrides: before, action } =
        Command::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let action = action.unwrap_or_else(|| Action::Serve(SettingsOverrides::default()));
    ExitCode::from(run(action, &before, &CommandLine::of(&matches)))
}

/// An empty environment variable counts as unset, as compose and Kubernetes write it.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |argument: &clap::Arg| {
        argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty())
    };
    command
        .mut_args(|argument| if is_empty(&argument) { argument.env(Resettable::Reset) } else { argument })
        .mut_subcommands(without_empty_variables)
}

fn run(action: Action, before: &SettingsOverrides, line: &CommandLine) -> u8 {
    let sources = |overrides: SettingsOverrides| overrides.or(before.clone(), line).sources(line);
    let each = |fleet: FleetOverrides| fleet.each().into_iter().map(sources).collect::<Vec<_>>();
    match action {
        Action::Serve(overrides) => done(serve::run(sources(overrides))),
        Action::Check(With { arguments, overrides }) => {
            with_assembly(&sources(overrides), |assembly| check::run(&arguments, &assembly))
        }
        Action::Explain(With { arguments, overrides }) => {
            let sources = sources(SettingsOverrides { token_file: arguments.token_file(), ..overrides });
            match arguments.running() {
                true => explain::run_running(&arguments, &sources),
                false => with_assembly(&sources, |assembly| explain::run(&arguments, &assembly)),
            }
        }
        Action::Rules(With { arguments, overrides }) => match arguments.unused() {
            Some(period) => {
                let overrides = SettingsOverrides { token_file: arguments.token_file(), ..overrides };
                rules::run_unused(&arguments, period, &sources(overrides))
            }
            None => with_assembly(&sources(overrides), |assembly| rules::run(&arguments, &assembly)),
        },
        Action::Config(overrides) => with_assembly(&sources(overrides), |assembly| {
            print(&with_sources(&assembly.settings.to_toml(), &assembly.sources))
        }),
        Action::Init(arguments) => init::run(arguments),
        Action::Import(arguments) => import::run(&arguments),
        Action::Audit(arguments) => audit::run(&arguments),
        Action::Diff(With { arguments, overrides }) => diff::run(&arguments, &sources(overrides)),
        Action::Export(With { arguments, overrides }) => {
            with_assembly(&sources(overrides), |assembly| export::run(&arguments, &assembly))
        }
        Action::Bundle(arguments) => bundle::run(&arguments),
        Action::Pull(arguments) => pull::run(arguments),
        Action::Demo(arguments) => done(demo::run(arguments)),
        Action::Learn(With { arguments, overrides }) => {
            let sources = sources(SettingsOverrides { token_file: arguments.token_file(), ..overrides });
            with_assembly(&sources, |assembly| learn::run(&arguments, &assembly, &sources))
        }
        Action::Top(With { arguments, overrides }) => top::run(&arguments, &sources(overrides.into())),
        Action::Log(With { arguments, overrides }) => log::run(&arguments, &sources(overrides.into())),
        Action::Shadow(With { arguments, overrides }) => shadow::run(&arguments, &sources(overrides.into())),
        Action::Prove(With { arguments, overrides }) => prove::run(&arguments, &sources(overrides.into())),
        Action::Allow(With { arguments, overrides }) => allow::run(&arguments, &each(overrides)),
        Action::Allowed(With { arguments, overrides }) => allow::list(&arguments, &sources(overrides.into())),
        Action::Request(With { arguments, overrides }) => {
            request::run(&arguments, &sources(overrides.into()))
        }
        Action::Requests(With { arguments, overrides }) => {
            request::list(&arguments, &sources(overrides.into()))
        }
        Action::Reload(overrides) => reload::run(&each(overrides)),
        Action::Fleet(overrides) => fleet::run(&each(overrides)),
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
            match error.downcast_ref::<Report>() {
                Some(faults) => complain(faults),
                None => warn(&format!("error: {error}")),
            }
            FAILED
        }
    }
}
