//! See `peerage_fuzz::gazelle_request`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::gazelle_request(data));
