//! A hint to the processor: the only `unsafe` of this crate.
//!
//! An announce in a large store waits three times for memory, 80 to 100 ns each. A batch of
//! announces that says beforehand which memory it will touch waits for all of it together.

/// Starts to bring the cache line of `address` into the cache. `address` may be anything: a hint
/// for memory that is not there, or not ours, does nothing.
#[allow(unsafe_code)]
#[inline]
pub fn prefetch(address: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let pointer = core::ptr::without_provenance::<i8>(address);
        // SAFETY: PREFETCHT0 reads nothing that the program can see and never faults, whatever the
        // address (AMD64 manual, volume 3); SSE, which has it, is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(pointer) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
