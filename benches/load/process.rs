//! Resource use of a process, read from outside (proc(5)), and CPU pinning.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Unit of times in /proc/PID/stat on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process, used and waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// Time on a CPU, in user and kernel mode.
    pub(crate) on_cpu: Duration,
    /// Time runnable while something else ran.
    pub(crate) waiting: Duration,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// In RAM now.
    pub(crate) resident: u64,
    /// Part of `resident` that is not backed by a file.
    pub(crate) anonymous: u64,
    /// Highest value so far.
    pub(crate) peak: u64,
}

/// Pins a process, and threads it starts later, to some cores, in taskset(1) syntax.
pub(crate) fn keep_to(id: u32, cores: &str) -> io::Result<()> {
    let id = id.to_string();
    let output = Command::new("taskset").args(["--all-tasks", "--pid", "--cpu-list", cores, &id]).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Pins this thread, and what it starts later, to one core.
pub(crate) fn keep_thread_to(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Memory of a process.
pub(crate) fn memory(id: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(directory(id).join("status"))?;
    let kibibytes = |key| {
        let line = status.lines().find_map(|line: &str| line.strip_prefix(key));
        line.and_then(|value| value.trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let bytes = |key| kibibytes(key) << 10;
    Ok(Memory { resident: bytes("VmRSS:"), anonymous: bytes("RssAnon:"), peak: bytes("VmHWM:") })
}

/// Number of open descriptors.
pub(crate) fn descriptors(id: u32) -> io::Result<usize> {
    Ok(fs::read_dir(directory(id).join("fd"))?.count())
}

/// Number of threads.
pub(crate) fn threads(id: u32) -> io::Result<usize> {
    Ok(fs::read_dir(directory(id).join("task"))?.count())
}

fn directory(id: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{id}"))
}

/// Time all programs together spent on a core since boot (proc_stat(5)); zero if unavailable.
pub(crate) fn busy(core: usize) -> Duration {
    /// Fields to skip: idle, iowait, and guest times, which are counted twice.
    const NOT: [usize; 4] = [3, 4, 8, 9];
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")));
    let fields = line.unwrap_or_default().split_whitespace().enumerate();
    let ticks =
        fields.filter(|(field, _)| !NOT.contains(field)).filter_map(|(_, ticks)| ticks.parse::<u32>().ok());
    TICK * ticks.sum()
}

/// CPU time of this thread.
pub(crate) fn time_of_thread() -> Duration {
    let figures = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    figures
        .split(' ')
        .next()
        .and_then(|nanoseconds| nanoseconds.parse().ok())
        .map_or(Duration::ZERO, Duration::from_nanos)
}

/// CPU times of a process's threads, of its running children, and of those that ended.
pub(crate) fn times(id: u32) -> io::Result<Times> {
    let mut total = Times::default();
    total.on_cpu += TICK * ended_children(&fs::read_to_string(directory(id).join("stat"))?);
    for thread in fs::read_dir(directory(id).join("task"))? {
        let thread = thread?.path();
        // A thread or child may end between listing and reading.
        let Ok(figures) = fs::read_to_string(thread.join("schedstat")) else { continue };
        let mut figures = figures.split(' ').map(|nanoseconds| nanoseconds.parse().map(Duration::from_nanos));
        let mut next = || figures.next().and_then(Result::ok).unwrap_or_default();
        total.on_cpu += next();
        total.waiting += next();
        let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            let times = times(child).unwrap_or_default();
            total.on_cpu += times.on_cpu;
            total.waiting += times.waiting;
        }
    }
    Ok(total)
}

/// Ticks of reaped children: fields 16 and 17 of proc_pid_stat(5), counted after the name in parentheses.
fn ended_children(stat: &str) -> u32 {
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum()
}
