//! See `peerage_fuzz::store`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::store(data));
