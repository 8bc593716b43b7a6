//! [`RuleUseStore`]: collects the uses of rules, and saves them across restarts.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::engine::State;
use crate::observe::rule_uses::{RuleUses, SavedRuleUse};
use crate::util::log_event::log;
use crate::util::own_file;
use crate::util::sync::lock;

/// The file in the state directory.
const FILE: &str = "rule-uses.json";

/// Version of the file format.
const VERSION: u32 = 1;

/// How often hits are collected: the precision of a rule's last use.
const COLLECT: Duration = Duration::from_secs(10);

/// How often they are saved. A crash loses this much.
const SAVE: Duration = Duration::from_secs(300);

/// Collects the uses of rules from the states, and saves them in a directory, if one is set.
#[derive(Debug)]
pub struct RuleUseStore {
    path: Option<PathBuf>,
    uses: Arc<RuleUses>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    collected: Instant,
    saved: Instant,
    has_failed: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    rules: Vec<SavedRuleUse>,
}

impl RuleUseStore {
    /// Fills `uses` with what was saved in `directory`, and counts the rules of `state` from now on. A file that is not
    /// what this version writes is logged and renamed: counting starts anew.
    pub fn restore(directory: Option<PathBuf>, uses: Arc<RuleUses>, state: &State) -> Self {
        let path = directory.map(|directory| directory.join(FILE));
        if let Some(path) = &path {
            match own_file::read(path)
                .map_err(|error| error.to_string())
                .and_then(|text| read(text.as_deref()))
            {
                Ok(saved) => uses.restore(saved),
                Err(error) => {
                    let remedy = match fs::rename(path, path.with_extension("unreadable")) {
                        Ok(()) => {
                            "it is renamed to rule-uses.unreadable, and counting starts anew".to_owned()
                        }
                        Err(error) => format!("counting starts anew; move it away, which failed: {error}"),
                    };
                    log!(
                        RuleUsesUnreadable,
                        "cannot read the uses of rules in {}: {error}\n  help: {remedy}",
                        path.display()
                    );
                }
            }
        }
        uses.adopt(state, SystemTime::now());
        let now = Instant::now();
        let progress = Progress { collected: now, saved: now, has_failed: false };
        Self { path, uses, progress: Mutex::new(progress) }
    }

    /// Collects the hits of `old`, which decides nothing any longer, and of `state`, which does from now on.
    pub fn adopt(&self, old: &State, state: &State) {
        let now = SystemTime::now();
        self.collect(old);
        self.uses.adopt(state, now);
    }

    /// Collects the hits of `state`.
    pub fn collect(&self, state: &State) {
        self.uses.collect(state, SystemTime::now());
    }

    /// Collects and saves if it is time to.
    pub fn tend(&self, state: &State) {
        let now = Instant::now();
        let (is_due, is_old) = {
            let mut progress = lock(&self.progress);
            let is_due = now.saturating_duration_since(progress.collected) >= COLLECT;
            if is_due {
                progress.collected = now;
            }
            (is_due, now.saturating_duration_since(progress.saved) >= SAVE)
        };
        if is_due {
            self.collect(state);
        }
        if is_due && is_old {
            self.save();
        }
    }

    /// Collects the last hits of `state` and saves them.
    pub fn finish(&self, state: &State) {
        self.collect(state);
        self.save();
    }

    fn save(&self) {
        let Some(path) = &self.path else { return };
        lock(&self.progress).saved = Instant::now();
        if !self.uses.take_change() {
            return;
        }
        let contents = Contents { version: VERSION, rules: self.uses.saved() };
        let text = serde_json::to_string(&contents).unwrap_or_default();
        let saved = own_file::replace(path, text.as_bytes());
        let mut progress = lock(&self.progress);
        if let Err(error) = &saved {
            self.uses.note_change();
            if !progress.has_failed {
                log!(RuleUsesUnsaved, "cannot save the uses of rules in {}: {error}", path.display());
            }
        }
        progress.has_failed = saved.is_err();
    }
}

fn read(text: Option<&str>) -> Result<Vec<SavedRuleUse>, String> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let Contents { version, rules } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match version {
        VERSION => Ok(rules),
        other => Err(format!("unsupported version {other}, expected {VERSION}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_whole_files_of_this_version_are_read() {
        let rule = r#"{"allowlist":"azure-ml","action":"allow","rule":"*.azureml.ms","since":"2026-11-30T08:00:00Z","hits":7,"last":"2026-11-30T09:00:00Z"}"#;
        let one = format!(r#"{{"version":1,"rules":[{rule}]}}"#);
        let saved = read(Some(&one)).unwrap();
        assert_eq!((saved.len(), saved[0].rule_use.hits, saved[0].rule_use.last.is_some()), (1, 7, true));
        let written = serde_json::to_string(&Contents { version: VERSION, rules: saved }).unwrap();
        assert_eq!(written, one);
        assert!(read(None).unwrap().is_empty());
        for (text, said) in [
            ("", "EOF"),
            (&one[..one.len() / 2], "EOF"),
            (r#"{"version":2,"rules":[]}"#, "version 2"),
            (r#"{"version":1,"rules":[],"more":1}"#, "more"),
            (r#"{"version":1,"rules":[{"allowlist":"a"}]}"#, "missing field"),
        ] {
            let error = read(Some(text)).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
