//! `namegate init`: a settings file for an Azure Machine Learning workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use super::import::read;
use super::output::deliver;
use crate::address::socket::DNS_PORT;
use crate::cli::output::{FAILED, OK, USAGE, counted, today, warn};
use crate::config::{DEFAULT_PATH, listen_address};
use crate::foreign::dependencies;
use crate::net::socket::source_address;
use crate::tools::init::{AzureCloud, DoubtfulHost, InitRequest, SettingsPlan, ask, plan, to_toml};

/// Azure's resolver; the address from which this machine reaches it is the one that clients query.
const AZURE_RESOLVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// The stub listener of systemd-resolved.
const STUB: &str = "127.0.0.53";

/// What the workspace needs, and where to write.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// JSON of `outboundNetworkDependenciesEndpoints`; `-` is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Cloud of the workspace [default: the one that FILE belongs to, else public]
    #[arg(long, value_enum)]
    cloud: Option<AzureCloud>,
    /// Region of the workspace or its compute; repeatable
    #[arg(long, value_name = "REGION", value_delimiter = ',')]
    region: Vec<String>,
    /// Storage account; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    storage: Vec<String>,
    /// Container registry; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    acr: Vec<String>,
    /// Key vault; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    key_vault: Vec<String>,
    /// Leave out rules that also allow names of other tenants
    #[arg(long)]
    strict: bool,
    /// Address to listen on; repeatable [default: this machine's address, port 53]
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address, value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// Write to this file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// Writes settings; exit status 0 written, 1 not written, 2 the input cannot be used.
pub(super) fn run(arguments: Arguments) -> u8 {
    let output = arguments.output.clone();
    if let Some(path) = output.as_deref().filter(|path| !arguments.force && path.symlink_metadata().is_ok()) {
        let path = path.display();
        warn(&format!("error: {path}: already exists\n  help: pass --force to replace it, or another file"));
        return FAILED;
    }
    let plan = match request(arguments).and_then(|request| plan(request).map_err(|error| error.to_string())) {
        Ok(plan) => plan,
        Err(error) => {
            warn(&error);
            return USAGE;
        }
    };
    let file = output.as_deref().unwrap_or_else(|| Path::new(DEFAULT_PATH)).display().to_string();
    let written = deliver(&to_toml(&plan, &file), output.as_deref());
    if written == OK {
        summary(&plan);
    }
    written
}

/// What the arguments or the answers ask for, or the error to print.
fn request(arguments: Arguments) -> Result<InitRequest, String> {
    let Arguments { from, cloud, region, storage, acr, key_vault, strict, listen, .. } = arguments;
    let resources =
        BTreeMap::from([("region", region), ("storage", storage), ("acr", acr), ("key_vault", key_vault)]);
    let own = own_address();
    let is_asked = from.is_none() && cloud.is_none() && !strict && resources.values().all(Vec::is_empty);
    let listen = if listen.is_empty() { vec![own] } else { listen };
    if let Some(wildcard) = listen.iter().find(|address| collides(**address, &resolv_conf())) {
        return Err(format!(
            "error: --listen {wildcard}: systemd-resolved listens on {STUB}:53, and the two would collide\n  \
             help: use this machine's address, such as {own}"
        ));
    }
    if is_asked {
        return asked(*listen.first().unwrap_or(&own));
    }
    let (dependencies, origin) = match &from {
        None => (Vec::new(), "options".to_owned()),
        Some(file) => {
            let source = read(file);
            let dependencies = source.and_then(|source| dependencies::read(&source));
            let dependencies = dependencies.map_err(|report| report.render(false))?;
            let different: BTreeSet<String> =
                dependencies.iter().map(|one| one.pattern.to_string()).collect();
            let hosts = counted(different.len() as u64, "needed host");
            let file =
                if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
            (dependencies, format!("{file} ({hosts})"))
        }
    };
    Ok(InitRequest { cloud, resources, dependencies, strict, listen, origin, today: today() })
}

/// What the user answers on the terminal.
fn asked(listen: SocketAddr) -> Result<InitRequest, String> {
    if !io::stdin().is_terminal() {
        return Err("error: no workspace given, and standard input is not a terminal\n  \
                    help: pass --from FILE, or options such as --region westeurope --storage NAME"
            .to_owned());
    }
    let answers = ask(&mut io::stdin().lock(), &mut io::stderr().lock(), listen).map_err(|error| {
        format!("error: {error}\n  help: pass --from FILE, or options such as --region westeurope")
    })?;
    Ok(InitRequest {
        cloud: Some(answers.cloud),
        resources: answers.resources,
        dependencies: Vec::new(),
        strict: answers.strict,
        listen: vec![answers.listen],
        origin: "answers to its questions".to_owned(),
        today: today(),
    })
}

/// The address from which this machine reaches Azure's resolver; loopback if there is no network. Sends nothing.
fn own_address() -> SocketAddr {
    let source = source_address(IpAddr::V4(AZURE_RESOLVER)).unwrap_or_else(|| Ipv4Addr::LOCALHOST.into());
    SocketAddr::new(source, DNS_PORT)
}

fn resolv_conf() -> String {
    fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}

/// True if `address` is a wildcard on the port on which systemd-resolved listens, by what resolv.conf says.
fn collides(address: SocketAddr, resolv_conf: &str) -> bool {
    let is_stub = |line: &str| line.split_whitespace().eq(["nameserver", STUB]);
    address.ip().is_unspecified() && address.port() == DNS_PORT && resolv_conf.lines().any(is_stub)
}

/// One line for people about what was written, and what stays blocked.
fn summary(plan: &SettingsPlan) {
    let zones: Vec<&str> = plan.zones.iter().map(|list| &*list.name).collect();
    let mut parts = vec![format!("allowlists {}", zones.join(", "))];
    if !plan.parameters.is_empty() {
        let values = |(name, values): (&String, &Vec<String>)| format!("{name} {}", values.join(" "));
        parts.push(format!(
            "parameters {}",
            plan.parameters.iter().map(values).collect::<Vec<_>>().join(", ")
        ));
    }
    if !plan.allow.is_empty() {
        parts.push(format!("{} in policy.allow", counted(plan.allow.len() as u64, "name")));
    }
    warn(&parts.join("; "));
    for DoubtfulHost { host, doubt } in &plan.doubtful {
        warn(&format!(
            "warning: {} is needed, but not allowed: it is {doubt}\n  \
             help: if you know the name and want it, remove its `#` in policy.allow",
            host.pattern
        ));
    }
    for wildcard in &plan.wildcards {
        warn(&format!(
            "warning: {} is needed, but not allowed: it also allows names of other tenants\n  \
             help: find the names that your jobs query with `namegate learn`, and add those; or remove its `#` in policy.allow",
            wildcard.pattern
        ));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn wildcards_collide_with_systemd_resolved() {
        let stub = "# stub\nnameserver  127.0.0.53\noptions edns0\n";
        for (address, resolv_conf, expected) in [
            ("0.0.0.0:53", stub, true),
            ("[::]:53", stub, true),
            ("0.0.0.0:1053", stub, false),
            ("10.0.0.4:53", stub, false),
            ("127.0.0.1:53", stub, false),
            ("0.0.0.0:53", "nameserver 168.63.129.16\n", false),
            ("0.0.0.0:53", "#nameserver 127.0.0.53\n", false),
            ("0.0.0.0:53", "", false),
        ] {
            assert_eq!(collides(address.parse().unwrap(), resolv_conf), expected, "{address} {resolv_conf}");
        }
    }
}
