//! Drops all capabilities: none are needed once the ports are bound (capabilities(7)).

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Capabilities are numbered from 0 to at most 63.
const NUMBERS: u32 = 64;

/// Drops all capabilities of this thread for good; returns a description.
///
/// Errors: the kernel's refusal, in its words.
pub(super) fn drop_all() -> Result<String, String> {
    // Linux before 4.3 has no ambient set to clear.
    match clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error.to_string()),
    }
    let is_bounded = drop_bounding_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(|error| error.to_string())?;
    // Only a thread with CAP_SETPCAP can empty the bounding set. With no_new_privs the set grants nothing.
    let bounding = if is_bounded { "" } else { " (bounding set unchanged: emptying it needs CAP_SETPCAP)" };
    Ok(format!("no capabilities{bounding}"))
}

/// Empties the bounding set; false if this thread lacks the permission.
fn drop_bounding_set() -> Result<bool, String> {
    for capability in (0..NUMBERS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        match capability_is_in_bounding_set(capability) {
            Ok(true) => {}
            Ok(false) => continue,
            // The kernel has no more capabilities.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error.to_string()),
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::PERM) => return Ok(false),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(true)
}
