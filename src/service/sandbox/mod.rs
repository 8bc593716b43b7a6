//! The sandbox: drops privileges once the sockets are bound, before the process reads anything from the network.
//!
//! Capabilities, `no_new_privs`, Landlock domains and seccomp filters belong to threads, and new threads inherit them.
//! So [`enter`] is called on the main thread while it is the only one, and applies to all later threads.

#[cfg(target_os = "linux")]
mod capabilities;
pub mod files;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod seccomp;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod system_calls;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::path::PathBuf;

use crate::config;
use crate::net::socket::AwaitedListener;
use crate::util::log_event::log;
use files::Files;

/// The result of entering the sandbox; logged once there is a log.
#[derive(Debug, Default)]
pub struct Sandbox {
    /// Active restrictions, as text.
    confined: Vec<String>,
    /// Missing restrictions, and why.
    missing: Vec<String>,
    /// Readable paths, if reading is restricted.
    readable: Option<Vec<PathBuf>>,
    /// Paths whose Landlock rules last only while they are held open.
    #[cfg(target_os = "linux")]
    _held: Vec<::landlock::PathFd>,
}

/// Drops the privileges that `settings` name, for this thread and all it starts. `files` are the files it will need,
/// and `awaited` is the only listener that it may still open.
///
/// Restrictions that the kernel does not support are skipped and logged; the resolver runs without them.
#[cfg(target_os = "linux")]
pub fn enter(
    settings: &config::SandboxSettings,
    files: &Files,
    awaited: Option<&AwaitedListener>,
) -> Sandbox {
    let mut sandbox = Sandbox::default();
    // The last step forbids the system calls that the others need.
    match settings.drop_capabilities {
        true => sandbox.note("capabilities", capabilities::drop_all()),
        false => sandbox.is_off("drop_capabilities", "the process keeps its capabilities"),
    }
    match settings.no_new_privileges {
        true => {
            let set = rustix::thread::set_no_new_privs(true);
            sandbox.note(
                "no_new_privs",
                set.map(|()| "no new privileges".to_owned()).map_err(|e| e.to_string()),
            );
        }
        false => sandbox.is_off("no_new_privileges", "executed files can add privileges"),
    }
    match settings.landlock {
        true => match landlock::restrict(files, awaited.map(|listener| listener.address().port())) {
            Ok(landlock::Restricted { told, held }) => {
                sandbox.readable = Some(files.all_readable());
                sandbox._held = held;
                sandbox.note("Landlock", Ok(told));
            }
            Err(error) => sandbox.note("Landlock", Err(error)),
        },
        false => sandbox.is_off("landlock", "only permissions limit file access"),
    }
    match settings.seccomp {
        true => sandbox.note("seccomp", seccomp::restrict(awaited.map(AwaitedListener::descriptor))),
        false => sandbox.is_off("seccomp", "all system calls are allowed"),
    }
    sandbox
}

/// Does nothing: the sandbox needs Linux.
#[cfg(not(target_os = "linux"))]
pub fn enter(_: &config::SandboxSettings, _: &Files, _: Option<&AwaitedListener>) -> Sandbox {
    let missing = vec!["[sandbox] needs Linux".to_owned()];
    Sandbox { missing, ..Sandbox::default() }
}

#[cfg(all(
    target_os = "linux",
    not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))
))]
mod seccomp {
    /// Restricts nothing.
    pub(crate) fn restrict(_: Option<std::os::fd::RawFd>) -> Result<String, String> {
        Err("no filter exists for this processor architecture".to_owned())
    }
}

impl Sandbox {
    #[cfg(target_os = "linux")]
    fn note(&mut self, what: &str, result: Result<String, String>) {
        match result {
            Ok(told) => self.confined.push(told),
            Err(error) => self.missing.push(format!("{what} failed: {error}")),
        }
    }

    #[cfg(target_os = "linux")]
    fn is_off(&mut self, key: &str, effect: &str) {
        self.missing.push(format!("`sandbox.{key} = false`: {effect}"));
    }

    /// Logs the active restrictions in one line, and a warning for each missing one.
    pub fn tell(&self) {
        if !self.confined.is_empty() {
            log!(Sandbox, "sandbox: {}", self.confined.join("; "));
        }
        for missing in &self.missing {
            log!(SandboxIncomplete, "sandbox incomplete: {missing}");
        }
    }

    /// A hint for `error`, which made a reload fail, if the sandbox may have caused it.
    pub fn remedy(&self, error: &str) -> Option<String> {
        let readable = self.readable.as_ref().filter(|_| error.contains(DENIED))?;
        Some(format!(
            "\n  help: the sandbox only allows reading {}; restart namegate to let it read what the settings name now; \
             if files move often, set `sandbox.landlock = false` before the restart",
            files::list(readable)
        ))
    }
}

/// How the standard library prints EACCES, which Landlock returns.
const DENIED: &str = "(os error 13)";
