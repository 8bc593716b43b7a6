//! [`Resolver`]: a resolver from Debian that forwards everything to one address.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use super::world::{Anchor, Running, retried};
use crate::support::{Query, UdpClient, free_address};

/// The kind of resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unbound,
    Bind,
    Knot,
    PowerDns,
    Dnsmasq,
    /// systemd-resolved, which validates where it can (`DNSSEC=allow-downgrade`).
    Resolved,
}

impl Kind {
    /// The kinds that run without their own namespaces.
    pub(super) const PLAIN: [Self; 5] =
        [Self::Unbound, Self::Bind, Self::Knot, Self::PowerDns, Self::Dnsmasq];
}

/// A running resolver, killed when dropped.
pub(super) struct Resolver {
    _running: Running,
    address: SocketAddr,
    _directory: TempDir,
}

impl Resolver {
    /// Starts a resolver that validates answers of `forward`, starting from `anchor`.
    pub(super) fn validating(kind: Kind, forward: SocketAddr, anchor: &Anchor) -> Self {
        Self::start(kind, forward, Some(anchor))
    }

    /// Starts a resolver that does not validate.
    pub(super) fn forwarding(kind: Kind, forward: SocketAddr) -> Self {
        Self::start(kind, forward, None)
    }

    fn start(kind: Kind, forward: SocketAddr, anchor: Option<&Anchor>) -> Self {
        retried(|| Self::try_start(kind, forward, anchor))
    }

    fn try_start(kind: Kind, forward: SocketAddr, anchor: Option<&Anchor>) -> Result<Self, String> {
        let directory = TempDir::new().expect("a temporary directory");
        let address = free_address();
        let mut running = launch(kind, directory.path(), address.port(), forward.port(), anchor);
        // Every resolver answers this name itself.
        let ready = running.wait_for(address, &Query::new("ready.invalid", "A"));
        ready.map_err(|error| format!("{kind:?}: {error}"))?;
        Ok(Self { _running: running, address, _directory: directory })
    }

    pub(super) fn client(&self) -> UdpClient {
        UdpClient::of(self.address)
    }
}

/// Starts systemd-resolved with its own settings, trust anchors, runtime files and user, visible only to it.
const RESOLVED_START: &str = "\
files=$PWD
cp /etc/passwd /etc/group .
echo 'systemd-resolve:x:64990:64990::/:/usr/sbin/nologin' >> passwd
echo 'systemd-resolve:x:64990:' >> group
mount --bind passwd /etc/passwd
mount --bind group /etc/group
mount --bind settings /etc/systemd
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/resolve
chown 64990:64990 /run/systemd/resolve
cp -r \"$files/anchors\" /run/dnssec-trust-anchors.d
exec \"$1\"
";

fn launch(kind: Kind, directory: &Path, port: u16, forward: u16, anchor: Option<&Anchor>) -> Running {
    let path = directory.to_str().expect("a path in UTF-8");
    let write = |file: &str, text: String| {
        std::fs::write(directory.join(file), text).expect("a file can be written");
    };
    let fields = |separator: &str| {
        anchor.map(|anchor| {
            let Anchor { tag, algorithm, digest_type, digest } = anchor;
            [tag.as_str(), algorithm, digest_type, digest].join(separator)
        })
    };
    let start = |program: &str, arguments: &[&str]| Running::start(directory, program, arguments, "log");
    match kind {
        Kind::Unbound => {
            let validation = match fields(" ") {
                Some(ds) => format!("trust-anchor: \". DS {ds}\""),
                None => "module-config: \"iterator\"".to_owned(),
            };
            let settings = format!(
                "server:\n interface: 127.0.0.1@{port}\n do-daemonize: no\n use-syslog: no\n chroot: \"\"\n \
                 username: \"\"\n pidfile: \"\"\n directory: \"{path}\"\n do-not-query-localhost: no\n \
                 local-zone: \"test.\" nodefault\n {validation}\n\
                 remote-control:\n control-enable: no\n\
                 forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@{forward}\n"
            );
            write("unbound.conf", settings);
            start("unbound", &["-d", "-c", "unbound.conf"])
        }
        Kind::Bind => {
            let (validation, anchors) = match anchor {
                Some(Anchor { tag, algorithm, digest_type, digest }) => (
                    "yes",
                    format!(
                        "trust-anchors {{ . static-ds {tag} {algorithm} {digest_type} \"{digest}\"; }};\n"
                    ),
                ),
                None => ("no", String::new()),
            };
            let settings = format!(
                "options {{ directory \"{path}\"; pid-file none; session-keyfile none; recursion yes;\n \
                 listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n \
                 forwarders port {forward} {{ 127.0.0.1; }}; forward only; empty-zones-enable no;\n \
                 dnssec-validation {validation}; }};\ncontrols {{ }};\n{anchors}"
            );
            write("named.conf", settings);
            start("named", &["-g", "-n", "1", "-c", "named.conf"])
        }
        Kind::Knot => {
            let (anchors, forwarding) = match fields(" ") {
                Some(ds) => (format!("trust_anchors.add('. IN DS {ds}')\n"), "FORWARD"),
                None => (String::new(), "STUB"),
            };
            let settings = format!(
                "net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})\ntrust_anchors.remove('.')\n{anchors}\
                 policy.add(policy.all(policy.{forwarding}({{'127.0.0.1@{forward}'}})))\ncache.size = 10 * MB\n"
            );
            write("kresd.conf", settings);
            start("kresd", &["-n", "-c", "kresd.conf", "."])
        }
        Kind::PowerDns => {
            let validation = if anchor.is_some() { "validate" } else { "off" };
            let anchors = fields(" ").map(|ds| format!("clearDS('.')\naddDS('.', '{ds}')\n"));
            write("anchors.lua", anchors.unwrap_or_default());
            let settings = format!(
                "local-address=127.0.0.1\nlocal-port={port}\nforward-zones-recurse=.=127.0.0.1:{forward}\n\
                 lua-config-file={path}/anchors.lua\nsocket-dir={path}\ndnssec={validation}\ndaemon=no\n\
                 disable-syslog=yes\ndont-query=\nsecurity-poll-suffix=\nthreads=1\nloglevel=4\n"
            );
            write("recursor.conf", settings);
            start("pdns_recursor", &[&format!("--config-dir={path}")])
        }
        Kind::Dnsmasq => {
            let (port, server) = (format!("--port={port}"), format!("--server=127.0.0.1#{forward}"));
            let mut arguments = vec![
                "--no-daemon",
                "--user=root",
                "--bind-interfaces",
                "--listen-address=127.0.0.1",
                "--no-resolv",
                "--no-hosts",
                "--conf-file=/dev/null",
                &port,
                &server,
            ];
            let anchor = fields(",").map(|ds| format!("--trust-anchor=.,{ds}"));
            if let Some(anchor) = &anchor {
                arguments.extend(["--dnssec", anchor]);
            }
            start("dnsmasq", &arguments)
        }
        Kind::Resolved => {
            let validation = if anchor.is_some() { "allow-downgrade" } else { "no" };
            let settings = format!(
                "[Resolve]\nDNS=127.0.0.1:{forward}\nFallbackDNS=\nDomains=~.\nDNSSEC={validation}\nLLMNR=no\n\
                 MulticastDNS=no\nDNSStubListener=no\nDNSStubListenerExtra=127.0.0.1:{port}\n"
            );
            for folder in ["settings", "anchors"] {
                std::fs::create_dir(directory.join(folder)).expect("a directory can be made");
            }
            write("settings/resolved.conf", settings);
            write(
                "anchors/root.positive",
                fields(" ").map(|ds| format!(". IN DS {ds}\n")).unwrap_or_default(),
            );
            // Replaces the built-in ones, which include `test`.
            write("anchors/none.negative", "home.arpa\n".to_owned());
            write("start", RESOLVED_START.to_owned());
            let binary = std::env::var("NAMEGATE_SYSTEMD_RESOLVED");
            let binary = binary.unwrap_or_else(|_| "/lib/systemd/systemd-resolved".to_owned());
            assert!(
                Path::new(&binary).exists(),
                "{binary}, or the file in NAMEGATE_SYSTEMD_RESOLVED, is required"
            );
            start("unshare", &["--mount", "--propagation", "private", "sh", "-e", "start", &binary])
        }
    }
}
