//! Exports the effective policy to other enforcers, so that one allowlist serves all of them.
//!
//! Every target expresses less than namegate's rules. An export reports each rule that a target cannot express, and
//! allows more than the rule only with `widen`. `fit` finds the closest approximation; each target's module writes it.

mod aliases;
mod azure_dns_policy;
mod azure_firewall;
mod cilium;
mod cluster_network_policy;
mod coredns;
mod discover;
mod dnsmasq;
mod fit;
mod kubernetes;
mod layer;
mod managed_network;
mod options;
mod route53;
mod rpz;
mod unbound;
mod writable;
mod ztdns;

use std::fmt;

use clap::ValueEnum;

pub use discover::{Discovery, Undiscovered, discover};
pub use options::{Cloud, ExportOptions, Namespace, OptionError, VirtualNetworkId, device_resolver};

use crate::address::upstream::UpstreamAddress;
use crate::allowlist::Port;
use crate::assemble::Assembly;
use crate::assemble::effective::Effective;
use crate::config::GuardMode;
use crate::hazard::{is_name_of_others, names_of_others, tunnel_below};
use crate::policy::bypass::BypassName;
use crate::policy::cname::CnamePolicy;
use crate::policy::expect::Expect;
use crate::policy::rule::{Action, Scope};
use crate::policy::{Mode, RuleRef};
use crate::util::escape::on_one_line;
use crate::wire::name::Name;

/// The target of an export. Its lines are the help text and the table in docs/exports.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Target {
    /// Azure Firewall: ARM template of a rule collection group
    AzureFirewall,
    /// Azure DNS security policy: ARM template of domain lists and rules
    AzureDnsPolicy,
    /// Azure ML managed network: rules for `az ml workspace update`
    AzureMl,
    /// AI Foundry managed network: rules for `outbound-rule bulk-set`
    AzureAiFoundry,
    /// AWS Route 53 Resolver DNS Firewall: CloudFormation template
    Route53,
    /// Response policy zone: BIND, Unbound, PowerDNS Recursor, others
    Rpz,
    /// Unbound: `local-zone` configuration
    Unbound,
    /// Dnsmasq 2.86 or newer: `server` configuration
    Dnsmasq,
    /// CoreDNS: a Corefile
    Coredns,
    /// Cilium 1.19 or newer: network policy with DNS rules
    Cilium,
    /// Kubernetes ClusterNetworkPolicy v1alpha2 with `domainNames`
    ClusterNetworkPolicy,
    /// Windows Zero Trust DNS: Intune profile for devices, JSON
    Ztdns,
}

impl Target {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// True if the exported file names upstream servers.
    pub fn names_upstreams(self) -> bool {
        matches!(self, Self::Unbound | Self::Dnsmasq | Self::Coredns)
    }

    /// True if the target allows a name only with all names below it.
    fn covers_subdomains(self) -> bool {
        matches!(self, Self::AzureDnsPolicy | Self::Unbound)
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
    /// The export blocks hosts that the current edition of a vendor's list requires.
    pub is_loss: bool,
}

impl Remark {
    fn about(rule: RuleRef<'_>, message: impl fmt::Display) -> Self {
        Self { place: rule.place(), message: format!("`{rule}` {message}"), is_loss: false }
    }

    fn general(message: impl Into<String>) -> Self {
        Self { place: String::new(), message: message.into(), is_loss: false }
    }
}

/// One line; file names and other outside text are escaped.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", on_one_line(&self.place))?;
        }
        write!(f, "{}", on_one_line(&self.message))?;
        if self.is_loss {
            write!(f, " (the vendor's current list requires it)")?;
        }
        Ok(())
    }
}

/// The input of every target.
struct Context<'a> {
    target: Target,
    assembly: &'a Assembly,
    effective: Effective<'a>,
    options: &'a ExportOptions,
}

/// Writes the policy of `assembly` for `target`. A rule that the target can only express more broadly is widened if the
/// further names belong to the same owner, or with `options.widen`. Otherwise it is not exported.
pub fn export(target: Target, assembly: &Assembly, options: &ExportOptions) -> Export {
    if target == Target::Ztdns {
        return ztdns::write(assembly, options);
    }
    let mut effective = Effective::of(assembly.policy());
    if target.covers_subdomains() {
        add_names_of_others(&mut effective);
    }
    let context = Context { target, assembly, effective, options };
    let mut export = match target {
        Target::AzureFirewall => azure_firewall::write(&context),
        Target::AzureDnsPolicy => azure_dns_policy::write(&context),
        Target::AzureMl => managed_network::write_azure_ml(&context),
        Target::AzureAiFoundry => managed_network::write_ai_foundry(&context),
        Target::Route53 => route53::write(&context),
        Target::Rpz => rpz::write(&context),
        Target::Unbound => unbound::write(&context),
        Target::Dnsmasq => dnsmasq::write(&context),
        Target::Coredns => coredns::write(&context),
        Target::Cilium => cilium::write(&context),
        Target::ClusterNetworkPolicy => cluster_network_policy::write(&context),
        Target::Ztdns => Export::default(),
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
    export.remarks.extend(endings(&context.effective));
    for message in unsaid(assembly) {
        export.remarks.push(Remark::general(message));
    }
    for origin in assembly.local.origins() {
        let message = format!("local zone `{origin}` is not exported: only namegate answers it");
        export.remarks.push(Remark::general(message));
    }
    export
}

/// The names that an exact rule allows.
pub fn exact_names(assembly: &Assembly) -> Vec<Name> {
    let effective = Effective::of(assembly.policy());
    exactly_allowed(&effective).cloned().collect()
}

fn exactly_allowed<'e>(effective: &'e Effective<'_>) -> impl Iterator<Item = &'e Name> {
    let is_allowed =
        |rule: RuleRef<'_>| rule.action() == Action::Allow && rule.pattern().scope() == Scope::Exact;
    effective.nodes().filter(move |node| node.own.is_some_and(is_allowed)).map(|node| &node.name)
}

/// Adds the names of others below names that are allowed alone, so that [`fit::fit`] can leave them out of what it widens.
fn add_names_of_others(effective: &mut Effective<'_>) {
    let is_below_an_allowed_one =
        |other: &Name| exactly_allowed(effective).any(|name| other != name && other.is_within(name));
    let bypass = BypassName::all().map(|(_, pattern)| pattern.name().clone());
    let mut others: Vec<Name> = names_of_others().chain(bypass).filter(is_below_an_allowed_one).collect();
    others.extend(exactly_allowed(effective).filter_map(tunnel_below));
    others.iter().for_each(|other| effective.add_name(other));
}

/// True if names at or below `name` are not its parent's owner's, or lead around the allowlist: what is widened stops
/// there.
fn is_of_others(name: &Name) -> bool {
    is_name_of_others(name) || BypassName::all().any(|(_, pattern)| pattern.name() == name)
}

/// The rules that end: an export keeps them.
fn endings<'e>(effective: &'e Effective<'_>) -> impl Iterator<Item = Remark> + 'e {
    effective.nodes().flat_map(|node| {
        let below = node.below.filter(|rule| node.own.is_none_or(|own| own.id() != rule.id()));
        let rules = [node.own, below].into_iter().flatten();
        rules.filter_map(|rule| {
            let until = rule.until()?;
            Some(Remark::about(rule, format!("ends {until}, but stays in the export: export again then")))
        })
    })
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
    /// A remark about a rule whose names the export blocks.
    fn blocked(&self, rule: RuleRef<'_>, message: impl fmt::Display) -> Remark {
        Remark { is_loss: self.is_required(rule), ..Remark::about(rule, message) }
    }

    /// True if the current edition of a vendor's list has the rule.
    fn is_required(&self, rule: RuleRef<'_>) -> bool {
        let Some(zone) = self.assembly.zones.iter().find(|zone| zone.file == rule.source().file) else {
            return false;
        };
        self.assembly.written(rule).is_some_and(|written| zone.is_current(written))
    }

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
