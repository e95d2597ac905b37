//! How the process keeps memory between steps.

/// Asks the allocator to keep large freed buffers for the next step.
///
/// A training step needs the same tens of megabytes as the one before. glibc hands a freed block of that size back to the
/// system, and so every step asks for it again and pays a page fault every 4 KiB. Call this once, before other threads
/// start. Elsewhere than on Linux with glibc it does nothing.
pub fn keep_large_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const KEPT: libc::c_int = 1 << 30;
        // SAFETY: `mallopt` takes two numbers and touches only the allocator's own settings, under its own lock.
        #[allow(unsafe_code, reason = "the C library has no other door to these settings")]
        unsafe {
            // Blocks up to this size come from the heap, which keeps them, and not each from a mapping of its own.
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
            // The heap gives its upper end back only beyond this much unused.
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
            // One heap for all threads: the others' heaps are of 64 MiB at most and are always given back.
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}
