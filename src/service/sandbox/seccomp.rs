//! seccomp: an allowlist of system calls (seccomp(2)).
//!
//! Other calls fail with EPERM. Ending the process instead would turn every new call of a library or kernel into a DNS
//! outage, and either way an attacker's call fails.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::os::fd::RawFd;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

use super::system_calls::{ALLOWED, Condition, NOT_IMPLEMENTED, Test, restricted};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Restricts the system calls of all threads; returns a description. The only listener that may be opened is `awaited`.
///
/// Errors: the kernel has no filters, or none can be built for this processor.
pub(super) fn restrict(awaited: Option<RawFd>) -> Result<String, String> {
    let (older, allowed) = (unknown_calls(), allowed_calls(awaited));
    let arch = TargetArch::try_from(ARCH).map_err(|error| error.to_string())?;
    let older = older.and_then(|rules| filter(rules, SeccompAction::Allow, NO_SUCH_CALL, arch));
    let count = allowed.as_ref().map_or(0, Rules::len).saturating_sub(NOT_IMPLEMENTED.len());
    let newer = allowed.and_then(|rules| filter(rules, DENY, SeccompAction::Allow, arch));
    // The stricter result of two filters wins, so the second may allow what the first declines.
    for program in [older, newer] {
        let program = program.map_err(|error| error.to_string())?;
        apply_filter_all_threads(&program).map_err(|error| error.to_string())?;
    }
    Ok(format!("seccomp: {count} system calls"))
}

/// The result of a call that is not allowed.
const DENY: SeccompAction = SeccompAction::Errno(libc::EPERM as u32);

/// The result that makes a C library fall back to an older call.
const NO_SUCH_CALL: SeccompAction = SeccompAction::Errno(libc::ENOSYS as u32);

fn filter(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
    arch: TargetArch,
) -> Result<BpfProgram, BackendError> {
    SeccompFilter::new(rules, otherwise, matched, arch)?.try_into()
}

fn unknown_calls() -> Result<Rules, BackendError> {
    Ok(NOT_IMPLEMENTED.iter().map(|call| (*call, Vec::new())).collect())
}

fn allowed_calls(awaited: Option<RawFd>) -> Result<Rules, BackendError> {
    let whole = ALLOWED.iter().flat_map(|(_, calls)| *calls).chain(NOT_IMPLEMENTED);
    let mut rules: Rules = whole.map(|call| (*call, Vec::new())).collect();
    for (call, alternatives) in restricted(std::process::id(), awaited) {
        let alternatives =
            alternatives.iter().map(|conditions| rule(conditions)).collect::<Result<_, _>>()?;
        rules.insert(call, alternatives);
    }
    Ok(rules)
}

/// A rule that matches if all of `conditions` match.
fn rule(conditions: &[Condition]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions.iter().map(|Condition { argument, test }| {
        // The kernel reads only 32 bits of such an argument; the other bits may be anything.
        let (length, operator, value) = match *test {
            Test::Is(value) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value),
            Test::Bits { mask, value } => (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value),
            Test::IsNull => (SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
        };
        SeccompCondition::new(*argument, length, operator, value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}
