//! Starts the servers, each with a minimal configuration for loopback.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::asker::{Answered, ask_all};
use crate::support::{eventually, free_address};

/// A server and the format it loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// BIND with a response policy zone.
    Bind,
    /// Unbound with local zones.
    Unbound,
    /// Unbound with a response policy zone.
    UnboundRpz,
    /// PowerDNS Recursor with a response policy zone.
    PowerDns,
    /// Dnsmasq.
    Dnsmasq,
}

/// A running server, killed when dropped.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Server {
    /// Starts a server that loads `export` and forwards only to `upstream` on loopback.
    pub(super) fn start(kind: Kind, export: &str, upstream: u16) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let address = free_address();
        let path = directory.path().to_str().expect("a path in UTF-8");
        let (program, arguments, settings) = launch(kind, path, address.port(), upstream);
        fs::write(directory.path().join("export"), export).expect("a file can be written");
        for (file, text) in settings {
            fs::write(directory.path().join(file), text).expect("a file can be written");
        }
        let log = fs::File::create(directory.path().join("log")).expect("a file can be made");
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let log = || fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        eventually("the server's first answer", || {
            let ended = child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "{program} ended: {}", log());
            let blocked = ["ready.nowhere.invalid".to_owned()];
            (ask_all(address, &blocked) == [Answered::No]).then_some(())
        });
        Self { child, address, _directory: directory }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Program, arguments and files besides the export.
type Launch = (&'static str, Vec<String>, Vec<(&'static str, String)>);

fn launch(kind: Kind, directory: &str, port: u16, upstream: u16) -> Launch {
    let file = |name: &str| format!("{directory}/{name}");
    match kind {
        Kind::Dnsmasq => {
            let arguments = ["--no-daemon", "--user=root", "--bind-interfaces", "--listen-address=127.0.0.1"];
            let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
            arguments.extend([format!("--port={port}"), format!("--conf-file={}", file("export"))]);
            // As many queries as the client keeps in flight, more than Dnsmasq's default for a home network.
            arguments.push("--dns-forward-max=10000".to_owned());
            ("dnsmasq", arguments, Vec::new())
        }
        Kind::Unbound | Kind::UnboundRpz => {
            let (modules, rest) = match kind {
                Kind::Unbound => ("iterator", format!("include: \"{}\"\n", file("export"))),
                _ => (
                    "respip iterator",
                    format!(
                        "rpz:\n name: rpz.namegate\n zonefile: \"{}\"\n\
                         forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@{upstream}\n",
                        file("export")
                    ),
                ),
            };
            let settings = format!(
                "server:\n interface: 127.0.0.1@{port}\n do-daemonize: no\n use-syslog: no\n chroot: \"\"\n \
                 username: \"\"\n pidfile: \"\"\n directory: \"{directory}\"\n do-not-query-localhost: no\n \
                 module-config: \"{modules}\"\nremote-control:\n control-enable: no\n{rest}"
            );
            (
                "unbound",
                vec!["-d".to_owned(), "-c".to_owned(), file("unbound.conf")],
                vec![("unbound.conf", settings)],
            )
        }
        Kind::Bind => {
            let settings = format!(
                "options {{ directory \"{directory}\"; pid-file none; session-keyfile none; recursion yes;\n \
                 listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursive-clients 10000;\n \
                 forwarders port {upstream} {{ 127.0.0.1; }}; forward only; dnssec-validation no;\n \
                 empty-zones-enable no; qname-minimization off;\n \
                 response-policy {{ zone \"rpz.namegate\"; }} qname-wait-recurse no break-dnssec yes; }};\n\
                 controls {{ }};\n\
                 zone \"rpz.namegate\" {{ type primary; file \"{}\"; }};\n",
                file("export")
            );
            let arguments = ["-g", "-n", "1", "-c", "named.conf"].map(str::to_owned).to_vec();
            ("named", arguments, vec![("named.conf", settings)])
        }
        Kind::PowerDns => {
            let settings = format!(
                "local-address=127.0.0.1\nlocal-port={port}\nforward-zones-recurse=.=127.0.0.1:{upstream}\n\
                 lua-config-file={}\nsocket-dir={directory}\ndnssec=off\ndaemon=no\ndisable-syslog=yes\ndont-query=\n\
                 qname-minimization=no\nsecurity-poll-suffix=\nthreads=1\nserver-down-max-fails=0\nloglevel=3\n\
                 any-to-tcp=no\nserve-rfc1918=no\nexport-etc-hosts=no\n",
                file("rpz.lua")
            );
            let lua = format!("rpzFile(\"{}\", {{ policyName = \"namegate\" }})\n", file("export"));
            let arguments = vec![format!("--config-dir={directory}")];
            ("pdns_recursor", arguments, vec![("recursor.conf", settings), ("rpz.lua", lua)])
        }
    }
}
