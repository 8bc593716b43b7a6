//! Setting of the system allocator for freed memory.
#![allow(unsafe_code)]

/// Size in bytes from which allocations are mapped individually: glibc's initial value.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED: libc::c_int = 128 << 10;

/// Returns large allocations to the system when they are freed. By default glibc raises the size threshold with each
/// large free (mallopt(3), M_MMAP_THRESHOLD), and then keeps most of the memory of a policy that a reload has replaced.
/// Must be called before a second thread starts.
pub(crate) fn give_back_what_is_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two numbers and changes allocator settings under the allocator's lock. It fails for a value
    // out of range and then changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}
