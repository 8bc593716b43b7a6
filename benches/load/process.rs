//! What a process takes of the machine, read from outside (proc(5)), and which cores it has.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

/// The unit of times in /proc/PID/stat, on Linux everywhere.
const TICK: Duration = Duration::from_millis(10);

/// What a process had of the processors, and wanted of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// Spent on a CPU, in user and kernel mode.
    pub(crate) on_cpu: Duration,
    /// Spent ready to run, while something else did.
    pub(crate) waiting: Duration,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// In RAM now.
    pub(crate) resident: u64,
    /// Of that, what belongs to no file.
    pub(crate) anonymous: u64,
    /// The most that ever was.
    pub(crate) peak: u64,
}

/// Keeps a process, and the threads it starts from now on, to some cores, written as taskset(1) takes them.
pub(crate) fn keep_to(id: u32, cores: &str) -> io::Result<()> {
    let id = id.to_string();
    let output = Command::new("taskset").args(["--all-tasks", "--pid", "--cpu-list", cores, &id]).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Keeps this thread, and what it starts from now on, to one core.
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

/// How many descriptors a process has open.
pub(crate) fn descriptors(id: u32) -> io::Result<usize> {
    Ok(fs::read_dir(directory(id).join("fd"))?.count())
}

/// How many threads a process has.
pub(crate) fn threads(id: u32) -> io::Result<usize> {
    Ok(fs::read_dir(directory(id).join("task"))?.count())
}

fn directory(id: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{id}"))
}

/// Time that all programs together had on a core since the machine's start (proc_stat(5)); nothing where it is not told.
pub(crate) fn busy(core: usize) -> Duration {
    /// Fields that are no work: idle, and idle with something to be read; and those that are counted twice, of guests.
    const NOT: [usize; 4] = [3, 4, 8, 9];
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")));
    let fields = line.unwrap_or_default().split_whitespace().enumerate();
    let ticks =
        fields.filter(|(field, _)| !NOT.contains(field)).filter_map(|(_, ticks)| ticks.parse::<u32>().ok());
    TICK * ticks.sum()
}

/// Time that this thread had on a CPU.
pub(crate) fn time_of_thread() -> Duration {
    let figures = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    figures
        .split(' ')
        .next()
        .and_then(|nanoseconds| nanoseconds.parse().ok())
        .map_or(Duration::ZERO, Duration::from_nanos)
}

/// Times of the threads of a process, of its running children, and of those that have ended.
pub(crate) fn times(id: u32) -> io::Result<Times> {
    let mut total = Times::default();
    total.on_cpu += TICK * ended_children(&fs::read_to_string(directory(id).join("stat"))?);
    for thread in fs::read_dir(directory(id).join("task"))? {
        let thread = thread?.path();
        // A thread, or a child, may end between being listed and being read.
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

/// Ticks of children that were waited for: fields 16 and 17 of proc_pid_stat(5), counted after the name in parentheses.
fn ended_children(stat: &str) -> u32 {
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum()
}
