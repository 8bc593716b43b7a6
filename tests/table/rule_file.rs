//! Runs the rows of `rule_files.toml`: valid and invalid rules.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use serde::Deserialize;
use tempfile::TempDir;

use super::load;
use crate::support::command::namegate;
use crate::support::settings::write_settings;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFiles {
    row: Vec<Row>,
}

/// An allowlist file and its required result.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// A sentence in kebab case.
    name: String,
    /// A single `host` in an otherwise valid file.
    host: Option<String>,
    /// The whole file.
    text: Option<String>,
    /// Names it must allow.
    #[serde(default)]
    allows: Vec<String>,
    /// Names it must not allow.
    #[serde(default)]
    blocks: Vec<String>,
    /// Where it is refused: `LINE:COLUMN`.
    refused_at: Option<String>,
    /// Other texts that the report must contain.
    #[serde(default)]
    report: Vec<String>,
}

/// One test per row.
pub(crate) fn trials() -> Vec<Trial> {
    let rows = load::<RuleFiles>("rule_files").row;
    rows.into_iter()
        .map(|row| Trial::test(format!("rule_files::{}", row.name), move || Ok(row.run()?)))
        .collect()
}

impl Row {
    fn run(&self) -> Result<(), String> {
        let directory = TempDir::new().map_err(|error| error.to_string())?;
        let zones = directory.path().join("zones");
        fs::create_dir(&zones)
            .and_then(|()| fs::write(zones.join("row.toml"), self.file()))
            .map_err(|error| error.to_string())?;
        let settings =
            "policy.allow = []\npolicy.zones = [\"row\"]\npolicy.zones_directory = \"{dir}/zones\"";
        write_settings(directory.path(), &["127.0.0.1:53535".parse().expect("an address")], settings);
        match &self.refused_at {
            Some(place) => self.is_refused(directory.path(), place),
            None => self.is_taken(directory.path()),
        }
    }

    /// The file; `host` is on line 6 and its text begins at column 9.
    fn file(&self) -> String {
        let around = |host: &str| {
            format!(
                "title = \"Row\"\nsource = \"a test\"\nrevised = 2026-01-01\n\n[[allow]]\nhost = {}\npurpose = \"none\"\n",
                toml::Value::from(host)
            )
        };
        self.text.clone().or_else(|| self.host.as_deref().map(around)).expect("a row has `host` or `text`")
    }

    fn is_refused(&self, directory: &Path, place: &str) -> Result<(), String> {
        let run = namegate(directory, &["check", "--config", "namegate.toml"]);
        let place = format!("row.toml:{place}");
        let missing: Vec<&String> =
            self.report.iter().chain([&place]).filter(|text| !run.stderr.contains(text.as_str())).collect();
        if run.code == 1 && missing.is_empty() {
            return Ok(());
        }
        Err(format!("exit code {}; {missing:?} missing in:\n{}{}", run.code, run.stdout, run.stderr))
    }

    fn is_taken(&self, directory: &Path) -> Result<(), String> {
        let run = namegate(directory, &["check", "--config", "namegate.toml"]);
        if run.code != 0 {
            return Err(format!("the file is refused:\n{}", run.stderr));
        }
        let names = self.allows.iter().map(|name| (name, 0)).chain(self.blocks.iter().map(|name| (name, 1)));
        for (name, code) in names {
            let run = namegate(directory, &["explain", name, "--config", "namegate.toml"]);
            if run.code != code {
                return Err(format!(
                    "explain {name}: exit code {}, not {code}:\n{}{}",
                    run.code, run.stdout, run.stderr
                ));
            }
        }
        Ok(())
    }
}
