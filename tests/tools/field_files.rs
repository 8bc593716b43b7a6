//! Tests files as found in practice: unusual labels, Azure exports, resolver configurations, lists of other programs.

use crate::support::command::{Finished, namegate};
use crate::support::{Gate, Query, ScriptedUpstream};
use crate::tools::import::import_text;

const HEAD: &str = "$ORIGIN corp.example.\n$TTL 300\n@ SOA ns.corp.example. hostmaster.corp.example. 1 3600 600 86400 30\n\
                    @ NS ns\nns A 10.0.0.2\n";

fn serve(zone: &str) -> (ScriptedUpstream, Gate) {
    let upstream = ScriptedUpstream::start();
    let settings = "[[local]]\norigin = \"corp.example\"\nfile = \"corp.zone\"\n";
    let gate = Gate::with_files(&[upstream.address()], settings, &[("corp.zone", zone)]);
    (upstream, gate)
}

/// RFC 2181 section 11: any label is legal.
#[test]
fn local_zones_take_any_label() {
    let zone = format!(
        "{HEAD}sql_server01 A 10.0.0.4\n0/25 A 10.0.0.5\na+b A 10.0.0.6\na\\.b A 10.0.0.7\nx\\032y A 10.0.0.8\n\
         alias CNAME sql_server01\nmail MX 10 a+b\n"
    );
    let (_upstream, gate) = serve(&zone);
    for (name, address) in [
        ("sql_server01.corp.example", "10.0.0.4"),
        ("SQL_Server01.corp.example", "10.0.0.4"),
        ("0/25.corp.example", "10.0.0.5"),
        ("a+b.corp.example", "10.0.0.6"),
    ] {
        assert_eq!(gate.ask(name, "A").answer_data(), [address], "{name}");
    }
    assert_eq!(gate.ask("alias.corp.example", "A").answers.len(), 2);
    for name in [r"a\.b.corp.example", r"x\032y.corp.example"] {
        let zones = [("corp.zone", &*zone)];
        let settings = "[[local]]\norigin = \"corp.example\"\nfile = \"corp.zone\"\n";
        run(settings, &zones, &["explain", name]).expect_code(0);
    }
}

fn run(settings: &str, files: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("namegate.toml"), settings).expect("a file can be written");
    for (file, text) in files {
        std::fs::write(directory.path().join(file), text).expect("a file can be written");
    }
    namegate(directory.path(), &[arguments, &["--config", "namegate.toml"]].concat())
}

#[test]
fn rules_and_lists_take_any_label() {
    let upstream = ScriptedUpstream::start();
    let zone = "[[allow]]\nhost = \"0/25.2.0.192.in-addr.arpa\"\n";
    let settings =
        "policy.zones = [\"own.toml\", \"more.list\"]\npolicy.allow = [\"sql_server01.corp.example\"]";
    let files = [("own.toml", zone), ("more.list", "*.a+b.example # a comment\n")];
    let gate = Gate::with_files(&[upstream.address()], settings, &files);
    for (name, rcode) in [
        ("sql_server01.corp.example", "NOERROR"),
        ("0/25.2.0.192.in-addr.arpa", "NOERROR"),
        ("x.a+b.example", "NOERROR"),
        ("a+b.example", "NOERROR"),
        ("sql_server02.corp.example", "NXDOMAIN"),
    ] {
        assert_eq!(gate.ask(name, "A").rcode(), rcode, "{name}");
    }
    assert_eq!(upstream.count("a+b.example"), 0, "an ancestor gets NODATA without an upstream query");
}

#[test]
fn service_parameters_stand_in_any_order() {
    let zone = format!(
        "{HEAD}a HTTPS 1 . port=8443 alpn=h2\nb TYPE65 \\# 16 000100000100030268320003000221fb\nc TYPE1 \\# 4 0a000009\n\
         d TYPE65280 \\# 3 010203\n"
    );
    let (_upstream, gate) = serve(&zone);
    let client = gate.udp();
    for (name, kind, data) in [
        ("a.corp.example", "HTTPS", &[0, 1, 0, 0, 1, 0, 3, 2, b'h', b'2', 0, 3, 0, 2, 0x20, 0xfb][..]),
        ("b.corp.example", "HTTPS", &[0, 1, 0, 0, 1, 0, 3, 2, b'h', b'2', 0, 3, 0, 2, 0x21, 0xfb]),
        ("c.corp.example", "A", &[10, 0, 0, 9]),
        ("d.corp.example", "TYPE65280", &[1, 2, 3]),
    ] {
        client.send(&Query::new(name, kind).bytes());
        let reply = client.receive();
        assert_eq!((reply[3] & 0xf, reply[7]), (0, 1), "{name}: {reply:?}");
        assert!(reply.windows(data.len()).any(|window| window == data), "{name}: {reply:?}");
    }
}

/// As in BIND.
#[test]
fn a_zone_without_a_ttl_takes_that_of_its_soa() {
    let zone = "$ORIGIN corp.example.\n@ SOA ns hostmaster 1 3600 600 86400 77\n@ NS ns\nns A 10.0.0.2\nb 55 A 10.0.0.3\n";
    let (_upstream, gate) = serve(zone);
    assert_eq!(gate.ask("ns.corp.example", "A").answers[0].ttl, 77);
    assert_eq!(gate.ask("b.corp.example", "A").answers[0].ttl, 55);
}

#[test]
fn exports_of_azure_are_read_as_azure_means_them() {
    let long = "x".repeat(300);
    let export = format!(
        ";\n;  Exported zone file\n;\n$ORIGIN corp.example.\n@ 3600 IN SOA azureprivatedns.net. azureprivatedns-host.microsoft.com. 1 3600 300 2419200 10\n\
         mail 3600 IN MX 10 mx1.contoso.example\nsip 300 IN SRV 1 5 389 dc.contoso.example\nrev 300 IN PTR host.contoso.example\n\
         text 300 IN TXT \"{long}\"\nraw 300 IN TXT \"a\\007b\\255c\"\n"
    );
    let json = format!(
        r#"[{{"name":"mail","fqdn":"mail.corp.example.","ttl":3600,"type":"Microsoft.Network/privateDnsZones/MX","mxRecords":[{{"preference":10,"exchange":"mx1.contoso.example"}}]}},
        {{"name":"sip","fqdn":"sip.corp.example.","ttl":300,"type":"Microsoft.Network/privateDnsZones/SRV","srvRecords":[{{"priority":1,"weight":5,"port":389,"target":"dc.contoso.example"}}]}},
        {{"name":"rev","fqdn":"rev.corp.example.","ttl":300,"type":"Microsoft.Network/privateDnsZones/PTR","ptrRecords":[{{"ptrdname":"host.contoso.example"}}]}},
        {{"name":"text","fqdn":"text.corp.example.","ttl":300,"type":"Microsoft.Network/privateDnsZones/TXT","txtRecords":[{{"value":["{long}"]}}]}}]"#
    );
    let from_export = import_text("private-zone", &export).expect_code(0).stdout;
    let from_json = import_text("private-zone", &json).expect_code(0).stdout;
    let lines = |text: &str| {
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !line.contains("SOA") && !line.contains("raw"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&from_export), lines(&from_json), "the same zone, whichever way it was saved");
    for line in [
        "mail.corp.example. 3600 IN MX 10 mx1.contoso.example.",
        "sip.corp.example. 300 IN SRV 1 5 389 dc.contoso.example.",
        "rev.corp.example. 300 IN PTR host.contoso.example.",
        &format!("text.corp.example. 300 IN TXT \"{}\" \"{}\"", &long[..255], &long[255..]),
        "raw.corp.example. 300 IN TXT \"a\\007b\\255c\"",
    ] {
        assert!(from_export.lines().any(|written| written == line), "{line} in\n{from_export}");
    }
    let (_upstream, gate) = serve(&from_export);
    assert_eq!(gate.ask("mail.corp.example", "MX").answers.len(), 1);
}

#[test]
fn a_set_without_records_is_left_out_and_told() {
    let set = |name: &str, rest: &str| {
        format!(
            r#"{{"name":"{name}","type":"Microsoft.Network/privateDnsZones/A","properties":{{"fqdn":"{name}.corp.example.","ttl":300{rest}}}}}"#
        )
    };
    let sets = [
        set("app", r#","aRecords":[{"ipv4Address":"10.0.0.4"}]"#),
        set("empty", r#","aRecords":[]"#),
        set("null", r#","aRecords":null"#),
        set("none", ""),
    ];
    let page = |link: &str| format!(r#"{{"value":[{}]{link}}}"#, sets.join(","));
    for link in ["", r#","nextLink":null"#, r#","nextLink":"""#] {
        let run = import_text("private-zone", &page(link)).expect_code(1);
        assert!(run.stdout.contains("app.corp.example. 300 IN A 10.0.0.4"), "{}", run.stdout);
        assert_eq!(run.stderr.matches("empty A record set is not imported").count(), 3, "{}", run.stderr);
    }
    let more = r#","nextLink":"https://management.azure.com/next?page=2""#;
    import_text("private-zone", &page(more))
        .expect_code(2)
        .expect_stderr(&["`nextLink`: the list continues", "help: save all pages"]);
}

/// Applies to every listing that has several pages.
#[test]
fn the_first_page_of_a_list_is_refused_by_every_import() {
    let page = r#"{"value":[],"nextLink":"https://management.azure.com/next"}"#;
    for format in ["azure-ml", "private-endpoint", "private-zone", "list"] {
        import_text(format, page).expect_code(2).expect_stderr(&["the list continues"]);
    }
}

#[test]
fn lists_of_other_programs_are_read() {
    let rules = |zone: &str| -> Vec<String> {
        zone.lines()
            .filter_map(|line| line.strip_prefix("host = "))
            .map(|host| host.trim_matches('"').to_owned())
            .collect()
    };
    let names = r#"["azureml.ms", "login.microsoftonline.com.", "*.blob.core.windows.net", "packages.microsoft.com", "_dmarc.corp.example"]"#;
    let plain = import_text("list", names).expect_code(1);
    assert_eq!(
        rules(&plain.stdout),
        ["azureml.ms", "login.microsoftonline.com", "packages.microsoft.com", "_dmarc.corp.example"],
        "the wildcard is not imported without its option"
    );
    assert!(plain.stderr.contains("use --wildcards"), "{}", plain.stderr);
    let list = r#"{"name":"allow","properties":{"domains":["azureml.ms.","contoso.example."]}}"#;
    for text in [list.to_owned(), format!("[{list}]"), format!("{{\"value\":[{list}]}}")] {
        let run = import_text("list", &text).expect_code(1);
        assert_eq!(rules(&run.stdout), ["azureml.ms", "contoso.example"], "{text}");
        assert!(run.stderr.contains("`azureml.ms` is imported without the names below it"), "{}", run.stderr);
    }
    let filters = "! Title: a list\n# comment\n||ads.example^\n@@||good.example^\n0.0.0.0 tracker.example\nplain.example\n\
                   ||x.example^$third-party\n/banner[0-9]/\n";
    let run = import_text("list", filters).expect_code(1);
    assert_eq!(rules(&run.stdout), [".ads.example", "tracker.example", "plain.example"], "{}", run.stdout);
    for told in ["`.good.example` is not imported", "x.example^$third-party", "/banner[0-9]/"] {
        assert!(run.stderr.contains(told), "{told}: {}", run.stderr);
    }
}

#[test]
fn what_is_pasted_into_explain_is_understood() {
    let settings = "[policy]\nzones = []\nallow = [\"ml.azure.com\"]\n";
    for (text, code, told) in [
        ("https://ml.azure.com/path?x=1#y", 0, "checking only the host name ml.azure.com"),
        ("https://user@ml.azure.com:8443/", 0, "checking only the host name ml.azure.com"),
        ("ml.azure.com:443", 0, "checking only the host name ml.azure.com"),
        ("https://evil.example/", 1, "checking only the host name evil.example"),
        ("*.azure.com", 2, "is a pattern, not a name"),
        ("sql_server01.corp.example", 1, ""),
    ] {
        run(settings, &[], &["explain", text]).expect_code(code).expect_stderr(&[told]);
    }
}

/// With the policy zone's name appended, the name would be too long, and the whole zone could not be loaded.
#[test]
fn a_name_too_long_for_a_policy_zone_is_left_out_and_told() {
    let label = "a".repeat(59);
    let long = format!("{label}.{label}.{label}.{label}.io");
    let settings = format!(
        "[policy]\nzones = []\nallow = [\"{long}\", \"short.example\"]\n[upstream]\nservers = [\"10.0.0.4\"]\n"
    );
    let exported = run(&settings, &[], &["export", "rpz"]).expect_code(0);
    assert!(
        !exported.stdout.contains(&long) && exported.stdout.contains("short.example CNAME"),
        "{}",
        exported.stdout
    );
    assert!(exported.stderr.contains("would be too long"), "{}", exported.stderr);
    let settings =
        "[policy]\nzones = []\nallow = [\"import\", \"a+b.example\"]\n[upstream]\nservers = [\"10.0.0.4\"]\n";
    let exported = run(settings, &[], &["export", "coredns"]).expect_code(0);
    let corefile = &exported.stdout;
    assert!(corefile.contains("\n\"import.\" {") && !corefile.contains("\nimport {"), "{corefile}");
    assert!(
        !corefile.contains("a+b") && exported.stderr.contains("`a+b.example` is not exported"),
        "{}",
        exported.stderr
    );
}

/// `inspect` and queries use the same verdict.
#[test]
fn an_alias_into_a_local_zone_is_given_though_denied() {
    let upstream = ScriptedUpstream::start();
    let records = ["a.allowed.example 60 CNAME ns.corp.example", "ns.corp.example 60 A 10.0.0.2"];
    upstream.on(
        "a.allowed.example",
        crate::support::Script::reply(crate::support::Response::answering(&records)),
    );
    let settings = "policy.cname = \"inspect\"\npolicy.deny = [\"ns.corp.example\"]\n\
                    [[local]]\norigin = \"corp.example\"\nfile = \"corp.zone\"\n";
    let gate = Gate::with_files(&[upstream.address()], settings, &[("corp.zone", HEAD)]);
    assert_eq!(gate.ask("ns.corp.example", "A").answer_data(), ["10.0.0.2"]);
    assert_eq!(gate.ask("a.allowed.example", "A").answers.len(), 2);
}

/// Service targets are completed with the origin, like those of other records.
#[test]
fn the_target_of_a_service_may_be_relative() {
    let (_upstream, gate) = serve(&format!("{HEAD}a HTTPS 1 svc alpn=h2\n"));
    let client = gate.udp();
    client.send(&Query::new("a.corp.example", "HTTPS").bytes());
    let reply = client.receive();
    let data = b"\x00\x01\x03svc\x04corp\x07example\x00\x00\x01\x00\x03\x02h2";
    assert!(reply.windows(data.len()).any(|window| window == data), "{reply:?}");
}
