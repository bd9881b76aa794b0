//! Notes, checkpoints and keys: each has one spelling, and nothing here is signed by a key whose
//! private half nobody has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::evidence::checkpoint::{Checkpoint, SignedCheckpoint};
use protocol::evidence::note::{MAX_SIGNATURES, Note, Signed, VerifierKey, key_from_pem};
use protocol::evidence::verify::PinnedKey;

/// The example key of c2sp.org/signed-note; the note it signed says something else.
const NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const SIGNED: &str = "If you think cryptography is the answer to your problem,\n\
                      then you don't know what your problem is.\n";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        assert!((1..=MAX_SIGNATURES).contains(&note.signatures.len()));
        let key = VerifierKey::parse(NEUMANN).expect("a published key");
        assert!(note.signed_by(&key) != Signed::Valid || note.text == SIGNED);
    }
    if let Ok(signed) = SignedCheckpoint::parse(bytes) {
        assert_eq!(signed.note.to_string().as_bytes(), bytes);
        assert_eq!(signed.checkpoint.text(), signed.note.text);
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Some(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.text(), text);
    }
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text);
        assert_eq!(PinnedKey::parse(text), Ok(PinnedKey::Named(key)));
    }
    if let Ok(PinnedKey::Bare(key)) = PinnedKey::parse(text) {
        assert_eq!(key_from_pem(text), Ok(key));
    }
});
