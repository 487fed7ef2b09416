//! See `peerage_fuzz::udp_request`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| peerage_fuzz::udp_request(data));
