//! How the allocator deals with the system: one setting of glibc's.

/// Makes the allocator take blocks of `bytes` or more from the system one by one, and give each
/// back as soon as it is freed. Says whether it will; elsewhere than with glibc nothing changes.
///
/// A store whose tables grow a little at a time frees blocks that are each a little too small for
/// what is asked for next. Left in the heap they are a fifth of it. At most some ten thousand
/// blocks can be taken so (`vm.max_map_count`); what comes after goes to the heap as before.
///
/// To be called before the first large block is made, and from one thread.
pub fn return_blocks_from(bytes: usize) -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        // SAFETY: `mallopt` takes two integers and follows no pointer; it takes the allocator's own
        // lock, and refuses values it does not like.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) == 1 }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    {
        let _ = bytes;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_takes_the_setting() {
        let is_glibc = cfg!(all(target_os = "linux", target_env = "gnu"));
        assert_eq!(return_blocks_from(8192), is_glibc);
    }
}
