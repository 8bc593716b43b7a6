//! Tests the warnings of `namegate check`: none for good settings, otherwise the location and a fix.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::command::{Finished, namegate};

const OWN: &str =
    "title = \"Own\"\nsource = \"a page\"\nrevised = 2020-02-29\n\n[[allow]]\nhost = \"*.own.example\"\n";
const LEGACY: &str = "[[allow]]\nhost = \"a.example\"\npurpose = \"an old client\"\nlegacy = true\n\
    [[allow]]\nhost = \"*.b.example\"\nlegacy = true\n";
const LOCAL: &str = "@ 60 IN SOA ns hostmaster 1 3600 300 86400 10\n@ 60 IN NS ns\nns 60 IN A 192.0.2.53\n";

/// A directory with these settings and the files that rows name.
fn directory(settings: &str) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    for (name, text) in [
        ("namegate.toml", settings),
        ("own.toml", OWN),
        ("legacy.toml", LEGACY),
        ("local.zone", LOCAL),
        (
            "ended.list",
            ".ended.example # owner=team-a until=2020-01-31\na.b.example # until=2020-02-01\n.b.example\nc.b.example # until=2999-01-01\n",
        ),
        ("names.list", "a.list.example\nb.list.example\na.list.example\n!ml.azure.com\n"),
    ] {
        fs::write(directory.path().join(name), text).expect("a file can be written");
    }
    directory
}

fn check(directory: &Path, arguments: &[&str]) -> Finished {
    namegate(directory, &[&["check", "--config", "namegate.toml"], arguments].concat())
}

/// The kinds of warnings, with counts.
fn kinds(run: &Finished) -> Vec<(String, usize)> {
    let kind = |line: &str| {
        let (kind, rest) = line.strip_prefix("warning[")?.split_once("]: ")?;
        let (_, count) = rest.strip_suffix(')')?.rsplit_once('(')?;
        Some((kind.to_owned(), count.parse().ok()?))
    };
    run.stderr.lines().filter_map(kind).collect()
}

/// A case: an allowlist, and the kinds of warnings about its rules.
type EffectRow = (&'static str, &'static str, &'static [(&'static str, usize)]);

/// Rules that look alike, but have another effect.
const OTHER_EFFECT: &[EffectRow] = &[
    (
        "the wider rule ends",
        "[[allow]]\nhost = \".x.example\"\nuntil = 2999-01-31\n[[allow]]\nhost = \"a.x.example\"\n",
        &[],
    ),
    (
        "the wider rule ends first",
        "[[allow]]\nhost = \".x.example\"\nuntil = 2999-01-31\n[[allow]]\nhost = \"a.x.example\"\nuntil = 2999-02-01\n",
        &[],
    ),
    (
        "the wider rule ends last",
        "[[allow]]\nhost = \".x.example\"\nuntil = 2999-01-31\n[[allow]]\nhost = \"a.x.example\"\nuntil = 2999-01-31\n",
        &[("redundant", 1)],
    ),
    (
        "the deny rule ends",
        "[[allow]]\nhost = \"a.x.example\"\n[[deny]]\nhost = \"a.x.example\"\nuntil = 2999-01-31\n",
        &[],
    ),
    (
        "a denied name is denied for longer",
        "[[deny]]\nhost = \".x.example\"\nuntil = 2999-01-31\n[[deny]]\nhost = \"a.x.example\"\n",
        &[],
    ),
    (
        "the wider rule expects other addresses",
        "[[allow]]\nhost = \".x.example\"\nexpect = \"private\"\n[[allow]]\nhost = \"a.x.example\"\n",
        &[],
    ),
    (
        "the narrow rule has a port more",
        "[[allow]]\nhost = \".x.example\"\nports = [\"tcp/443\"]\n[[allow]]\nhost = \"a.x.example\"\nports = [\"tcp/443\", \"tcp/22\"]\n",
        &[],
    ),
    (
        "the narrow rule has a port less",
        "[[allow]]\nhost = \".x.example\"\nports = [\"tcp/443\", \"tcp/22\"]\n[[allow]]\nhost = \"a.x.example\"\nports = [\"tcp/443\"]\n",
        &[("redundant", 1)],
    ),
];

#[test]
fn rules_with_another_effect_are_not_redundant() {
    for (case, rules, expected) in OTHER_EFFECT {
        let directory = directory("[policy]\nzones = [\"mine.toml\"]\n");
        let text = format!("title = \"Mine\"\n{rules}");
        fs::write(directory.path().join("mine.toml"), text).expect("a file can be written");
        let run = check(directory.path(), &[]).expect_code(0);
        let expected: Vec<(String, usize)> =
            expected.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        assert_eq!(kinds(&run), expected, "{case}:\n{}", run.stderr);
    }
}

#[test]
fn rules_of_allowlists_with_other_conditions_are_not_redundant() {
    for (case, first) in
        [("cname", "cname = \"inspect\"\n"), ("servers", "servers = [\"192.0.2.53:53\"]\n"), ("until", "")]
    {
        let directory = directory("[policy]\nzones = [\"one.toml\", \"two.toml\"]\n");
        let end = if case == "until" { "until = 2999-01-31\n" } else { "" };
        let one = format!(
            "title = \"One\"\n{first}[[allow]]\nhost = \".x.example\"\n{end}\
             [[allow]]\nhost = \"b.y.example\"\n{end}"
        );
        let two = "title = \"Two\"\n[[allow]]\nhost = \"a.x.example\"\n[[allow]]\nhost = \"b.y.example\"\n";
        for (file, text) in [("one.toml", one.as_str()), ("two.toml", two)] {
            fs::write(directory.path().join(file), text).expect("a file can be written");
        }
        let run = check(directory.path(), &[]).expect_code(0);
        assert!(kinds(&run).is_empty(), "{case}:\n{}", run.stderr);
    }
}

#[test]
fn what_files_say_cannot_reach_the_terminal() {
    let directory = directory("[policy]\nzones = [\"mine.toml\"]\n");
    let text = "title = \"Mine\"\n[[allow]]\nhost = \"a.x.example\"\nuntil = 2020-01-31\n\
         owner = \"\\u001b[2J\\u009b31m\\u202eteam\"\n\
         [[allow]]\nhost = \"b.x.example\"\nlegacy = true\npurpose = \"\\u001b]0;x\\u0007\"\n";
    fs::write(directory.path().join("mine.toml"), text).expect("a file can be written");
    let run = check(directory.path(), &[]);
    for shown in [&run.stdout, &run.stderr] {
        let hostile = shown.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(hostile, None, "{shown:?}");
    }
}

/// A case: settings, the kinds of warnings, and a line of the warning.
type Row = (&'static str, &'static str, &'static [(&'static str, usize)], &'static str);

const ROWS: &[Row] = &[
    ("all is well", "[policy]\nzones = []\nallow = [\"ml.azure.com\", \"*.azureml.ms\"]\n", &[], ""),
    (
        "a wider rule says the same",
        "[policy]\nzones = []\nallow = [\".x.example\",\n  \"a.x.example\",\n  \"*.b.x.example\"]\n",
        &[("redundant", 2)],
        "  --> namegate.toml:4: `a.x.example`: covered by `.x.example` at namegate.toml:3",
    ),
    (
        "a rule is no wider than itself",
        "[policy]\nzones = []\nallow = [\"*.x.example\", \"x.example\"]\n",
        &[],
        "",
    ),
    (
        "a rule between says the contrary",
        "[policy]\nzones = []\nallow = [\".x.example\", \"a.b.x.example\"]\ndeny = [\"*.b.x.example\"]\n",
        &[],
        "",
    ),
    (
        "a denied name is denied twice",
        "[policy]\nzones = []\nallow = [\".x.example\"]\ndeny = [\"*.b.x.example\", \"a.b.x.example\"]\n",
        &[("redundant", 1)],
        "deny `a.b.x.example`: covered by `*.b.x.example` at namegate.toml:4",
    ),
    (
        "deny wins over the same pattern",
        "[policy]\nzones = []\nallow = [\"a.example\"]\ndeny = [\"a.example\"]\n",
        &[("no-effect", 1)],
        "  --> namegate.toml:3: `a.example`: overridden by `a.example` at namegate.toml:4",
    ),
    (
        "a shipped zone has the name",
        "[policy]\nzones = [\"r\"]\nallow = [\"cloud.r-project.org\"]\n",
        &[("duplicate", 1)],
        "`cloud.r-project.org`: already covered by `cloud.r-project.org` at zones/r.toml:",
    ),
    (
        "a list has the name twice",
        "[policy]\nzones = [\"names.list\"]\n",
        &[("duplicate", 1)],
        "  --> names.list:3: `a.list.example`: already covered by `a.list.example` at names.list:1",
    ),
    (
        "a local zone answers",
        "[policy]\nzones = []\nallow = [\"*.corp.example\", \"a.corp.example\"]\n\
         [[local]]\norigin = \"corp.example\"\nfile = \"local.zone\"\n",
        &[("no-effect", 2)],
        "`a.corp.example`: local zone `corp.example` answers instead",
    ),
    (
        "public resolvers are open",
        "[policy]\nzones = []\nallow = [\"dns.google\",\n \"x1.cloudflare-gateway.com\", \".quad9.net\"]\n",
        &[("public-resolver", 7)],
        "  --> namegate.toml:3: `dns.google` (Google), allowed by `dns.google`",
    ),
    (
        "a public resolver is denied",
        "[policy]\nzones = []\nallow = [\".controld.com\"]\ndeny = [\".dns.controld.com\", \".freedns.controld.com\"]\n",
        &[],
        "",
    ),
    (
        "wildcards open what anyone can take",
        "[policy]\nzones = []\nallow = [\".windows.net\", \"*.github.io\", \".co.uk\", \"me.gitlab.io\"]\n",
        &[("public-suffix", 1), ("broad", 2)],
        "`.co.uk`: every domain below a public suffix",
    ),
    (
        "only retired software queries a name",
        "[policy]\nzones = [\"legacy.toml\"]\ndeny = [\"*.b.example\"]\n",
        &[("no-effect", 1), ("legacy", 1)],
        "  --> legacy.toml:2: `a.example`: an old client",
    ),
    (
        "rules have ended",
        "[policy]\nzones = [\"ended.list\"]\nallow = [\"a.ended.example\"]\n",
        &[("redundant", 1), ("ended", 2)],
        "  --> ended.list:1: `.ended.example`: until 2020-01-31, owner team-a",
    ),
    (
        "tunnels are open",
        "[policy]\nzones = []\nallow = [\"*.ngrok.io\", \".visualstudio.com\", \"mine.loca.lt\", \"ngrok.example\"]\n",
        &[("tunnel", 3)],
        "`.visualstudio.com`: dev tunnels (`tunnels.api.visualstudio.com`)",
    ),
    (
        "placeholders are allowed",
        "[policy]\nzones = []\nallow = [\"your-acr.azurecr.io\", \"www.example.com\", \"yourself.example\"]\n",
        &[("placeholder", 2)],
        "`your-acr.azurecr.io`: a placeholder: write your own name",
    ),
    (
        "targets of CNAME records are allowed",
        "[policy]\nzones = []\nallow = [\"acr.trafficmanager.net\", \"mine.privatelink.azurecr.io\"]\n",
        &[("alias-target", 2)],
        "`acr.trafficmanager.net`: Azure Traffic Manager",
    ),
    (
        "targets of CNAME records are inspected",
        "[policy]\nzones = []\ncname = \"inspect\"\nallow = [\"acr.trafficmanager.net\"]\n",
        &[],
        "",
    ),
    (
        "an edition is old",
        "[policy]\nzones = [\"own.toml\"]\n",
        &[("outdated", 1)],
        "  --> own.toml: revised 2020-02-29, from a page",
    ),
    (
        "a name of the vendor's list is denied",
        "[policy]\nzones = [\"r\", \"names.list\"]\ndeny = [\"cloud.r-project.org\"]\n",
        &[("vendor-denied", 1), ("duplicate", 1)],
        "`cloud.r-project.org`: denied by `cloud.r-project.org` at namegate.toml:3",
    ),
];

#[test]
fn each_fault_is_told_with_its_place() {
    for (case, settings, expected, line) in ROWS {
        let directory = directory(settings);
        let run = check(directory.path(), &[]).expect_code(0);
        let expected: Vec<(String, usize)> =
            expected.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        assert_eq!(kinds(&run), expected, "{case}:\n{}", run.stderr);
        assert!(run.stderr.contains(line), "{case}: `{line}` is not in\n{}", run.stderr);
        assert_eq!(run.stderr.matches("  help: ").count(), expected.len(), "{case}");
        assert!(run.stdout.ends_with("\nok\n"), "{case}: {}", run.stdout);
    }
}

#[test]
fn the_default_settings_are_told_of_briefly() {
    let directory = directory("# defaults\n");
    let run = check(directory.path(), &[]).expect_code(0);
    let kinds: Vec<String> = kinds(&run).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["broad", "legacy", "inactive"], "{}", run.stderr);
    assert!(run.stderr.lines().count() < 26, "{}", run.stderr);
    for text in ["--> zones/azure-ml.toml:", "more (--all shows them)", "acr = [\"…\"], endpoint = [\"…\"]"]
    {
        assert!(run.stderr.contains(text), "`{text}` is not in\n{}", run.stderr);
    }
    let all = check(directory.path(), &["--all"]).expect_code(0);
    assert!(
        all.stderr.contains(
            "`.windows.net`: marked `broad`, purpose: Azure Storage, as listed in the 2020 edition"
        ),
        "{}",
        all.stderr
    );
    assert!(!all.stderr.contains("--all") && all.stderr.lines().count() > run.stderr.lines().count());
}

#[test]
fn strict_is_told_what_it_leaves_out() {
    let directory =
        directory("[policy]\nzones = [\"azure-ml\"]\nstrict = true\n[parameters]\nstorage = [\"mine\"]\n");
    let run = check(directory.path(), &["--all"]).expect_code(0);
    let kinds: Vec<String> = kinds(&run).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["vendor-strict", "legacy", "inactive"], "{}", run.stderr);
    assert!(run.stderr.contains("`*.blob.core.windows.net`: blobs of any account"), "{}", run.stderr);
    assert!(!run.stderr.contains("`{storage}`"), "{}", run.stderr);
    // An active narrow rule stands for the same entry of the list.
    assert!(!run.stderr.contains("`*.file.core.windows.net`"), "{}", run.stderr);
    assert!(
        run.stderr.contains("no published names: run with `policy.mode = \"observe\"`"),
        "{}",
        run.stderr
    );
}

#[test]
fn whole_services_denied_are_told_once_for_each_rule() {
    let directory = directory("[policy]\nzones = [\"azure-ml\"]\ndeny = [\"*.azureml.ms\"]\n");
    let run = check(directory.path(), &[]).expect_code(0);
    assert!(
        run.stderr.contains("`*.azureml.ms`: denied by `*.azureml.ms` at namegate.toml:3"),
        "{}",
        run.stderr
    );
    // A more specific rule of the list stays in force.
    assert!(!run.stderr.contains("`*.instances.azureml.ms`: denied"), "{}", run.stderr);
}

#[test]
fn warnings_can_be_denied_and_allowed() {
    let directory = directory("# defaults\n");
    let run = check(directory.path(), &["--deny-warnings"]).expect_code(1);
    assert!(!run.stdout.contains("ok\n"), "{}", run.stdout);
    assert!(run.stderr.ends_with("error: 3 warnings, and --deny-warnings is set\n"), "{}", run.stderr);
    check(directory.path(), &["--deny-warnings", "--allow", "broad"]).expect_code(1);
    let run =
        check(directory.path(), &["--deny-warnings", "--allow", "broad,inactive,legacy"]).expect_code(0);
    assert_eq!(run.stderr, "");
    check(directory.path(), &["--allow", "nonsense"]).expect_code(2);
    // Warnings found while reading count too.
    fs::write(directory.path().join("namegate.toml"), "[policy]\nzones = []\n[parameters]\nteam = [\"a\"]\n")
        .expect("a file can be written");
    check(directory.path(), &["--deny-warnings"])
        .expect_code(1)
        .expect_stderr(&["`team`", "error: 1 warning, and --deny-warnings is set"]);
}

#[test]
fn shipped_zones_get_along() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(root.join("zones")).expect("the shipped allowlists");
    let name = |file: fs::DirEntry| file.path().file_stem().map(|name| format!("{name:?}"));
    let names: Vec<String> = files.map(|file| file.expect("a directory entry")).filter_map(name).collect();
    let directory = directory(&format!("[policy]\nzones = [{}]\n", names.join(", ")));
    let run = check(directory.path(), &[]).expect_code(0);
    for (kind, _) in kinds(&run) {
        assert!(["broad", "legacy", "inactive", "outdated"].contains(&kind.as_str()), "{}", run.stderr);
    }
}
