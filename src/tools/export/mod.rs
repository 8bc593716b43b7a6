//! Exports the effective policy to other enforcers, so that one allowlist serves all of them.
//!
//! Every target expresses less than namegate's rules. An export reports each rule that a target cannot express, and
//! allows more than the rule only with `widen`. `fit` finds the closest approximation; each target's module writes it.

mod azure_dns_policy;
mod azure_firewall;
mod azure_ml;
mod cilium;
mod coredns;
mod dnsmasq;
mod fit;
mod layer;
mod rpz;
mod unbound;

use std::fmt;

use clap::ValueEnum;

use crate::address::upstream::UpstreamAddress;
use crate::allowlist::Port;
use crate::assemble::Assembly;
use crate::assemble::effective::Effective;
use crate::config::GuardMode;
use crate::policy::cname::CnamePolicy;
use crate::policy::expect::Expect;
use crate::policy::{Mode, RuleRef};
use crate::util::escape::on_one_line;

/// The target of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Target {
    /// Azure Firewall: ARM template of a rule collection group
    AzureFirewall,
    /// Azure DNS security policy: ARM template of domain lists and rules
    AzureDnsPolicy,
    /// Azure ML managed network: outbound FQDN rules for `az ml workspace update --file`
    AzureMl,
    /// Response policy zone for BIND, Unbound, PowerDNS Recursor and others
    Rpz,
    /// Unbound: `local-zone` configuration
    Unbound,
    /// Dnsmasq 2.86 or newer: `server` configuration
    Dnsmasq,
    /// CoreDNS: a Corefile
    Coredns,
    /// Cilium 1.18 or newer: a CiliumNetworkPolicy
    Cilium,
}

impl Target {
    /// True if the exported file names upstream servers.
    pub fn names_upstreams(self) -> bool {
        matches!(self, Self::Unbound | Self::Dnsmasq | Self::Coredns)
    }
}

/// An export, and the rules it does not fully express.
#[derive(Clone, Debug, Default)]
pub struct Export {
    /// The file for the target.
    pub text: String,
    /// One remark for each rule that the target cannot express.
    pub remarks: Vec<Remark>,
}

/// What the export did with a rule that the target cannot express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// `file:line` of the rule; empty for a general remark.
    pub place: String,
    /// The rule, and what the export did with it.
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

/// One line; file names and other outside text are escaped.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", on_one_line(&self.place))?;
        }
        write!(f, "{}", on_one_line(&self.message))
    }
}

/// The input of every target.
struct Context<'a> {
    assembly: &'a Assembly,
    effective: Effective<'a>,
    /// Allow more than a rule does if the target cannot express the rule.
    widen: bool,
}

/// Writes the policy of `assembly` for `target`. A rule that the target can only express more broadly is not
/// exported, or written more broadly with `widen`.
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
        let message = "only the rules of client group `default` are exported";
        export.remarks.push(Remark::general(message.to_owned()));
    }
    if assembly.routes.iter().len() > 1 {
        let message = match target.names_upstreams() {
            true => "routes are not exported: all names go to `upstream.servers`",
            false => "routes are not exported: this format does not choose upstreams",
        };
        export.remarks.push(Remark::general(message.to_owned()));
    }
    for message in unsaid(assembly) {
        export.remarks.push(Remark::general(message));
    }
    for origin in assembly.local.origins() {
        let message = format!("local zone `{origin}` is not exported: only namegate answers it");
        export.remarks.push(Remark::general(message));
    }
    export
}

/// The features of the policy that no target can express.
fn unsaid(assembly: &Assembly) -> Vec<String> {
    let policy = assembly.policy();
    let rules = |is_meant: fn(&RuleRef<'_>) -> bool| policy.iter().filter(is_meant).count();
    let inspected = rules(|rule| rule.cname() == CnamePolicy::Inspect);
    let expecting = rules(|rule| rule.expect() != Expect::Any);
    let guarded = assembly.settings.tunnel_guard.mode == GuardMode::Enforce;
    [
        (
            inspected > 0,
            format!(
                "`cname = \"inspect\"` is not exported ({inspected} rules): CNAME targets are not checked"
            ),
        ),
        (
            expecting > 0,
            format!("`expect` is not exported ({expecting} rules): addresses in answers are not checked"),
        ),
        (guarded, "the tunnel guard is not exported: names below wildcards are not limited".to_owned()),
        (policy.mode() == Mode::Observe, "the policy is in observe mode, but this export blocks".to_owned()),
    ]
    .into_iter()
    .filter_map(|(holds, message)| holds.then_some(message))
    .collect()
}

impl Context<'_> {
    /// The file header: a comment line that begins with `mark`.
    fn head(&self, mark: &str, target: &str) -> String {
        let hash = self.assembly.policy().hash();
        format!(
            "{mark} Generated by `namegate export {target}`, namegate {}, policy {hash}.\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// The addresses of the upstream servers. If there are none, Azure's resolver and a remark.
    fn upstreams(&self, remarks: &mut Vec<Remark>) -> Vec<std::net::SocketAddr> {
        let address = |server: &UpstreamAddress| match server {
            UpstreamAddress::System => None,
            UpstreamAddress::Udp(address) | UpstreamAddress::Tcp(address) => Some(*address),
            UpstreamAddress::Encrypted(_) => {
                let message = format!(
                    "upstream {server} is not exported: this export writes only unencrypted upstreams"
                );
                remarks.push(Remark::general(message));
                None
            }
        };
        let mut servers: Vec<_> =
            self.assembly.settings.upstream.servers.iter().filter_map(address).collect();
        if servers.is_empty() {
            servers.push(AZURE_RESOLVER);
            let message = format!(
                "no upstream address to export; the export uses {}: set another with --upstream",
                AZURE_RESOLVER.ip()
            );
            remarks.push(Remark::general(message));
        }
        servers
    }

    /// The ports that the rule's vendor says to open; empty if unknown.
    fn ports(&self, rule: Option<RuleRef<'_>>) -> &[Port] {
        rule.and_then(|rule| self.assembly.written(rule)).map_or(&[], |written| &written.ports)
    }

    /// The purpose of the rule's names; empty if unknown.
    fn purpose(&self, rule: Option<RuleRef<'_>>) -> &str {
        rule.and_then(|rule| self.assembly.written(rule)).map_or("", |written| &written.purpose)
    }
}

/// The resolver inside every Azure virtual network (Microsoft Learn, "What is IP address 168.63.129.16?", 2023-03-30).
const AZURE_RESOLVER: std::net::SocketAddr = std::net::SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(168, 63, 129, 16)),
    crate::address::socket::DNS_PORT,
);
