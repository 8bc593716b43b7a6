//! The peers: Debian's packages, each configured to deny by default, with one worker and its usual cache size.

use std::collections::BTreeSet;
use std::path::Path;

use crate::contender::{Contender, Kind, Site};

/// All peers.
pub(crate) fn all() -> Vec<Contender> {
    vec![
        Contender {
            many_rules: true,
            ..peer("unbound", "/usr/sbin/unbound", unbound, |site| {
                vec!["-d".into(), "-c".into(), site.path("unbound.conf")]
            })
        },
        Contender {
            many_rules: true,
            ..peer("dnsdist", "/usr/bin/dnsdist", dnsdist, |site| {
                vec!["--supervised".into(), "--disable-syslog".into(), "-C".into(), site.path("dnsdist.conf")]
            })
        },
        peer("pdns-recursor", "/usr/sbin/pdns_recursor", pdns_recursor, |site| {
            vec![format!("--config-dir={}", site.directory.display())]
        }),
        peer("knot-resolver", "/usr/sbin/kresd", knot_resolver, |site| {
            vec!["-n".into(), "-c".into(), site.path("kresd.conf"), site.directory.display().to_string()]
        }),
        Contender {
            many_rules: true,
            ..peer("dnsmasq", "/usr/sbin/dnsmasq", dnsmasq, |site| {
                vec!["--keep-in-foreground".into(), format!("--conf-file={}", site.path("dnsmasq.conf"))]
            })
        },
        peer("bind9", "/usr/sbin/named", bind9, |site| {
            vec!["-f".into(), "-n".into(), "1".into(), "-c".into(), site.path("named.conf")]
        }),
    ]
}

type Files = Vec<(&'static str, String)>;

/// A peer with the same name as its package.
fn peer(
    name: &'static str,
    program: &str,
    files: fn(&Site<'_>) -> Files,
    arguments: fn(&Site<'_>) -> Vec<String>,
) -> Contender {
    let program = Path::new(program).into();
    Contender { name, kind: Kind::Peer(name), program, arguments, files, workers: 1, many_rules: false }
}

fn unbound(site: &Site<'_>) -> Files {
    let (listen, upstream) = (site.listen, site.upstream);
    let zones = site.lines(|suffix| format!("  local-zone: \"{suffix}.\" transparent"));
    let configuration = format!(
        r#"server:
  interface: {ip}@{port}
  do-ip6: no
  num-threads: 1
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "." always_nxdomain
{zones}
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {upstream_ip}@{upstream_port}
"#,
        ip = listen.ip(),
        port = listen.port(),
        directory = site.directory.display(),
        upstream_ip = upstream.ip(),
        upstream_port = upstream.port(),
    );
    vec![("unbound.conf", configuration)]
}

fn dnsdist(site: &Site<'_>) -> Files {
    let configuration = format!(
        r#"setSecurityPollSuffix("")
setMaxTCPClientThreads(1)
setLocal("{listen}")
newServer({{address = "{upstream}"}}):setUp()
getPool(""):setCache(newPacketCache(100000))
allowed = newSuffixMatchNode()
for suffix in io.lines("{suffixes}") do
  allowed:add(suffix)
end
addAction(NotRule(SuffixMatchNodeRule(allowed)), RCodeAction(DNSRCode.NXDOMAIN))
"#,
        listen = site.listen,
        upstream = site.upstream,
        suffixes = site.path("suffixes"),
    );
    vec![("dnsdist.conf", configuration), ("suffixes", site.lines(str::to_owned))]
}

fn pdns_recursor(site: &Site<'_>) -> Files {
    let configuration = format!(
        "local-address={listen}\nforward-zones-recurse=.={upstream}\nthreads=1\npdns-distributes-queries=no\n\
         dnssec=off\ndaemon=no\nwrite-pid=no\nsocket-dir={directory}\nsecurity-poll-suffix=\nquiet=yes\n\
         loglevel=3\nlua-config-file={lua}\n",
        listen = site.listen,
        upstream = site.upstream,
        directory = site.directory.display(),
        lua = site.path("policy.lua"),
    );
    let lua = format!("rpzFile(\"{}\", {{policyName = \"allowed\"}})\n", site.path("allowed.rpz"));
    vec![("recursor.conf", configuration), ("policy.lua", lua), ("allowed.rpz", response_policy(site))]
}

fn knot_resolver(site: &Site<'_>) -> Files {
    let (listen, upstream) = (site.listen, site.upstream);
    let suffixes = site.lines(|suffix| format!("  \"{suffix}.\","));
    let configuration = format!(
        r#"log_level("err")
net.listen("{ip}", {port}, {{kind = "dns"}})
trust_anchors.remove(".")
cache.open(100 * MB, "lmdb://{directory}")
policy.add(policy.suffix(policy.FORWARD("{upstream_ip}@{upstream_port}"), policy.todnames({{
{suffixes}}})))
policy.add(policy.all(policy.DENY))
"#,
        ip = listen.ip(),
        port = listen.port(),
        directory = site.directory.display(),
        upstream_ip = upstream.ip(),
        upstream_port = upstream.port(),
    );
    vec![("kresd.conf", configuration)]
}

/// dnsmasq's default limits suit a household: 150 cached names, 150 pending queries.
fn dnsmasq(site: &Site<'_>) -> Files {
    let (listen, upstream) = (site.listen, site.upstream);
    let target = format!("{}#{}", upstream.ip(), upstream.port());
    let servers = site.lines(|suffix| format!("server=/{suffix}/{target}"));
    let configuration = format!(
        "listen-address={ip}\nport={port}\nbind-interfaces\nuser=root\npid-file=\nno-resolv\nno-hosts\n\
         cache-size=10000\ndns-forward-max=10000\nlog-facility=-\naddress=/#/\n{servers}",
        ip = listen.ip(),
        port = listen.port(),
    );
    vec![("dnsmasq.conf", configuration)]
}

fn bind9(site: &Site<'_>) -> Files {
    let (listen, upstream) = (site.listen, site.upstream);
    let configuration = format!(
        r#"options {{
  directory "{directory}";
  pid-file none;
  session-keyfile "{directory}/session.key";
  listen-on port {port} {{ {ip}; }};
  listen-on-v6 {{ none; }};
  recursion yes;
  dnssec-validation no;
  recursive-clients 10000;
  forward only;
  forwarders {{ {upstream_ip} port {upstream_port}; }};
  response-policy {{ zone "allowed"; }} qname-wait-recurse no;
}};
controls {{ }};
logging {{ category default {{ null; }}; }};
zone "allowed" {{ type primary; file "allowed.rpz"; allow-query {{ none; }}; }};
"#,
        directory = site.directory.display(),
        ip = listen.ip(),
        port = listen.port(),
        upstream_ip = upstream.ip(),
        upstream_port = upstream.port(),
    );
    vec![("named.conf", configuration), ("allowed.rpz", response_policy(site))]
}

/// A response policy zone that passes the suffixes and denies everything else.
///
/// A wildcard does not cover names below one that exists in its zone (RFC 4592 3.3.1), and `com` exists if `a.com`
/// does. So each such parent gets its own denial; without it, everything below it would pass.
fn response_policy(site: &Site<'_>) -> String {
    let head =
        "$TTL 60\n@ SOA localhost. hostmaster.localhost. 1 3600 600 86400 60\n@ NS localhost.\n* CNAME .\n";
    let above: BTreeSet<&str> = site.suffixes.iter().flat_map(|suffix| parents(suffix)).collect();
    let above = above.into_iter().filter(|name| site.suffixes.iter().all(|suffix| suffix != name));
    let denied: String = above.map(|name| format!("{name} CNAME .\n*.{name} CNAME .\n")).collect();
    let rules = site.lines(|suffix| format!("{suffix} CNAME rpz-passthru.\n*.{suffix} CNAME rpz-passthru."));
    format!("{head}{denied}{rules}")
}

/// The parents of a name, without the root.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(dot, _)| &name[dot + 1..])
}
