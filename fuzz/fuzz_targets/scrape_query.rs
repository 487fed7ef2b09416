//! See `peerage_fuzz::scrape_query`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::scrape_query(data));
