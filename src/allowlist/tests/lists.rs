//! Plain lists: one pattern per line.

use super::*;

/// Reads a list with this text from a new directory.
fn list(text: &[u8]) -> Result<(Allowlists, crate::policy::Policy), Report> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("own.list"), text).unwrap();
    let mut policy = PolicyBuilder::new();
    let names = ["own".to_owned()];
    let zones =
        read(&settings(&names, Some(directory.path())), &BTreeMap::new(), &mut policy, &mut server_lists())?;
    Ok((zones, policy.build(Compile::new(Mode::Enforce))))
}

#[test]
fn a_list_has_a_pattern_on_each_line() {
    let text = "\u{feff}# Own\r\n\r\nml.azure.com\r\n\t*.AzureML.ms. # APIs\n!a.azureml.ms#no\n !b.azureml.ms\n\n.azurecr.io\n# the end";
    let (zones, policy) = list(text.as_bytes()).unwrap();
    let rules: Vec<_> = policy.iter().map(|rule| (rule.action(), rule.to_string(), rule.line())).collect();
    let expected = [
        (Action::Allow, "ml.azure.com", 3),
        (Action::Allow, "*.azureml.ms", 4),
        (Action::Deny, "a.azureml.ms", 5),
        (Action::Deny, "b.azureml.ms", 6),
        (Action::Allow, ".azurecr.io", 8),
    ];
    assert_eq!(rules, expected.map(|(action, pattern, line)| (action, pattern.to_owned(), line)));
    let zone = &zones.list[0];
    assert_eq!((zone.name.as_str(), zone.title.as_str(), zone.count), ("own", "own", 5));
    assert!(zone.rules.is_empty() && zone.file.ends_with("own.list"), "{}", zone.file);
    assert_eq!(list(b"# none\n").unwrap().0.list[0].count, 0);
}

#[test]
fn a_comment_behind_a_rule_is_its_text() {
    let text = "a.example # build mirrors;  owner=team-a, ticket=NET-1, until=2027-01-31\n!b.example # denied in 2026\n\
                c.example # until=2020-01-31T18:00:00Z\nd.example\n.c.example\n";
    let (_, policy) = list(text.as_bytes()).unwrap();
    let rules: Vec<_> = policy
        .iter()
        .map(|rule| {
            let RuleText { purpose, owner, ticket } = rule.text();
            (purpose, owner, ticket, rule.until().map(|until| until.to_string()).unwrap_or_default())
        })
        .collect();
    let expected = [
        ("build mirrors", "team-a", "NET-1", "2027-01-31"),
        ("denied in 2026", "", "", ""),
        ("", "", "", "2020-01-31T18:00:00Z"),
        ("", "", "", ""),
        ("", "", "", ""),
    ];
    assert_eq!(
        rules,
        expected.map(|(purpose, owner, ticket, until)| (purpose, owner, ticket, until.to_owned()))
    );
    // What ended before the list was read does not apply.
    let name = crate::wire::presentation::read_name("c.example").unwrap();
    assert_eq!(policy.rule_for(&name).map(|rule| rule.line()), Some(3));
    let now = std::time::SystemTime::now();
    assert_eq!(policy.end_rules(now).iter().map(|rule| rule.line()).collect::<Vec<_>>(), [3]);
    assert_eq!(policy.rule_for(&name).map(|rule| rule.line()), Some(5));
    assert!(policy.end_rules(now).is_empty());
}

#[test]
fn the_form_of_a_file_makes_no_other_policy() {
    let tables = "[[allow]]\nhost = \"*.a.example\"\n[[deny]]\nhost = \"b.a.example\"\n";
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("own.toml"), tables).unwrap();
    let mut policy = PolicyBuilder::new();
    read(
        &settings(&["own".to_owned()], Some(directory.path())),
        &BTreeMap::new(),
        &mut policy,
        &mut server_lists(),
    )
    .unwrap();
    let policy = policy.build(Compile::new(Mode::Enforce));
    assert_eq!(policy.hash(), list(b"*.a.example\n!b.a.example\n").unwrap().1.hash());
}

#[test]
fn faults_in_a_list_are_told_where_they_stand() {
    let long = [b"a.example\n# ".as_slice(), &[b'x'; 1 << 16], b"\nb..example\n"].concat();
    for (text, told) in [
        (
            &b"a.example\n\n*foo.example\nb.example\r\n   !x..example # no\r\n"[..],
            &[
                "3:1 Error `*` must be the whole first label, with a domain after it | write `*.foo.example` for all subdomains, \
                 `.foo.example` to include the name itself",
                "5:6 Error empty label: two dots in a row",
            ] as &[&str],
        ),
        (
            b"0.0.0.0 a.example\n{acr}.azurecr.io\n10.0.0.4\n!\n||a.example^\na.example b.example\n",
            &[
                "1:8 Error host name contains a space | this is a line of a hosts file: write only the name to allow it, \
                 or `!` and the name to deny it",
                "2:1 Error invalid character `{` in host name | write the value itself; \
                 only `.toml` allowlists can use parameters",
                "3:1 Error rules match names, not IP addresses | allow addresses in the firewall instead",
                "4:2 Error the host is empty",
                "5:1 Error invalid character `|` in host name | write `\\|` if the label contains this character",
                "6:10 Error host name contains a space | write one pattern per line, and `#` before a comment",
            ],
        ),
        (
            b"a.example\nb\xfccher.example\nb..example\n",
            &["2:2 Error the file is not UTF-8 from here on | save it as UTF-8"],
        ),
        (
            b"a.example\n*.com",
            &[
                "2:1 Error the last line has no line ending: the file may be cut off | if it is complete, end it with a newline",
            ],
        ),
        (
            b"a.example # owner=\nb.example # x owner=a for the team\nc.example # until=2027-02-30\n# until=never\n",
            &[
                "1:13 Error unexpected `owner=` in the comment | write the purpose first, then `owner=`, `ticket=` and \
                 `until=`, each once and with one word",
                "2:23 Error unexpected `for` in the comment | write the purpose first, then `owner=`, `ticket=` and \
                 `until=`, each once and with one word",
                "3:13 Error invalid end `2027-02-30` | write a date such as `2027-01-31`, or a time such as \
                 `2027-01-31T18:00:00Z`",
            ],
        ),
        (
            b"a.example # x,until=2025-01-01\nb.example # Until=2025-01-01\nc.example # for May, until = 2025-01-01\n\
              d.example # until: May\ne.example # until May, or funtil=1\nf.example # until=2027-01-31 until=2026-01-01\n",
            &[
                "1:15 Error the end of a rule is not written as `until=\u{2026}` | write it at the end of the comment as one word: \
                 `until=2027-01-31`",
                "2:13 Error the end of a rule is not written as `until=\u{2026}` | write it at the end of the comment as one word: \
                 `until=2027-01-31`",
                "3:22 Error the end of a rule is not written as `until=\u{2026}` | write it at the end of the comment as one word: \
                 `until=2027-01-31`",
                "4:13 Error the end of a rule is not written as `until=\u{2026}` | write it at the end of the comment as one word: \
                 `until=2027-01-31`",
                "6:30 Error unexpected `until=2026-01-01` in the comment | write the purpose first, then `owner=`, `ticket=` and \
                 `until=`, each once and with one word",
            ],
        ),
        (&long, &["2:1 Error line longer than 65536 bytes | write one pattern per line"]),
    ] {
        let report = list(text).err().unwrap();
        assert_eq!(report.lines(), told, "{}", String::from_utf8_lossy(&text[..text.len().min(100)]));
    }

    for empty in [&b""[..], b"\n \r\n"] {
        let report = list(empty).err().unwrap().to_string();
        assert!(report.contains("own.list") && report.contains("the file is empty"), "{report}");
    }

    let report = list(&b"a..example\n".repeat(1_000_000)).err().unwrap();
    assert_eq!(report.diagnostics().len(), 101, "{report}");
    let drawn = report.render(false);
    assert!(drawn.contains("own.list:100:2\n") && drawn.contains("100 | a..example"), "{drawn}");
    assert!(drawn.contains("reading stopped after 100 errors"), "{drawn}");
}

#[test]
fn a_name_with_files_of_both_forms_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("own.toml"), "[[allow]]\nhost = \"a.example\"\n").unwrap();
    std::fs::write(path("own.list"), "a.example\nb.example\n").unwrap();
    let read = |name: &str| {
        let settings = settings(&[name.to_owned()], Some(directory.path()));
        read(&settings, &BTreeMap::new(), &mut PolicyBuilder::new(), &mut server_lists())
    };
    let report = read("own").unwrap_err().to_string();
    assert!(
        report.contains("allowlist `own` has two files: ") && report.contains("own.toml and "),
        "{report}"
    );
    for (file, count) in [("own.toml", 1), ("own.list", 2)] {
        let zone = &read(&path(file)).unwrap().list[0];
        assert_eq!((zone.name.as_str(), zone.count), ("own", count));
    }
    let report = read(&path("none.list")).unwrap_err().to_string();
    assert!(report.contains("none.list") && report.contains("file not found"), "{report}");
    assert!(
        unknown("own", Some(directory.path())).is_none() && unknown("owm", Some(directory.path())).is_some()
    );
}
