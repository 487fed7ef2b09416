//! See `peerage_fuzz::access_list`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::access_list(data));
