//! [`to_toml`]: the settings file.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::plan::{DoubtfulHost, SettingsPlan};
use crate::allowlist::{Allowlist, Dependency};
use crate::util::escape::on_one_line;

/// Azure's resolver, in every region and cloud.
const AZURE_RESOLVER: &str = "168.63.129.16";

/// The settings as a TOML file. `file` is its name in the next steps. Of outside text it only contains host names, labels
/// and, in comments, text on one line.
pub fn to_toml(plan: &SettingsPlan, file: &str) -> String {
    let mut text = String::new();
    heading(&mut text, plan, file);
    server(&mut text, plan);
    policy(&mut text, plan);
    parameters(&mut text, plan);
    text.push_str(
        "\n[admin]\n# Status page, metrics and the commands `learn`, `top` and `shadow`: only from this machine.\n\
         listen = \"127.0.0.1:9153\"\n\n\
         [log]\n# Lookups of names that enforce mode would block, for `namegate learn`. The directory must exist. Without a file they\n\
         # go to standard output, and the resolver itself only remembers the most frequent names until it stops.\n\
         # file = \"/var/log/namegate/queries.json\"\n",
    );
    if !plan.must_resolve.is_empty() {
        let _ = writeln!(
            text,
            "\n[prove]\n# Names that namegate queries every minute, to notice when they stop resolving.\nmust_resolve = {}",
            list(&plan.must_resolve)
        );
    }
    text
}

fn heading(text: &mut String, plan: &SettingsPlan, file: &str) {
    let file = on_one_line(file);
    let _ = write!(
        text,
        "# namegate for an Azure Machine Learning workspace ({}).\n\
         # Written by `namegate init` on {}, from {}.\n\
         #\n\
         # Next steps:\n\
         # 1. Check:    namegate check --config {file}\n\
         # 2. Observe:  start namegate with this file, and point the clients to it. Nothing is blocked yet: names that no rule\n\
         #              allows are forwarded, counted and logged.\n\
         # 3. Learn:    when every kind of job has run once, `namegate learn` suggests rules for these names.\n\
         # 4. Enforce:  set `mode = \"enforce\"` below, reload with SIGHUP, and test with `namegate prove`.\n",
        plan.cloud.allowlist(),
        plan.today,
        on_one_line(&plan.origin),
    );
}

fn server(text: &mut String, plan: &SettingsPlan) {
    let _ = write!(
        text,
        "\n[server]\n\
         # Where clients send their queries. Not 0.0.0.0:53: systemd-resolved listens on 127.0.0.53:53 on most machines, and the\n\
         # two would collide.\n\
         listen = {}\n\
         # By default, private networks are served, and {AZURE_RESOLVER}, the source of load balancer probes.\n\
         # allow_clients = [\"10.1.0.0/16\", \"{AZURE_RESOLVER}\"]\n\
         # Machines share Azure's IPv6 subnets, which are /64, so each address counts as one client.\n\
         ipv6_prefix_length = 128\n\
         \n[upstream]\n\
         # Azure's resolver, the same address in every region and cloud. It knows the private zones linked to this network.\n\
         servers = [\"{AZURE_RESOLVER}\"]\n",
        list(&plan.listen),
    );
}

fn policy(text: &mut String, plan: &SettingsPlan) {
    text.push_str("\n[policy]\n# Change to \"enforce\" in step 4.\nmode = \"observe\"\n");
    text.push_str("# Shipped allowlists. Remove the `#` of those that you need.\nzones = [\n");
    let line = |head: &str, list: &Allowlist| {
        format!("    {head}{:<22}# {}\n", format!("\"{}\",", list.name), on_one_line(&list.title))
    };
    plan.zones.iter().for_each(|list| text.push_str(&line("", list)));
    plan.others.iter().for_each(|list| text.push_str(&line("# ", list)));
    text.push_str("]\n");
    text.push_str(
        "# true leaves out the rules that also allow names of other tenants, such as storage accounts.\n",
    );
    let _ = writeln!(text, "strict = {}", plan.strict);
    if plan.allow.is_empty() && plan.doubtful.is_empty() && plan.wildcards.is_empty() {
        text.push_str("# More names, such as an on-premises package mirror.\nallow = []\n");
        return;
    }
    text.push_str("# Names that the workspace needs and no allowlist above has.\nallow = [\n");
    plan.allow.iter().for_each(|one| text.push_str(&needed("", one)));
    if !plan.doubtful.is_empty() {
        text.push_str(
            "    # The workspace's list has these names too. Remove the `#` only of names that you know.\n",
        );
        for DoubtfulHost { host, doubt } in &plan.doubtful {
            text.push_str(&needed("# ", host));
            let _ = writeln!(text, "    #   It is {}.", on_one_line(doubt));
        }
    }
    if !plan.wildcards.is_empty() {
        text.push_str("    # The workspace's list has these wildcards, but they also allow names of other tenants. Find the names that\n");
        text.push_str("    # your jobs query with `namegate learn`, and add only those.\n");
        plan.wildcards.iter().for_each(|one| text.push_str(&needed("# ", one)));
    }
    text.push_str("]\n");
}

/// A line of `policy.allow`.
fn needed(head: &str, dependency: &Dependency) -> String {
    let pattern = toml::Value::from(dependency.pattern.to_string());
    format!("    {head}{pattern},  # {}\n", on_one_line(&dependency.category))
}

fn parameters(text: &mut String, plan: &SettingsPlan) {
    text.push_str("\n[parameters]\n# Your own resources. Rules whose parameter has no value are inactive.\n");
    let mut hosts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for rule in plan.zones.iter().flat_map(|list| &list.rules) {
        rule.missing.iter().for_each(|name| hosts.entry(name).or_default().push(&rule.host));
    }
    for (name, hosts) in &hosts {
        let more = match hosts.len() {
            0 | 1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let used = format!("for {}{more}", hosts.first().copied().unwrap_or_default());
        let _ = match plan.parameters.get(*name) {
            Some(values) => writeln!(text, "{name} = {}  # {used}", list(values)),
            None => writeln!(text, "# {name} = [\"…\"]  # {used}"),
        };
    }
}

/// A TOML array of strings.
fn list<T: ToString>(values: &[T]) -> String {
    let values: Vec<String> =
        values.iter().map(|value| toml::Value::from(value.to_string()).to_string()).collect();
    format!("[{}]", values.join(", "))
}
