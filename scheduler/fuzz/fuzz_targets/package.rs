#![no_main]
#![allow(missing_docs, reason = "the macro makes a public item")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mayfly_fuzz::package(data));
