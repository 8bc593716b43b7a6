//! `namegate export`: the effective policy for firewalls and other resolvers.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::output::deliver;
use crate::address::encrypted::EncryptedAddress;
use crate::address::upstream::UpstreamAddress;
use crate::assemble::Assembly;
use crate::cli::output::{FAILED, OK, USAGE, counted, warn};
use crate::tools::export::{
    Cloud, ExportOptions, Namespace, Target, VirtualNetworkId, device_resolver, discover, exact_names, export,
};

/// What to write, and where to.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Firewall or resolver to write for
    #[arg(value_enum)]
    target: Target,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Widen rules that the target cannot express, instead of omitting them
    #[arg(long)]
    widen: bool,
    /// Treat warnings as errors (exit status 1)
    #[arg(long)]
    strict: bool,
    /// azure-dns-policy: filter this virtual network; repeatable
    #[arg(long, value_name = "RESOURCE_ID")]
    vnet: Vec<VirtualNetworkId>,
    /// azure-dns-policy: resolve the allowed names at this server, and allow
    /// the names that their CNAME chains lead to
    #[arg(long, value_name = "SERVER")]
    discover: Option<UpstreamAddress>,
    /// azure-ml, azure-ai-foundry: cloud of the managed network [default: public]
    #[arg(long, value_enum, hide_default_value = true)]
    cloud: Option<Cloud>,
    /// cilium, cluster-network-policy: apply the policy to this namespace;
    /// repeatable [default: all but kube-system]
    #[arg(long, value_name = "NAME")]
    namespace: Vec<Namespace>,
    /// ztdns: encrypted DNS server of the devices, which forwards to namegate,
    /// such as tls://10.0.0.4#dns.example; repeatable
    #[arg(long, value_name = "SERVER", value_parser = device_resolver)]
    resolver: Vec<EncryptedAddress>,
}

impl Arguments {
    /// What is wrong with the options for this target, and what to do.
    fn fault(&self, assembly: &Assembly) -> Option<String> {
        let target = self.target;
        let only_for: [(&str, bool, &[Target]); 5] = [
            ("--vnet", !self.vnet.is_empty(), &[Target::AzureDnsPolicy]),
            ("--discover", self.discover.is_some(), &[Target::AzureDnsPolicy]),
            ("--cloud", self.cloud.is_some(), &[Target::AzureMl, Target::AzureAiFoundry]),
            ("--namespace", !self.namespace.is_empty(), &[Target::Cilium, Target::ClusterNetworkPolicy]),
            ("--resolver", !self.resolver.is_empty(), &[Target::Ztdns]),
        ];
        for (option, is_given, targets) in only_for {
            if is_given && !targets.contains(&target) {
                let targets: Vec<String> = targets.iter().map(|target| target.name()).collect();
                return Some(format!(
                    "error: {option} has no meaning for `{}`\n  help: it is for {}",
                    target.name(),
                    targets.join(" and ")
                ));
            }
        }
        if self.discover.is_some() && self.discovery_server().is_none() {
            return Some(
                "error: --discover needs the address of a server that answers over UDP\n  help: write its address, \
                 such as `--discover 168.63.129.16`"
                    .to_owned(),
            );
        }
        if target == Target::Ztdns && self.resolver.is_empty() {
            return Some(
                "error: ZTDNS has no list of names: devices trust what their encrypted DNS server answers\n  help: pass \
                 the encrypted server that forwards to namegate, such as `--resolver tls://10.0.0.4#dns.example`"
                    .to_owned(),
            );
        }
        (target.names_upstreams() && has_only_encrypted_upstreams(assembly)).then(|| {
            "error: all upstreams are encrypted, and this export writes only unencrypted ones\n  help: pass a plain \
             resolver with `--upstream ADDRESS`"
                .to_owned()
        })
    }

    fn discovery_server(&self) -> Option<SocketAddr> {
        match self.discover.as_ref()? {
            UpstreamAddress::Udp(address) => Some(*address),
            _ => None,
        }
    }
}

/// True if every upstream is encrypted.
fn has_only_encrypted_upstreams(assembly: &Assembly) -> bool {
    assembly.settings.upstream.servers.iter().all(UpstreamAddress::is_encrypted)
}

/// Exports. Prints a line on standard error for each rule that the target cannot express. Exit status 1 if the export
/// blocks a required host.
pub(super) fn run(arguments: &Arguments, assembly: &Assembly) -> u8 {
    if let Some(fault) = arguments.fault(assembly) {
        warn(&fault);
        return USAGE;
    }
    let discovered = arguments
        .discovery_server()
        .map(|server| discover(server, &exact_names(assembly)))
        .unwrap_or_default();
    let options = ExportOptions {
        widen: arguments.widen,
        vnets: arguments.vnet.clone(),
        discovered,
        cloud: arguments.cloud.unwrap_or_default(),
        namespaces: arguments.namespace.clone(),
        resolvers: arguments.resolver.clone(),
    };
    let export = export(arguments.target, assembly, &options);
    for remark in &export.remarks {
        warn(&format!("{}: {remark}", if remark.is_loss { "error" } else { "warning" }));
    }
    let losses = export.remarks.iter().filter(|remark| remark.is_loss).count() as u64;
    match deliver(&export.text, arguments.output.as_deref()) {
        OK if losses > 0 => {
            warn(&format!("error: the export lacks {}", counted(losses, "required rule")));
            FAILED
        }
        OK if arguments.strict && !export.remarks.is_empty() => {
            let warnings = counted(export.remarks.len() as u64, "warning");
            warn(&format!("error: {warnings}, and --strict is set"));
            FAILED
        }
        status => status,
    }
}
