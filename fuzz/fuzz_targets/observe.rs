#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (strait_fuzz_bodies::target("observe").expect("it is there").body)(bytes));
