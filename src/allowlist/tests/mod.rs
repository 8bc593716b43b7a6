//! Allowlists as people write them, and the errors they get.

#![allow(clippy::unwrap_used)]

mod lists;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::allowlist::server_lists::ServerLists;
use crate::config;
use crate::config::allowlist_name::unknown;
use crate::config::embedded::embedded_names;
use crate::diagnostics::{Report, Source};
use crate::policy::rule::Action;
use crate::policy::{Compile, Mode, PolicyBuilder, RuleText};

fn values() -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([("acr".to_owned(), vec!["one".to_owned(), "two".to_owned()])])
}

fn zone(text: &str) -> (Allowlist, Report) {
    let source = Source::new("zones/own.toml", text);
    let (zone, diagnostics) = file::zone("own", &source, &values(), &mut BTreeSet::new());
    (zone, Report::new(source, diagnostics))
}

/// Settings that name these allowlists.
fn settings(names: &[String], directory: Option<&Path>) -> config::PolicySettings {
    let zones_directory = directory.map(Path::to_owned);
    config::PolicySettings { zones: names.to_vec(), zones_directory, ..config::PolicySettings::default() }
}

fn server_lists() -> ServerLists {
    ServerLists::new(Vec::new())
}

#[test]
fn every_fault_is_told_where_it_stands() {
    for (text, told) in [
        (
            "[[allow]]\nhost = \"*foo.example\"\nbrod = true\n[[deny]]\nreason = \"x\"\n",
            &[
                "2:9 Error `allow.host`: `*` must be the whole first label, with a domain after it | write `*.foo.example` for all subdomains, \
                 `.foo.example` to include the name itself",
                "3:1 Error unknown key `allow.brod` | did you mean `broad`?",
                "4:1 Error `deny.host` is missing | add `host = \"…\"` below this line",
            ] as &[&str],
        ),
        (
            "titel = \"x\"\nrevised = \"2026\"\n[[alow]]\nhost = \"a.example\"\n",
            &[
                "1:1 Error unknown key `titel` | did you mean `title`?",
                "2:11 Error `revised`: invalid type: string \"2026\", expected a TOML datetime",
                "3:3 Error unknown section `alow` | did you mean `allow`?",
            ],
        ),
        (
            "revised = 2026-03-19T00:00:00\nallow = [\"a.example\"]\n[deny]\nhost = \"b.example\"\n",
            &[
                "1:11 Error `revised`: expected a date without a time | write only the date, such as `2026-03-19`",
                "2:10 Error `allow` must be a list of tables | write `[[allow]]`, with its keys below, for each entry",
                "3:1 Error `deny` must be a list of tables | write `[[deny]]`, with its keys below, for each entry",
            ],
        ),
        (
            "[[allow]]\nhost = \"a.example\"\nports = [\"443\", 443, \"tcp/443\"]\nlisted = [\"2020\"]\nbroad = 1\npurpose = 1\n",
            &[
                "3:10 Error `allow.ports`: invalid port `443` | write `tcp/443`, `udp/443` or `any/443`, with a number from 1 to \
                 65535",
                "3:17 Error `allow.ports`: invalid type: integer `443`, expected a string",
                "4:11 Error `allow.listed`: no [[edition]] above has the id `2020` | add the edition before this rule, or write a \
                 date such as `2026-03-19`",
                "5:9 Error `allow.broad`: invalid type: integer `1`, expected a boolean",
                "6:11 Error `allow.purpose`: invalid type: integer `1`, expected a string",
            ],
        ),
        (
            "[[deny]]\nhost = \"a.example\"\nbroad = true\n",
            &[
                "3:9 Error `deny.broad`: only allow rules can be broad | remove it; `strict` would leave the rule out and \
               so allow the names",
            ],
        ),
        // A different action is a different rule; case and a final dot do not matter.
        (
            "[[allow]]\nhost = \"a.example\"\n[[deny]]\nhost = \"a.example\"\n[[allow]]\nhost = \"A.example.\"\n",
            &["6:1 Warning `A.example.` is already on line 2 | remove one of the two"],
        ),
        // Editions come before the rules that name them.
        (
            "[[edition]]\nid = \"2026-03-19\"\npage = \" \"\n[[edition]]\nid = \"a\"\npage = \"A\"\ncommit = \"main\"\n\
             date = 2026-03-19T07:00:00\n[[edition]]\nid = \"a\"\npage = \"B\"\n[[allow]]\nhost = \"a.example\"\n\
             listed = [\"a\", \"b\"]\nuntil = 07:00:00\nlegacy = 1\n",
            &[
                "2:6 Error `edition.id`: invalid id `2026-03-19` | use only `a` to `z`, digits and `-`, such as `firewall-2026`",
                "3:8 Error `edition.page`: the text is empty | write the title of the page",
                "7:10 Error `edition.commit`: invalid commit `main` | write 7 to 40 hexadecimal digits",
                "8:8 Error `edition.date`: expected a date without a time | write only the date, such as `2026-03-19`",
                "10:6 Error `edition.id`: another edition has the id `a` | use another id",
                "14:16 Error `allow.listed`: no [[edition]] above has the id `b` | add the edition before this rule, or write a \
                 date such as `2026-03-19`",
                "15:9 Error `allow.until`: invalid end `07:00:00` | write a date such as `2027-01-31`, or a time such as \
                 `2027-01-31T18:00:00Z`",
                "16:10 Error `allow.legacy`: invalid type: integer `1`, expected a boolean",
            ],
        ),
        (
            "[[alias]]\nhost = \"a..example\"\n[[alias]]\nhost = \"a.example\"\nto = []\nfrom = \"x\"\n",
            &[
                "1:1 Error `alias.to` is missing | add `to = [\"name.example\"]` below this line",
                "2:10 Error `alias.host`: empty label: two dots in a row",
                "5:6 Error `alias.to`: at least one value is required | add at least one, or remove the key",
                "6:1 Error unknown key `alias.from` | use one of: `host`, `to`, `listed`",
            ],
        ),
        (
            "[[allow]]\nhost = *.a.example\n[[allow]]\nhost = \"b..example\"\n[[allow]]\nhost = \"c.example\"\nhost = \"d\"",
            &[
                "2:8 Error string values must be quoted | put text between quotes: `\"…\"`",
                "4:10 Error `allow.host`: empty label: two dots in a row",
                "7:1 Error duplicate key | remove one of the two, or merge them",
            ],
        ),
        (
            "[[allow]]\nhost = \"{Acr}.azurecr.io\"\n[[allow]]\nhost = \"{acr}..azurecr.io\"\n",
            &[
                "2:9 Error `allow.host`: invalid parameter name `Acr` | use only `a` to `z` and `_`, such as `{key_vault}`",
                "4:14 Error `allow.host`: empty label: two dots in a row",
            ],
        ),
        // A byte order mark, carriage returns, tabs; the mark within a host; quotes of every kind.
        (
            "\u{feff}[[allow]]\r\n\thost = \"a b.example\"\r\n",
            &["2:11 Error `allow.host`: host name contains a space | \
               write `ab.example` if this is one name, else one entry for each name"],
        ),
        (
            "[[allow]]\nhost = \"\u{feff}a.example\"\n",
            &[
                "2:9 Error `allow.host`: host name contains the white space or invisible character `\\u{feff}` | \
               write `a.example` if this is one name, else one entry for each name",
            ],
        ),
        (
            "[[allow]]\nhost = \"\"\"\na..example\"\"\"\n[[allow]]\nhost = '''a..example'''\n[[allow]]\nhost = 'a..b'\n",
            &[
                "2:8 Error `allow.host`: empty label: two dots in a row",
                "5:12 Error `allow.host`: empty label: two dots in a row",
                "7:10 Error `allow.host`: empty label: two dots in a row",
            ],
        ),
    ] {
        assert_eq!(zone(text).1.lines(), told, "{text}");
    }
}

#[test]
fn reads_every_key() {
    let (zone, report) = zone(
        "title = \"Own\"\r\nsource = \"a page\"\r\nrevised = 2026-03-19\r\n\r\n[[deny]]\r\nhost = \"b.example\"\r\n\
         reason = \"not used\"\r\n[[allow]]\r\n\thost = \".{acr}.example\" # both\r\npurpose = \"images\"\r\n\
         listed = [\"2020-07-17\"]\r\nports = [\"tcp/443\"]\r\nas_listed = \"example\"\r\nbroad = true\r\n\
         [[allow]]\r\nhost = \"{storage}.example\"\r\n",
    );
    assert!(report.is_empty(), "{report}");
    let head = (zone.title.as_str(), zone.source.as_str(), zone.revised.map(|date| date.to_string()));
    assert_eq!(head, ("Own", "a page", Some("2026-03-19".to_owned())));
    let rules: Vec<_> = zone.rules.iter().map(|rule| (rule.action, rule.line, rule.patterns.len())).collect();
    assert_eq!(rules, [(Action::Deny, 6, 1), (Action::Allow, 9, 2), (Action::Allow, 16, 0)]);
    assert_eq!(zone.rules[0].reason.as_deref(), Some("not used"));
    let rule = &zone.rules[1];
    assert_eq!(
        (rule.purpose.as_str(), rule.as_listed.as_deref(), rule.broad),
        ("images", Some("example"), true)
    );
    assert_eq!(
        (rule.listed[0].to_string(), rule.ports[0].to_string()),
        ("2020-07-17".into(), "tcp/443".into())
    );
    assert_eq!(zone.rules[2].missing, ["storage"]);
}

#[test]
fn editions_give_source_and_date_and_say_what_is_current() {
    let (zone, report) = zone(
        "title = \"Own\"\n[[edition]]\nid = \"old\"\npage = \"Hosts\"\ndate = 2027-01-01\nsuperseded = true\n\
         [[edition]]\nid = \"new\"\npage = \"Hosts\"\nfile = \"docs hosts.md\"\ndate = 2026-03-19\ncommit = \"00bb5540\"\n\
         [[edition]]\nid = \"other\"\npage = \"Other hosts\"\n\
         [[allow]]\nhost = \"a.example\"\nlisted = [\"old\"]\nowner = \"team-a\"\nticket = \"NET-1\"\nuntil = 2027-01-31\n\
         [[allow]]\nhost = \"b.example\"\nlisted = [\"old\", \"new\"]\nlegacy = true\n\
         [[allow]]\nhost = \"c.example\"\nlisted = [\"2020-07-17\"]\n[[allow]]\nhost = \"d.example\"\n\
         [[alias]]\nhost = \"{acr}.azurecr.io\"\nto = [\"{acr}.privatelink.azurecr.io\", \"*.fe.azcr.io\"]\nlisted = [\"new\"]\n\
         [[alias]]\nhost = \"{storage}.example\"\nto = [\"x.example\"]\n",
    );
    assert!(report.is_empty(), "{report}");
    assert_eq!(zone.source, "Hosts; Other hosts");
    assert_eq!(zone.revised.map(|date| date.to_string()).as_deref(), Some("2026-03-19"));
    let current: Vec<bool> = zone.rules.iter().map(|rule| zone.is_current(rule)).collect();
    assert_eq!(current, [false, true, true, false]);
    let AllowlistRule { owner, ticket, until, legacy, .. } = &zone.rules[0];
    let life = (owner.as_deref(), ticket.as_deref(), until.map(|until| until.to_string()), *legacy);
    assert_eq!(life, (Some("team-a"), Some("NET-1"), Some("2027-01-31".to_owned()), false));
    assert!(zone.rules[1].legacy);
    let aliases: Vec<(usize, String)> = zone
        .aliases
        .iter()
        .map(|alias| {
            let to: Vec<String> = alias.to.iter().map(ToString::to_string).collect();
            (alias.patterns.len(), to.join(" "))
        })
        .collect();
    let registries = "one.privatelink.azurecr.io two.privatelink.azurecr.io *.fe.azcr.io".to_owned();
    assert_eq!(aliases, [(2, registries), (0, "x.example".to_owned())]);
    let edition = &zone.editions[1];
    assert_eq!(
        (edition.file.as_deref(), edition.commit.as_deref()),
        (Some("docs hosts.md"), Some("00bb5540"))
    );
}

#[test]
fn long_files_are_read_in_pieces_with_right_places() {
    for head in ["title = \"ü\"\n", "title = '''one\npiece'''\n"] {
        let count: usize = 10_000;
        let mut text = head.to_owned();
        for index in 0..count {
            let host =
                if index == count - 1 { "*bad.example".to_owned() } else { format!("h{index}.example") };
            let action = if index % 3 == 0 { "deny" } else { "allow" };
            text.push_str(&format!("[[{action}]]\nhost = \"{host}\"\nlisted = [\n  \"2020-07-17\",\n]\n\n"));
        }
        let (zone, report) = zone(&text);
        let first = head.lines().count() + 2;
        assert_eq!(report.diagnostics().len(), 1, "{report}");
        assert_eq!(report.place(&report.diagnostics()[0]), Some((first + 6 * (count - 1), 9)));
        let lines: Vec<usize> = zone.rules.iter().map(|rule| rule.line as usize).collect();
        assert_eq!(lines, (0..count - 1).map(|index| first + 6 * index).collect::<Vec<_>>());
    }
}

#[test]
fn the_shipped_zones_are_sound() {
    let names: Vec<String> = embedded_names().map(String::from).collect();
    let zones =
        read(&settings(&names, None), &BTreeMap::new(), &mut PolicyBuilder::new(), &mut server_lists())
            .unwrap();
    assert!(zones.warnings.is_empty(), "{}", zones.warnings);
    for zone in &zones.list {
        assert_eq!(zone.file, format!("zones/{}.toml", zone.name));
        assert!(
            !zone.rules.is_empty() && zone.title != zone.name && !zone.source.is_empty(),
            "{}",
            zone.name
        );
        assert!(zone.revised.is_some(), "{}", zone.name);
    }
}

#[test]
fn zones_are_found_and_unknown_ones_explained() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("r.toml"), "[[allow]]\nhost = \"{acr}.example\"\n").unwrap();
    std::fs::write(path("mine.toml"), "[[allow]]\nhost = \"mine.example\"\n").unwrap();
    std::fs::write(path("latin.toml"), b"[[allow]]\nhost = \"b\xfccher.example\"\n").unwrap();
    std::fs::write(path("bad.toml"), "[[allow]]\nhost = \"a..example\"\n").unwrap();
    let by_path = |name: &str| path(name).display().to_string();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();

    let mut values = values();
    values.insert("aer".to_owned(), vec!["x".to_owned()]);
    let named = names(&["r", "r", "python", &by_path("mine.toml")]);
    let mut policy = PolicyBuilder::new();
    let zones =
        read(&settings(&named, Some(directory.path())), &values, &mut policy, &mut server_lists()).unwrap();
    let files: Vec<_> = zones.list.iter().map(|zone| (zone.name.as_str(), zone.file.clone())).collect();
    let expected = [
        ("r", by_path("r.toml")),
        ("python", "zones/python.toml".to_owned()),
        ("mine", by_path("mine.toml")),
    ];
    assert_eq!(files, expected);
    assert_eq!(zones.list[0].rules[0].patterns.len(), 2);
    assert_eq!(zones.unused_parameters, ["aer"]);

    let bad = [
        "azure-m",
        "mine",
        &by_path("mine.toml"),
        "../r",
        &by_path("none.toml"),
        &by_path("latin.toml"),
        "bad",
    ];
    let report =
        read(&settings(&names(&bad), Some(directory.path())), &values, &mut policy, &mut server_lists())
            .unwrap_err();
    let told = report.lines();
    let expected = [
        ("0:0 Error unknown allowlist `azure-m`", "did you mean `azure-ml`?"),
        ("0:0 Error `", "have the same allowlist name `mine`"),
        ("0:0 Error unknown allowlist `../r`", "use one of: `azure-ml`, "),
        ("0:0 Error file not found", "check the path"),
        ("2:10 Error the file is not UTF-8", "save it as UTF-8"),
        ("2:10 Error `allow.host`: empty label: two dots", ""),
    ];
    assert_eq!(told.len(), expected.len(), "{report}");
    for (told, (start, part)) in told.iter().zip(expected) {
        assert!(told.starts_with(start) && told.contains(part), "{told}");
    }
    assert!(report.render(false).contains(&format!("{}:2:10", by_path("latin.toml"))), "{report}");
}
