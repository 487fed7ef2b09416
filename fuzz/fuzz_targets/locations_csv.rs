//! See `peerage_fuzz::locations_csv`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::locations_csv(data));
