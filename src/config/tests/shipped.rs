//! The shipped settings files.

use super::*;

/// Every key of every section, as `section.key`.
fn keys(text: &str) -> BTreeSet<String> {
    let table: toml::Table = text.parse().unwrap();
    let sections = table.iter().filter_map(|(name, section)| Some((name, section.as_table()?)));
    sections.flat_map(|(name, section)| section.keys().map(move |key| format!("{name}.{key}"))).collect()
}

#[test]
fn the_shipped_files_say_what_they_claim() {
    let defaults = Settings::default();
    for (name, text) in [("every-option", EVERY_OPTION), ("namegate", EMBEDDED)] {
        let (settings, report) = read(text);
        assert!(report.is_empty(), "{name}: {report}");
        assert_eq!(settings, defaults, "{name}");
    }
    let missing: Vec<String> = keys(&defaults.to_toml()).difference(&keys(EVERY_OPTION)).cloned().collect();
    assert!(missing.is_empty(), "every-option.toml lacks {missing:?}");
    assert!(EVERY_OPTION.contains("# [[local]]\n# origin = ") && EVERY_OPTION.contains("# file = "));

    let (azure, report) = read(AZURE);
    assert!(report.is_empty(), "{report}");
    assert_eq!(azure.server.listen, ["10.0.0.4:53".parse().unwrap()]);
    assert_eq!(azure.upstream.servers, ["168.63.129.16".parse().unwrap()]);
    assert_eq!(azure.policy.mode, crate::policy::Mode::Observe);
    assert!(azure.policy.zones.contains(&"sign-in".to_owned()));
}
