//! Every decoder that faces another process: it panics on nothing, and what it takes it would have
//! written the same way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::codec::{decode, encode};
use protocol::{append, audit_control, control, hello, mint, seal};

macro_rules! stable {
    ($bytes:expr, $($message:ty),+) => {$(
        if let Ok(message) = decode::<$message>($bytes) {
            assert_eq!(encode(&message), $bytes);
        }
    )+};
}

fuzz_target!(|bytes: &[u8]| {
    stable!(bytes, hello::Hello, hello::Welcome);
    stable!(bytes, mint::Request, mint::Reply);
    stable!(bytes, seal::Request, seal::Reply);
    stable!(bytes, append::Request, append::Reply);
    stable!(bytes, control::Request, control::Reply);
    stable!(bytes, audit_control::Request, audit_control::Reply);
});
