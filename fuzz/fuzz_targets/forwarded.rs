//! See `peerage_fuzz::forwarded`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::forwarded(data));
