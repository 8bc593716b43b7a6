//! `namegate check`: everything wrong with settings, zones, parameters and master files.

use std::fmt::Write;
use std::io::IsTerminal;

use super::{OK, print, warn};
use crate::assemble::Assembly;
use crate::reload::summary;

/// Reports what was read; errors were reported before.
pub(super) fn run(assembly: &Assembly) -> u8 {
    if !assembly.warnings.is_empty() {
        let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        warn(&assembly.warnings.render(color));
    }
    for parameter in &assembly.unused_parameters {
        warn(&format!("warning: the parameter `{parameter}` is used by no zone that is loaded"));
    }
    let mut text = format!("{}: {}\n", assembly.origin, summary(assembly));
    for zone in &assembly.zones {
        let asleep = zone.rules.iter().filter(|rule| !rule.missing.is_empty()).count();
        let _ = write!(text, "  {}: {} rules", zone.file, zone.count - asleep);
        if asleep > 0 {
            let mut missing: Vec<&str> =
                zone.rules.iter().flat_map(|rule| &rule.missing).map(String::as_str).collect();
            missing.sort_unstable();
            missing.dedup();
            let _ = write!(text, ", {asleep} asleep for want of [parameters] {}", missing.join(", "));
        }
        text.push('\n');
    }
    for (origin, records) in assembly.local.sizes() {
        let _ = writeln!(text, "  local zone {origin}: {records} records");
    }
    text.push_str("ok\n");
    print(&text);
    OK
}
