//! Memory that is given back to the system.

/// Gives back the memory of databases that are gone: glibc keeps it otherwise.
pub(super) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a plain number and may be called at any time (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
