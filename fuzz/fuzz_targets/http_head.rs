//! See `peerage_fuzz::http_head`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::http_head(data));
