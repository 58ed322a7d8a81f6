//! Feeds the target `config` of src/fuzz.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| s1_coralogix_fuzz::run("config", data));
