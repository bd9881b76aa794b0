//! Lines of the evidence log: only the bytes a writer would write are a line, and they are sorted
//! JSON to everybody else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::evidence::line::{MAX_LINE, encode, parse};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes) {
        Ok(line) => {
            assert!(bytes.len() <= MAX_LINE);
            assert_eq!(encode(&line).as_deref(), Ok(bytes));
            let value: Value = serde_json::from_slice(bytes).expect("a line is JSON");
            assert_eq!(serde_json::to_vec(&value).expect("JSON is written"), bytes);
        }
        Err(error) => assert!(error.code().starts_with("E_")),
    }
});
