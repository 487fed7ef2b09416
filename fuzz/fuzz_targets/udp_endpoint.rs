//! See `peerage_fuzz::udp_endpoint`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::udp_endpoint(data));
