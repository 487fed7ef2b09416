//! See `peerage_fuzz::announce_query`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::announce_query(data));
