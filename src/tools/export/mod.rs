//! The effective policy in the words of other enforcers, so that one list is kept and not several.
//!
//! Every target says less than a rule here can. What it cannot say is never dropped without a word and never opened
//! wider without `widen`: `fit` finds the nearest thing each target can say, and each module writes it down.

mod azure_dns_policy;
mod azure_firewall;
mod azure_ml;
mod cilium;
mod coredns;
mod dnsmasq;
mod fit;
mod layer;
mod ports;
mod rpz;
mod unbound;

use std::fmt;

use clap::ValueEnum;

use crate::address::upstream::UpstreamAddress;
use crate::assemble::Assembly;
use crate::assemble::effective::Effective;
use crate::config::GuardMode;
use crate::policy::cname::CnamePolicy;
use crate::policy::expect::Expect;
use crate::policy::{Mode, RuleRef};
use crate::util::escape::on_one_line;

/// What an export is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Target {
    /// Azure Firewall: an ARM template of a firewall policy's rule collection group
    AzureFirewall,
    /// Azure DNS resolver policy: an ARM template of domain lists and security rules
    AzureDnsPolicy,
    /// Azure ML managed network: outbound FQDN rules for `az ml workspace update --file`
    AzureMl,
    /// Response policy zone, for BIND, Unbound, PowerDNS Recursor and others
    Rpz,
    /// Unbound: local zones for its configuration
    Unbound,
    /// Dnsmasq 2.86 or newer: servers for its configuration
    Dnsmasq,
    /// CoreDNS: a Corefile
    Coredns,
    /// Cilium 1.18 or newer: a CiliumNetworkPolicy
    Cilium,
}

impl Target {
    /// True where the file says whom to ask.
    pub fn names_upstreams(self) -> bool {
        matches!(self, Self::Unbound | Self::Dnsmasq | Self::Coredns)
    }
}

/// An export and what it does not say.
#[derive(Clone, Debug, Default)]
pub struct Export {
    /// The file for the target.
    pub text: String,
    /// What the target cannot express, one rule each.
    pub remarks: Vec<Remark>,
}

/// What became of a rule that the target cannot express as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// `file:line` of the rule; empty where no rule is meant.
    pub place: String,
    /// The rule, and what became of it.
    pub message: String,
}

impl Remark {
    fn about(rule: RuleRef<'_>, message: impl fmt::Display) -> Self {
        Self { place: rule.place(), message: format!("`{rule}` {message}") }
    }

    fn general(message: impl Into<String>) -> Self {
        Self { place: String::new(), message: message.into() }
    }
}

/// In one line; file names and what else comes from outside are escaped.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", on_one_line(&self.place))?;
        }
        write!(f, "{}", on_one_line(&self.message))
    }
}

/// What every target needs to know.
struct Context<'a> {
    assembly: &'a Assembly,
    effective: Effective<'a>,
    /// Write what opens more than the policy does, where the target has nothing closer.
    widen: bool,
}

/// Writes the policy of `assembly` for `target`. With `widen` a rule that the target can only say more broadly is
/// written so; else it is left out.
pub fn export(target: Target, assembly: &Assembly, widen: bool) -> Export {
    let context = Context { assembly, effective: Effective::of(assembly.policy()), widen };
    let mut export = match target {
        Target::AzureFirewall => azure_firewall::write(&context),
        Target::AzureDnsPolicy => azure_dns_policy::write(&context),
        Target::AzureMl => azure_ml::write(&context),
        Target::Rpz => rpz::write(&context),
        Target::Unbound => unbound::write(&context),
        Target::Dnsmasq => dnsmasq::write(&context),
        Target::Coredns => coredns::write(&context),
        Target::Cilium => cilium::write(&context),
    };
    if assembly.policies.groups().len() > 1 {
        let message = "client groups have rules of their own; these are for clients that belong to none";
        export.remarks.push(Remark::general(message.to_owned()));
    }
    if assembly.routes.iter().len() > 1 {
        let message = "routes are left out: all names go to the servers of [upstream]";
        export.remarks.push(Remark::general(message.to_owned()));
    }
    for message in unsaid(assembly) {
        export.remarks.push(Remark::general(message));
    }
    for origin in assembly.local.origins() {
        let message = format!("the local zone `{origin}` is answered by namegate alone; it is left out");
        export.remarks.push(Remark::general(message));
    }
    export
}

/// What no target can say, of the policy as a whole.
fn unsaid(assembly: &Assembly) -> Vec<String> {
    let policy = assembly.policy();
    let rules = |is_meant: fn(&RuleRef<'_>) -> bool| policy.iter().filter(is_meant).count();
    let inspected = rules(|rule| rule.cname() == CnamePolicy::Inspect);
    let expecting = rules(|rule| rule.expect() != Expect::Any);
    let guarded = assembly.settings.tunnel_guard.mode == GuardMode::Enforce;
    [
        (
            inspected > 0,
            format!("answers for {inspected} rules are not inspected: their aliases lead anywhere"),
        ),
        (
            expecting > 0,
            format!("{expecting} rules expect private or public addresses; nothing looks at them"),
        ),
        (guarded, "the tunnel guard is left out: names below a wide rule are not counted".to_owned()),
        (policy.mode() == Mode::Observe, "the policy observes; what is written here blocks".to_owned()),
    ]
    .into_iter()
    .filter_map(|(holds, message)| holds.then_some(message))
    .collect()
}

impl Context<'_> {
    /// Where the file comes from, as comment lines that begin with `mark`.
    fn head(&self, mark: &str, target: &str) -> String {
        let hash = self.assembly.policy().hash();
        format!(
            "{mark} Written by `namegate export {target}` of namegate {}, policy {hash}.\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// The upstream servers by address; `fallback` and a remark where the settings name none.
    fn upstreams(&self, remarks: &mut Vec<Remark>) -> Vec<std::net::SocketAddr> {
        let address = |server: &UpstreamAddress| match server {
            UpstreamAddress::System => None,
            UpstreamAddress::Udp(address) | UpstreamAddress::Tcp(address) => Some(*address),
            UpstreamAddress::Encrypted(_) => {
                let message =
                    format!("the upstream {server} is encrypted; it is left out, never asked in clear");
                remarks.push(Remark::general(message));
                None
            }
        };
        let mut servers: Vec<_> =
            self.assembly.settings.upstream.servers.iter().filter_map(address).collect();
        if servers.is_empty() {
            servers.push(AZURE_RESOLVER);
            let message = format!(
                "no upstream has an address that can be written; {} is in its place: give --upstream to change it",
                AZURE_RESOLVER.ip()
            );
            remarks.push(Remark::general(message));
        }
        servers
    }
}

/// The resolver inside every Azure virtual network (Microsoft Learn, "What is IP address 168.63.129.16?", 2023-03-30).
const AZURE_RESOLVER: std::net::SocketAddr = std::net::SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(168, 63, 129, 16)),
    crate::address::socket::DNS_PORT,
);
