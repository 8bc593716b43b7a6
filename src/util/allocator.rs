//! How the system's allocator treats what is freed.
#![allow(unsafe_code)]

/// Allocations of so many bytes and more are mapped by themselves: glibc's own first value.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED: libc::c_int = 128 << 10;

/// Has large allocations go back to the system when they are freed. glibc raises the size from which they do with each that is
/// freed (mallopt(3), M_MMAP_THRESHOLD), and then keeps most of what a policy had that a reload has replaced. Called before there
/// is a second thread.
pub(crate) fn give_back_what_is_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes two numbers, and changes settings of the allocator alone, which is locked meanwhile. It fails for a number
    // beyond its range, and then nothing has changed.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}
