#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (strait_fuzz_bodies::target("config").expect("it is there").body)(bytes));
