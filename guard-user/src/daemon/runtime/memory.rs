//! Memory that is given back to the system.

/// Has glibc keep little of what is freed. By default each thread has a heap of its own, and what is as large as a table of
/// the geo database is taken from those once one such was freed: after some dozen reloads three times of what is in use
/// was kept. To be called before there are threads.
pub(super) fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two plain numbers and may be called at any time (mallopt(3)); what it refuses stays as it was.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
    }
}

/// Gives back the memory of databases that are gone: glibc keeps it otherwise.
pub(super) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a plain number and may be called at any time (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
