//! Tests the shipped allowlists against their sources: every rule has one, the vendor's pages are covered, and `strict`
//! blocks strangers' names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::project::examples::{allows, data, files, in_parallel, root, settings};

#[derive(Deserialize)]
struct Shipped {
    #[serde(default)]
    edition: Vec<Edition>,
    allow: Vec<Rule>,
    #[serde(default)]
    alias: Vec<Alias>,
}

#[derive(Deserialize)]
struct Edition {
    id: String,
}

#[derive(Deserialize)]
struct Rule {
    host: String,
    #[serde(default)]
    listed: Vec<String>,
    #[serde(default)]
    broad: bool,
}

#[derive(Deserialize)]
struct Alias {
    host: String,
    to: Vec<String>,
    #[serde(default)]
    listed: Vec<String>,
}

/// The shipped allowlists, by name, with their texts.
fn shipped() -> BTreeMap<String, (String, Shipped)> {
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name in UTF-8").to_owned();
        let text = fs::read_to_string(path).expect("an allowlist");
        let list = parse(&name, &text);
        (name, (text, list))
    };
    files("zones", "toml").iter().map(read).collect()
}

fn parse<T: DeserializeOwned>(name: &str, text: &str) -> T {
    toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// True if the line above the table with this `host` line is a comment.
fn is_explained(text: &str, table: &str, host: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let wanted = format!("\"{host}\"");
    let is_host = |line: &&str| line.starts_with("host") && line.ends_with(&wanted);
    lines
        .iter()
        .enumerate()
        .filter(|(_, line)| is_host(line))
        .any(|(at, _)| at >= 2 && lines[at - 1] == table && lines[at - 2].starts_with('#'))
}

#[test]
fn every_rule_is_on_a_page_or_says_why_it_is_here() {
    for (name, (text, list)) in shipped() {
        for rule in list.allow.iter().filter(|rule| rule.listed.is_empty()) {
            assert!(is_explained(&text, "[[allow]]", &rule.host), "{name}: {}", rule.host);
        }
        for alias in list.alias.iter().filter(|alias| alias.listed.is_empty()) {
            assert!(is_explained(&text, "[[alias]]", &alias.host), "{name}: {}", alias.host);
        }
        let used = list.allow.iter().flat_map(|rule| &rule.listed);
        let used: BTreeSet<&String> = used.chain(list.alias.iter().flat_map(|alias| &alias.listed)).collect();
        let named: BTreeSet<&String> = list.edition.iter().map(|edition| &edition.id).collect();
        assert_eq!(used, named, "{name}: editions used and named");
    }
}

#[test]
fn no_alias_admits_names_of_strangers() {
    let shared = [
        "trafficmanager.net",
        "akadns.net",
        "cloudapp.azure.com",
        "cloudapp.net",
        "azurefd.net",
        "fastly.net",
    ];
    for (name, (_, list)) in shipped() {
        let hosts: BTreeSet<&str> = list.allow.iter().map(|rule| rule.host.as_str()).collect();
        for alias in &list.alias {
            assert!(
                hosts.contains(alias.host.as_str()),
                "{name}: no rule has the alias's host {}",
                alias.host
            );
        }
        for target in list.alias.iter().flat_map(|alias| &alias.to) {
            let wildcard = target.strip_prefix("*.").or_else(|| target.strip_prefix('.'));
            let is_shared = |wildcard: &str| shared.iter().any(|shared| shared.ends_with(wildcard));
            assert!(!wildcard.is_some_and(is_shared), "{name}: {target}");
        }
    }
}

#[test]
fn broad_rules_are_those_of_the_page() {
    let page = fs::read_to_string(root().join("docs/broad-rules.md")).expect("a page");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split("` | `");
        let (list, rest) = (cells.next()?, cells.next()?);
        let (rule, rest) = rest.split_once("` | ")?;
        assert!(rest.split(" | ").all(|cell| cell.trim_matches([' ', '|']).len() > 4), "{line}");
        Some((list.to_owned(), rule.to_owned()))
    });
    let lists = shipped();
    let broad = lists.iter().flat_map(|(name, (_, list))| {
        list.allow.iter().filter(|rule| rule.broad).map(|rule| (name.clone(), rule.host.clone()))
    });
    assert_eq!(rows.collect::<BTreeSet<_>>(), broad.collect::<BTreeSet<_>>());
}

#[derive(Deserialize)]
struct Pages {
    name: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    cloud: String,
    page: String,
    printed: String,
    name: String,
    default: bool,
}

/// Names of each cloud's pages: all, and those that the default allowlists allow.
const PAGES: &[(&str, usize, usize)] = &[("china", 31, 6), ("government", 31, 31), ("public", 110, 76)];

#[test]
fn every_host_of_the_vendors_pages_is_allowed() {
    let rows = data::<Pages>("vendor-pages.toml").name;
    let mut counts = BTreeMap::<&str, (usize, usize)>::new();
    for row in &rows {
        let (all, default) = counts.entry(&row.cloud).or_default();
        *all += 1;
        *default += usize::from(row.default);
    }
    let counts: Vec<_> = counts.into_iter().map(|(cloud, (all, default))| (cloud, all, default)).collect();
    assert_eq!(counts, PAGES);
    let names: Vec<String> = shipped().into_keys().collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = settings(&names, &Table::new(), false);
    let default = tempfile::TempDir::new().expect("a temporary directory");
    fs::write(default.path().join("namegate.toml"), "# defaults\n").expect("a file can be written");
    in_parallel(&rows, |row| {
        let Listed { cloud, page, printed, name, .. } = row;
        let missing =
            (!allows(all.path(), name)).then(|| format!("{cloud}, {page}, {printed}: {name} is blocked"));
        let differs = (allows(default.path(), name) != row.default)
            .then(|| format!("{cloud}, {page}, {printed}: {name} by default: not {}", row.default));
        missing.into_iter().chain(differs).collect()
    });
}

#[derive(Deserialize)]
struct StrictWorkspace {
    zones: Vec<String>,
    parameters: Table,
    name: Vec<Needed>,
}

#[derive(Deserialize)]
struct Needed {
    need: String,
    name: String,
    allowed: bool,
    why: String,
}

#[test]
fn a_strict_workspace_has_its_names_and_no_others() {
    let workspace: StrictWorkspace = data("strict-workspace.toml");
    let zones: Vec<&str> = workspace.zones.iter().map(String::as_str).collect();
    let directory = settings(&zones, &workspace.parameters, true);
    in_parallel(&workspace.name, |row| {
        let Needed { need, name, why, .. } = row;
        let differs = allows(directory.path(), name) != row.allowed;
        let failure = || format!("{need}: {name} ({why}): allowed is not {}", row.allowed);
        differs.then(failure).into_iter().collect()
    });
}

#[test]
fn strict_blocks_strangers_below_every_broad_rule() {
    let lists = shipped();
    let hosts = lists.values().flat_map(|(_, list)| list.allow.iter().map(|rule| rule.host.as_str()));
    let parameters = hosts.flat_map(|host| host.split('{').skip(1)).filter_map(|rest| rest.split('}').next());
    let own = |name: &str| (name.to_owned(), Value::from(vec![format!("own-{}", name.replace('_', "-"))]));
    let parameters: Table = parameters.map(own).collect();
    let names: Vec<&str> = lists.keys().map(String::as_str).collect();
    let directory = settings(&names, &parameters, true);
    let broad = lists.values().flat_map(|(_, list)| list.allow.iter().filter(|rule| rule.broad));
    let strangers: BTreeSet<String> =
        broad.map(|rule| format!("stranger.{}", rule.host.trim_start_matches(['*', '.']))).collect();
    assert!(strangers.len() > 40, "{strangers:?}");
    let strangers: Vec<String> = strangers.into_iter().collect();
    in_parallel(&strangers, |name| is_open(directory.path(), name).into_iter().collect());
}

fn is_open(directory: &Path, name: &str) -> Option<String> {
    allows(directory, name).then(|| format!("{name} is allowed with strict"))
}
