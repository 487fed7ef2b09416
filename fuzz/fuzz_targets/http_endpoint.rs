//! See `peerage_fuzz::http_endpoint`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::http_endpoint(data));
