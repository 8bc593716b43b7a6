//! Tests of the plan: what a workspace needs, and the settings for it.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::policy::rule::Pattern;

const TODAY: Date = Date { year: 2026, month: 11, day: 30 };

fn request(needed: &str) -> InitRequest {
    let dependency = |text: &str| Dependency {
        category: "Category".to_owned(),
        pattern: Pattern::parse(text).unwrap(),
        ports: Vec::new(),
        place: "value[0]".to_owned(),
    };
    InitRequest {
        cloud: None,
        resources: BTreeMap::new(),
        dependencies: needed.split_whitespace().map(dependency).collect(),
        strict: false,
        listen: vec!["10.0.0.4:53".parse().unwrap()],
        origin: "needs.json".to_owned(),
        today: TODAY,
    }
}

/// The plan as text: cloud, allowlists beside the usual ones, parameters, names to allow, wildcards left out.
fn shown(plan: &SettingsPlan) -> [String; 4] {
    let usual = crate::config::PolicySettings::default().zones;
    let zones =
        plan.zones.iter().map(|list| list.name.as_str()).filter(|name| !usual.iter().any(|one| one == name));
    let values = plan.parameters.iter().map(|(name, values)| {
        let generic = name
            .rsplit_once("gov_")
            .or_else(|| name.rsplit_once("china_"))
            .map_or(name.as_str(), |(_, name)| name);
        format!("{generic}={}", values.join("+"))
    });
    let hosts =
        |list: &[Dependency]| list.iter().map(|one| one.pattern.to_string()).collect::<Vec<_>>().join(" ");
    let zones: Vec<&str> = zones.collect();
    [zones.join(" "), values.collect::<Vec<_>>().join(" "), hosts(&plan.allow), hosts(&plan.wildcards)]
}

/// A case, what is needed, and [`shown`]. The data's allowlists have their own names, so only stable hosts occur.
type Row = (&'static str, &'static str, [&'static str; 4]);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("nothing", "", ["", "", "", ""]),
    ("names that rules have", "login.microsoftonline.com ml.azure.com *.azureml.ms", ["", "", "", ""]),
    ("values of parameters", "contoso.blob.core.windows.net contoso.file.core.windows.net contosoacr.azurecr.io",
        ["", "acr=contosoacr storage=contoso", "", ""]),
    ("several values, one spelling", "A.blob.core.windows.net b.blob.core.windows.net a.dfs.core.windows.net",
        ["", "storage=a+b", "", ""]),
    ("a value that a wider rule covers too", "westeurope.tundra.azureml.ms", ["", "region=westeurope", "", ""]),
    ("a registry of the vendor", "arcmktplaceprod.azurecr.io", ["", "", "", ""]),
    ("a wildcard names a region", "*.westeurope.batch.azure.com", ["", "region=westeurope", "", ""]),
    ("a wildcard above the parameter names nothing", "*.blob.core.windows.net", ["", "", "", ""]),
    ("two parameters of one rule", "contosoacr.westeurope.data.azurecr.io", ["", "acr=contosoacr region=westeurope", "", ""]),
    ("another shipped allowlist", "archive.ubuntu.com", ["ubuntu", "", "", ""]),
    ("names of nobody", "packages.corp.example b.corp.example b.corp.example",
        ["", "", "b.corp.example packages.corp.example", ""]),
    ("wildcards of nobody", "*.corp.example", ["", "", "", "*.corp.example"]),
    ("a name that the allowlist denies, below a shared suffix", "contoso.database.windows.net", ["", "", "", ""]),
    ("Government", "login.microsoftonline.us ml.azure.us contoso.blob.core.usgovcloudapi.net graph.windows.net",
        ["", "storage=contoso", "", ""]),
    ("China", "studio.ml.azure.cn login.chinacloudapi.cn contoso.blob.core.chinacloudapi.cn",
        ["azure-china", "storage=contoso", "", ""]),
];

#[test]
fn needs_become_allowlists_values_and_names() {
    for (case, needed, expected) in ROWS {
        assert_eq!(shown(&plan(request(needed)).unwrap()), *expected, "{case}");
    }
    let clouds = ["", "ml.azure.com", "ml.azure.us", "studio.ml.azure.cn", "nowhere.example"];
    let clouds = clouds.map(|needed| plan(request(needed)).unwrap().cloud);
    let (public, government, china) = (AzureCloud::Public, AzureCloud::Government, AzureCloud::China);
    assert_eq!(clouds, [public, public, government, china, public]);
    // Only the allowlist of the cloud is used or offered.
    let plan = plan(InitRequest { cloud: Some(government), ..request("") }).unwrap();
    let names = plan.zones.iter().chain(&plan.others).map(|list| list.name.as_str());
    let names: Vec<&str> =
        names.filter(|name| ["azure-ml", "azure-government", "azure-china"].contains(name)).collect();
    assert_eq!(names, ["azure-government"]);
}

#[test]
fn doubtful_names_are_only_comments() {
    for (name, doubt) in [
        ("dns.google", "a public resolver, through which clients bypass namegate (Google)"),
        ("use-application-dns.net", "a public resolver"),
        ("x.ngrok.io", "part of a service that can carry any traffic (ngrok tunnels)"),
        ("com", "a public suffix or a single label"),
        ("co.uk", "a public suffix or a single label"),
        ("github.io", "a public suffix or a single label"),
        ("stranger.s3.amazonaws.com", "below amazonaws.com, where anyone can create names"),
        ("stranger.blob.core.chinacloudapi.cn", "below core.chinacloudapi.cn"),
        ("x.postgres.cosmos.azure.com", "below postgres.cosmos.azure.com"),
        ("stranger.database.windows.net", "below database.windows.net"),
        ("\\*.star.example", "a name with characters that hosts do not have"),
    ] {
        let plan = plan(InitRequest { cloud: Some(AzureCloud::Public), ..request(name) }).unwrap();
        assert_eq!(shown(&plan), ["", "", "", ""], "{name}");
        let doubts: Vec<&str> = plan.doubtful.iter().map(|one| one.doubt.as_str()).collect();
        assert!(matches!(doubts[..], [found] if found.starts_with(doubt)), "{name}: {doubts:?}");
        let text = to_toml(&plan, "namegate.toml");
        let settings: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(settings["policy"]["allow"].as_array().unwrap().len(), 0, "{text}");
        assert!(text.contains(&format!("    #   It is {doubt}")), "{text}");
    }
}

#[test]
fn strict_leaves_wildcards_of_everyone_blocked() {
    let needed = "*.blob.core.windows.net contoso.blob.core.windows.net";
    let strict = plan(InitRequest { strict: true, ..request(needed) }).unwrap();
    assert_eq!(shown(&strict), ["", "storage=contoso", "", "*.blob.core.windows.net"]);
}

#[test]
fn options_become_the_parameters_of_the_cloud() {
    for cloud in [AzureCloud::Public, AzureCloud::Government, AzureCloud::China] {
        let resources = RESOURCES
            .map(|(resource, _, example)| (resource, vec![example.to_uppercase(), example.to_owned()]));
        let request = InitRequest { cloud: Some(cloud), resources: resources.into(), ..request("") };
        let plan = plan(request).unwrap();
        let values = "acr=contosoacr key_vault=contosovault region=westeurope storage=contosostore";
        assert_eq!(shown(&plan)[1], values, "{cloud:?}");
        let known: Vec<&String> = plan.zones[0].rules.iter().flat_map(|rule| &rule.missing).collect();
        assert!(plan.parameters.keys().all(|name| known.contains(&name)), "{:?}", plan.parameters);
    }
}

#[test]
fn values_that_are_no_label_are_refused_with_help() {
    for (resource, value, error) in [
        (
            "region",
            "West Europe",
            "error: --region `West Europe`: invalid character ` ` in label\n  help: write the region without spaces",
        ),
        ("storage", "c.blob.core.windows.net", "help: write only the name: `--storage c`"),
        ("key_vault", "", "error: --key-vault ``: the value is empty"),
        ("acr", "*", "error: --acr `*`: invalid character `*`"),
        ("acr", "a\n[policy]", "error: --acr `a\\n[policy]`: invalid character"),
    ] {
        let request =
            InitRequest { resources: BTreeMap::from([(resource, vec![value.to_owned()])]), ..request("") };
        let found = plan(request).unwrap_err().to_string();
        assert!(found.contains(error), "{value}: {found}");
    }
}
