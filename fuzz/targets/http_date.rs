//! Feeds the target `http_date` of src/fuzz.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| s1_coralogix_fuzz::run("http_date", data));
