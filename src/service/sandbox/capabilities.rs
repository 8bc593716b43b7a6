//! Capabilities: none are needed once the ports are bound (capabilities(7)).

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Capabilities are numbered from 0 to at most 63.
const NUMBERS: u32 = 64;

/// Leaves this thread no capability, nor any to regain; returns what that came to, for people.
///
/// Errors: the kernel refuses, in its words.
pub(super) fn drop_all() -> Result<String, String> {
    // Where it is not there to be cleared (Linux before 4.3) no capability is in it.
    match clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error.to_string()),
    }
    let is_bounded = drop_bounding_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(|error| error.to_string())?;
    // Only who has CAP_SETPCAP may take from it. With no new privileges it gives nothing to anybody.
    let bounding =
        if is_bounded { "" } else { " (the bounding set stays: it takes CAP_SETPCAP to empty it)" };
    Ok(format!("no capabilities{bounding}"))
}

/// Empties the bounding set; false where this thread may not.
fn drop_bounding_set() -> Result<bool, String> {
    for capability in (0..NUMBERS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        match capability_is_in_bounding_set(capability) {
            Ok(true) => {}
            Ok(false) => continue,
            // The kernel knows no more of them.
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
