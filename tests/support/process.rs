//! Resource use of a running namegate (Linux).

use std::fs;
use std::time::Duration;

use super::gate::Gate;

/// Resident memory in bytes.
pub(crate) fn memory(gate: &Gate) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gate.pid())).expect("namegate runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("resident memory");
    let kibibytes: usize = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("kB");
    kibibytes * 1024
}

/// CPU time so far, in steps of 10 ms.
pub(crate) fn processor_time(gate: &Gate) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", gate.pid())).expect("namegate runs");
    // proc_pid_stat(5): after the name in parentheses, utime and stime are the 12th and 13th fields, in hundredths of a second.
    let after = stat.rsplit_once(") ").expect("a name in parentheses").1;
    let ticks: u64 =
        after.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// Number of open file descriptors.
pub(crate) fn descriptors(gate: &Gate) -> usize {
    fs::read_dir(format!("/proc/{}/fd", gate.pid())).expect("namegate runs").count()
}
