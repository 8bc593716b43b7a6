//! The sandbox: what the process gives up once its sockets are bound, before it reads anything from the network.
//!
//! Capabilities, `no_new_privs`, Landlock domains and seccomp filters belong to threads, and new threads inherit them. So
//! [`enter`] is called on the main thread while it is the only one, and holds for all that come after.

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
use files::Files;

/// What came of giving things up. It is told once there is a log.
#[derive(Debug, Default)]
pub struct Sandbox {
    /// What is in force, for people.
    confined: Vec<String>,
    /// What is not, and why.
    missing: Vec<String>,
    /// What may be read, where that is restricted.
    readable: Option<Vec<PathBuf>>,
    /// What counts as named only as long as it is held open.
    #[cfg(target_os = "linux")]
    _held: Vec<::landlock::PathFd>,
}

/// Gives up what `settings` say, in this thread and all that it starts. `files` are those it will need, and `awaited` is the
/// one listener that it may still open.
///
/// What the kernel does not know is left out and told: a gate without it is still one.
#[cfg(target_os = "linux")]
pub fn enter(
    settings: &config::SandboxSettings,
    files: &Files,
    awaited: Option<&AwaitedListener>,
) -> Sandbox {
    let mut sandbox = Sandbox::default();
    // The last one forbids the calls that the others need.
    match settings.drop_capabilities {
        true => sandbox.note("capabilities", capabilities::drop_all()),
        false => sandbox.is_off("drop_capabilities", "capabilities stay"),
    }
    match settings.no_new_privileges {
        true => {
            let set = rustix::thread::set_no_new_privs(true);
            sandbox.note(
                "no_new_privs",
                set.map(|()| "no new privileges".to_owned()).map_err(|e| e.to_string()),
            );
        }
        false => sandbox.is_off("no_new_privileges", "a file that is executed may give privileges"),
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
        false => sandbox.is_off("landlock", "every file may be used that permissions allow"),
    }
    match settings.seccomp {
        true => sandbox.note("seccomp", seccomp::restrict(awaited.map(AwaitedListener::descriptor))),
        false => sandbox.is_off("seccomp", "every system call may be made"),
    }
    sandbox
}

/// Gives up nothing: only Linux has what it takes.
#[cfg(not(target_os = "linux"))]
pub fn enter(_: &config::SandboxSettings, _: &Files, _: Option<&AwaitedListener>) -> Sandbox {
    let missing = vec!["nothing is given up: [sandbox] needs Linux".to_owned()];
    Sandbox { missing, ..Sandbox::default() }
}

#[cfg(all(
    target_os = "linux",
    not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))
))]
mod seccomp {
    /// Restricts nothing.
    pub(crate) fn restrict(_: Option<std::os::fd::RawFd>) -> Result<String, String> {
        Err("there is no filter for this processor".to_owned())
    }
}

impl Sandbox {
    #[cfg(target_os = "linux")]
    fn note(&mut self, what: &str, result: Result<String, String>) {
        match result {
            Ok(told) => self.confined.push(told),
            Err(error) => self.missing.push(format!("{what} could not be restricted: {error}")),
        }
    }

    #[cfg(target_os = "linux")]
    fn is_off(&mut self, key: &str, effect: &str) {
        self.missing.push(format!("`{key} = false` in [sandbox]: {effect}"));
    }

    /// Logs what is in force, in one line, and what is not.
    pub fn tell(&self) {
        if !self.confined.is_empty() {
            tracing::info!("confined: {}", self.confined.join("; "));
        }
        for missing in &self.missing {
            tracing::warn!("not confined: {missing}");
        }
    }

    /// What to say besides `error`, which kept a reload from taking place: the sandbox may stand behind it.
    pub fn remedy(&self, error: &str) -> Option<String> {
        let readable = self.readable.as_ref().filter(|_| error.contains(DENIED))?;
        Some(format!(
            "  help: until it is started again the sandbox lets this process read nothing but {}; restart it to have it \
             read what the settings name now, or set `landlock = false` in [sandbox]",
            files::list(readable)
        ))
    }
}

/// How the standard library words EACCES, which is what Landlock answers with.
const DENIED: &str = "(os error 13)";
