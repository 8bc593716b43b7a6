//! Settings files as people write them, and the errors they get.

#![allow(clippy::unwrap_used)]

mod shipped;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::diagnostics::{MAX_DRAWN, Report, Source};

const EVERY_OPTION: &str = include_str!("../../../config/every-option.toml");
const EMBEDDED: &str = include_str!("../../../config/namegate.toml");
const AZURE: &str = include_str!("../../../config/azure.toml");

fn read(text: &str) -> (Settings, Report) {
    let source = Source::new("namegate.toml", text);
    let (settings, diagnostics) = settings(&source, Path::new("etc"));
    (settings, Report::new(source, diagnostics))
}

#[test]
fn every_fault_is_told_where_it_stands() {
    for (text, told) in [
        (
            "[server]\nlisten = \"127.0.0.1\"\n",
            &[
                "2:10 Error `server.listen`: expected a list of strings, found one string | write `listen = [\"127.0.0.1\"]`",
            ] as &[&str],
        ),
        (
            "[server]\nlisten = []\n[upstream]\nservers = [ ]\n",
            &[
                "2:10 Error `server.listen`: at least one value is required | add at least one, or remove the key",
                "4:11 Error `upstream.servers`: at least one value is required | add at least one, or remove the key",
            ],
        ),
        (
            "[upstream]\nservers = [\"quic://dns.example\"]\nroots = \"missing.pem\"\n",
            &[
                "2:12 Error upstream quic://dns.example: no bootstrap server to resolve `dns.example` | set \
                 `upstream.bootstrap`, such as `[\"10.0.0.4\"]`, or write the IP address followed by `#dns.example`",
                "3:9 Error `upstream.roots`: cannot read CA certificates from etc/missing.pem: No such file or directory (os \
                 error 2) | write `platform`, or the path of a PEM file with CA certificates",
            ],
        ),
        (
            "[upstream]\nbootstrap = [\"10.0.0.4\", \"dns.example\"]\nservers = [\"tls://dns.example\"]\n",
            &["2:26 Error `upstream.bootstrap`: `dns.example` is a host name, not an IP address | \
                 write an IP address, such as `10.0.0.4`, `10.0.0.4:5353` or `[fd00::4]:53`"],
        ),
        (
            "[server]\nlisten = [5, \"localhost\", \"::1\", \"[::1]:53\"]\n",
            &[
                "2:11 Error `server.listen`: invalid type: integer `5`, expected a string",
                "2:14 Error `server.listen`: `localhost` is a host name, not an IP address | write an IP \
                 address, such as `10.0.0.4`, `10.0.0.4:5353` or `[fd00::4]:53`",
                "2:34 Warning `server.listen`: duplicate value",
            ],
        ),
        (
            "[server]\nudp_payload = 100\nworkers = -1\ntcp_idle_timeout = 5\nidentity = 5\ntcp_connections = \"x\"\n",
            &[
                "2:15 Error `server.udp_payload`: invalid value: integer `100`, expected a whole number from 512 to 4096",
                "3:11 Error `server.workers`: invalid value: integer `-1`, expected a whole number from 0 to 256",
                "4:20 Error `server.tcp_idle_timeout`: invalid value: integer `5`, expected a duration from \"1s\" to \"5m\"",
                "5:12 Error `server.identity`: invalid type: integer `5`, expected a string",
                "6:19 Error `server.tcp_connections`: invalid value: string \"x\", expected a whole number from 1 to 65535",
            ],
        ),
        (
            "[server]\nallow_clients = [\"10.0.0.1/8\", \"0.0.0.0/0\"]\n",
            &[
                "2:18 Error `server.allow_clients`: `10.0.0.1/8` has bits set beyond its prefix | write `10.0.0.0/8`, or the \
                 address without a prefix",
                "2:32 Warning this serves the whole internet: an open resolver | list only the subnets you serve",
            ],
        ),
        (
            "[upstream]\ndeadline = \"10\"\nservers = [\"tls://10.0.0.4/\"]\n",
            &[
                "2:12 Error `upstream.deadline`: invalid value: string \"10\", expected a duration from \"1s\" to \"30s\"",
                "3:12 Error `upstream.servers`: `tls://` upstreams have no path | remove `/`",
            ],
        ),
        (
            "[block]\nttl = \"1500ms\"\nanswer = \"nx\"\n[cache]\nmax_bytes = \"1TiB\"\n",
            &[
                "2:7 Error `block.ttl`: invalid value: string \"1500ms\", expected a duration from \"0s\" to \"1h\" in whole \
                 seconds",
                "3:10 Error `block.answer`: unknown value `nx`, expected one of `nxdomain`, `nodata`, `refused`",
                "5:13 Error `cache.max_bytes`: invalid value: string \"1TiB\", expected a size from \"0B\" to \"64GiB\"",
            ],
        ),
        (
            "[sandbox]\nno_new_privileges = false\nlandlock = false\nseccomp = 1\n[admin]\nhosts = [\"gate.example:80\"]\n",
            &[
                "2:21 Error `sandbox.no_new_privileges`: Landlock and seccomp require it | set `landlock = \
                 false` and `seccomp = false` as well, or remove this key",
                "4:11 Error `sandbox.seccomp`: invalid type: integer `1`, expected a boolean",
                "6:10 Error `admin.hosts`: invalid character `:` in label | write a host name without scheme and port, such as \
                 `gate-1.corp.example`",
            ],
        ),
        (
            "[policy]\nstrict = \"yes\"\nmode = \"enforced\"\nzones = [\"../r\"]\n",
            &[
                "2:10 Error `policy.strict`: invalid type: string \"yes\", expected a boolean",
                "3:8 Error `policy.mode`: unknown value `enforced`, expected `enforce` or `observe`",
                "4:10 Error `policy.zones`: `../r` is neither an allowlist name nor a path | write a name such as \
                 `azure-ml`, or a path ending in `.toml` or `.list`",
            ],
        ),
        // Locations within a string: plain, single quotes on a line of their own, and one whose escape shifts them.
        (
            "[policy]\nallow = [\"*foo.example\",\n  '*.b.c..d', \"a\\u002eb c\"]\ndeny = [\"{acr}.azurecr.io\"]\n",
            &[
                "2:11 Error `policy.allow`: `*` must be the whole first label, with a domain after it | write `*.foo.example` for all subdomains, \
                 `.foo.example` to include the name itself",
                "3:9 Error `policy.allow`: empty label: two dots in a row",
                "3:15 Error `policy.allow`: host name contains a space | \
                 write `a.bc` if this is one name, else one entry for each name",
                "4:10 Error `policy.deny`: invalid character `{` in host name | write the value \
                 itself; only allowlists can use parameters",
            ],
        ),
        (
            "server = 5\nlisten = []\nlocal = 3\n[severs]\n[[log]]\n",
            &[
                "1:10 Error `server` must be a section | write `[server]`",
                "2:1 Error unknown key `listen` | did you mean `client`?",
                "3:9 Error `local` must be a list of tables | write `[[local]]`, with its keys below, for each entry",
                "4:2 Error unknown section `severs` | did you mean `server`?",
                "5:1 Error `log` must be a section | write `[log]`",
            ],
        ),
        (
            "[server]\nlistn = [\"::1\"]\n[[views]]\nnames = []\n",
            &[
                "2:1 Error unknown key `server.listn` | did you mean `listen`?",
                "3:3 Error unknown section `views` | use one of: `server`, `upstream`, `policy`, `parameters`, `client`, \
                 `route`, `rate_limit`, `cookies`, `local`, `block`, `tunnel_guard`, `cache`, `admin`, `requests`, `webhook`, `log`, `history`, `dnstap`, `prove`, `sandbox`",
            ],
        ),
        (
            "[[local]]\norigin = \"*.x\"\n[[local]]\nfile = \"\"\norgin = 1\n",
            &[
                "1:1 Error `local.file` is missing | add `file = \"…\"` below this line",
                "2:10 Error `local.origin`: an origin is a name, not a pattern; it includes all names below | write `x`",
                "3:1 Error `local.origin` is missing | add `origin = \"…\"` below this line",
                "4:8 Error `local.file`: the path is empty | write the path of a master file",
                "5:1 Error unknown key `local.orgin` | did you mean `origin`?",
            ],
        ),
        (
            "[parameters]\nKey-Vault = [\"a\"]\nacr = \"x\"\nregion = [\"a.b\"]\n",
            &[
                "2:1 Error invalid parameter name `Key-Vault` | use only `a` to `z` and `_`",
                "3:7 Error `parameters.acr`: expected a list of strings, found one string | write `acr = [\"x\"]`",
                "4:11 Error `parameters.region`: invalid character `.` in label | write one label of a host name: letters, digits \
                 and `-`, such as `mystorage`",
            ],
        ),
        // Syntax errors: the first of each line, without errors that follow from it.
        (
            "[server]\nlisten = 127.0.0.1\nworkers = 999\n[upstream]\ndeadline = 6s\ndeadline = \"7s\"\n",
            &[
                "2:15 Error invalid float | put text between quotes: `\"…\"`",
                "3:11 Error `server.workers`: invalid value: integer `999`, expected a whole number from 0 to 256",
                "5:12 Error string values must be quoted | put text between quotes: `\"…\"`",
                "6:1 Error duplicate key | remove one of the two, or merge them",
            ],
        ),
        ("[server\nlisten = [\"::1\"]\n", &["1:8 Error unclosed table, expected `]`"]),
        ("hello world\n", &["1:7 Error key with no value, expected `=`"]),
        // Byte order mark, carriage returns, tabs.
        (
            "\u{feff}[server]\r\n\tworkers = 999\r\n",
            &[
                "2:12 Error `server.workers`: invalid value: integer `999`, expected a whole number from 0 to 256",
            ],
        ),
        ("\u{feff}[servr]\r\n", &["1:2 Error unknown section `servr` | did you mean `server`?"]),
    ] {
        assert_eq!(read(text).1.lines(), told, "{text}");
    }
}

#[test]
fn a_report_is_drawn_plain_or_in_color() {
    let drawn = "\
error: unknown key `server.listn`
 --> namegate.toml:2:2
  |
2 |     listn = [\"::1\"]
  |     ^^^^^
  |
  = help: did you mean `listen`?";
    let (_, report) = read("[server]\r\n\tlistn = [\"::1\"]\r\n");
    assert_eq!(report.render(false), drawn);
    assert!(report.render(true).contains("\u{1b}["));

    // Control characters are replaced by visible symbols.
    let (_, report) = read("x = \"\u{1b}[31m\"\n");
    assert!(
        report.render(false).contains("x = \"␛[31m\"") && !report.render(false).contains('\u{1b}'),
        "{report}"
    );

    let many = format!("[policy]\nallow = [{}]\n", "\"*\",".repeat(MAX_DRAWN + 7));
    assert!(read(&many).1.render(false).ends_with("\n\n… and 7 more"));
}

#[test]
fn a_value_of_several_lines_is_told_on_one() {
    let report = read("[server]\nlisten = [\"\"\"first\nsecond\"\"\"]\n").1;
    let [fault] = report.diagnostics() else { panic!("{report}") };
    assert!(fault.message.contains("first\\nsecond"), "{:?}", fault.message);
    assert_eq!(report.place(fault), Some((2, 11)));
}

#[test]
fn reads_what_is_set() {
    let (settings, report) = read(
        r#"
        server = { listen = ["::", "10.0.0.4:5353"], tcp_idle_timeout = "1m 30s", allow_clients = ["10.1.2.3"] }
        [policy]
        mode = "observe"
        zones = ["r", "own.toml", "/abs/own.list"]
        zones_directory = "zones"
        allow = [
            "*.Corp.example",
        ]
        [parameters]
        acr = ["MyRegistry"]
        region = []
        [[local]]
        origin = "corp.example."
        file = "corp.zone"
        [cache]
        max_bytes = "0"
        [admin]
        listen = ""
        token_file = "/run/token"
        max_temporary = "12h"
        [prove]
        interval = "5m"
        must_resolve = ["ML.azure.com."]
        must_not_resolve = []
        "#,
    );
    assert!(report.is_empty(), "{report}");
    assert_eq!(settings.server.listen, ["[::]:53".parse().unwrap(), "10.0.0.4:5353".parse().unwrap()]);
    assert_eq!(settings.server.tcp_idle_timeout, Duration::from_secs(90));
    assert_eq!(settings.server.allow_clients, ["10.1.2.3/32".parse().unwrap()]);
    assert_eq!(settings.policy.zones, ["r", "etc/own.toml", "/abs/own.list"]);
    assert_eq!(settings.policy.zones_directory.as_deref(), Some(Path::new("etc/zones")));
    assert_eq!(settings.policy.allow[0].pattern.to_string(), "*.corp.example");
    assert_eq!(settings.policy.allow[0].line, 8);
    assert_eq!(settings.parameters, BTreeMap::from([("acr".to_owned(), vec!["myregistry".to_owned()])]));
    assert_eq!(settings.local[0].file, Path::new("etc/corp.zone"));
    assert_eq!(settings.cache.max_bytes.as_u64(), 0);
    assert_eq!((settings.admin.listen, settings.admin.token_file.is_some()), (None, true));
    assert_eq!(settings.admin.max_temporary, Duration::from_secs(12 * 60 * 60));
    assert_eq!(settings.prove.interval, Duration::from_secs(300));
    assert_eq!(settings.prove.must_resolve[0].to_string(), "ml.azure.com");
    assert!(settings.prove.must_not_resolve.is_empty());

    let source = Source::new("again.toml", settings.to_toml());
    let (again, diagnostics) = super::settings(&source, Path::new(""));
    assert_eq!((again, diagnostics), (settings, Vec::new()), "{}", source.text());
}
