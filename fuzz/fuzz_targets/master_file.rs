#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::master_file::run(data));
