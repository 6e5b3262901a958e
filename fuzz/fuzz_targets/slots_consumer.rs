#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (strait_fuzz_bodies::target("slots_consumer").expect("it is there").body)(bytes));
