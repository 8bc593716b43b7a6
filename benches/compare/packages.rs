//! Installs the peers' packages if they are missing, without starting their services.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Debian runs this program to ask whether a package's service may start; exit code 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The version of an installed package.
pub(crate) fn version(package: &str) -> Option<String> {
    let query =
        Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Abbrev}${Version}", package]).output();
    let status = String::from_utf8(query.ok()?.stdout).ok()?;
    status.strip_prefix("ii ").map(str::to_owned)
}

/// Installs packages and disables their services, so that none runs now or after a reboot.
pub(crate) fn install(packages: &[&str]) -> io::Result<()> {
    let _no_services = NoServices::begin()?;
    apt_get(&["update", "-qq"], &[])?;
    apt_get(&["install", "-qq", "--no-install-recommends"], packages)?;
    if Path::new("/run/systemd/system").exists() {
        for package in packages {
            for unit in units(package)? {
                // Templates and aliases cannot be disabled, and need not be.
                run(Command::new("systemctl").args(["--quiet", "disable", "--now", &unit])).ok();
            }
        }
    }
    Ok(())
}

fn apt_get(arguments: &[&str], packages: &[&str]) -> io::Result<()> {
    let mut command = Command::new("apt-get");
    run(command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments).args(packages))
}

/// The service units in a package.
fn units(package: &str) -> io::Result<Vec<String>> {
    let files = Command::new("dpkg").args(["--listfiles", package]).output()?.stdout;
    let files = String::from_utf8_lossy(&files);
    let units = files.lines().filter(|file| file.contains("/systemd/system/") && file.ends_with(".service"));
    Ok(units.filter_map(|file| file.rsplit('/').next()).map(str::to_owned).collect())
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}", error.trim_end())))
}

/// While this exists, installing a package starts no service.
struct NoServices {
    is_ours: bool,
}

impl NoServices {
    fn begin() -> io::Result<Self> {
        let is_ours = !Path::new(POLICY).exists();
        if is_ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}
