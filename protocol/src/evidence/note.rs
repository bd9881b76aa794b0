//! C2SP signed notes (c2sp.org/signed-note) with Ed25519 signatures, and the keys they name.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey, pkcs8::DecodePublicKey};
use sha2::{Digest, Sha256};

/// Most signature lines a note may have.
pub const MAX_SIGNATURES: usize = 64;

/// Longest key name, in bytes.
pub const MAX_NAME: usize = 200;

/// Longest note, in bytes: text, and [`MAX_SIGNATURES`] lines of the longest names.
const MAX_NOTE: usize = 64 * 1024;

/// Signature type of plain Ed25519 in keys and key ids.
const ED25519: u8 = 0x01;

/// What every signature line begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// Whether `name` may name a key: not empty, no white space, no control character, no plus sign.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    // Invisible characters and those that turn the direction of writing would let one name look like
    // another, or the verdict it is printed in say something else.
    let unseen = |c: char| matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let barred = |c: char| c.is_whitespace() || c.is_control() || unseen(c) || c == '+';
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(barred)
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteError {
    /// More than [`MAX_SIGNATURES`] signature lines, or an absurd length.
    Limit,
    /// Not a signed note.
    Form,
}

impl std::fmt::Display for NoteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit => write!(f, "note has more than {MAX_SIGNATURES} signature lines"),
            Self::Form => f.write_str("not a signed note"),
        }
    }
}

impl std::error::Error for NoteError {}

/// Text does not spell a public key that evidence accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey;

impl std::fmt::Display for BadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not an Ed25519 public key")
    }
}

impl std::error::Error for BadKey {}

/// A named public key; as text, a C2SP verifier key (vkey).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

impl VerifierKey {
    /// The Ed25519 key `key` under `name`.
    ///
    /// # Errors
    ///
    /// [`BadKey`] when `name` is no key name. Whether `key` is a sound curve point is judged with
    /// every signature, so that a weak key fails where it is used.
    pub fn new(name: &str, key: [u8; 32]) -> Result<Self, BadKey> {
        if !is_key_name(name) {
            return Err(BadKey);
        }
        let digest = Sha256::new_with_prefix(name).chain_update([b'\n', ED25519]).chain_update(key);
        let [a, b, c, d, ..]: [u8; 32] = digest.finalize().into();
        Ok(Self { name: name.to_owned(), id: [a, b, c, d], key })
    }

    /// The key that a vkey spells: `name+hash+base64(0x01 ‖ key)`.
    ///
    /// # Errors
    ///
    /// [`BadKey`] when the text is no vkey, or its hash is not that of its key.
    pub fn parse(vkey: &str) -> Result<Self, BadKey> {
        let (name, rest) = vkey.split_once('+').ok_or(BadKey)?;
        let (id, key) = rest.split_once('+').ok_or(BadKey)?;
        let key = STANDARD.decode(key).map_err(|_| BadKey)?;
        let [ED25519, key @ ..] = key.as_slice() else { return Err(BadKey) };
        let parsed = Self::new(name, key.try_into().map_err(|_| BadKey)?)?;
        if crate::evidence::hex::encode(&parsed.id) == id { Ok(parsed) } else { Err(BadKey) }
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id: the first four bytes of SHA-256(name ‖ LF ‖ 0x01 ‖ key).
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The raw public key (RFC 8032).
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Whether `signature` is this key's over `text`, by strict verification: no small-order key or
    /// R, no non-canonical S (RFC 8032 section 5.1.7 with the checks of "Taming the many EdDSAs").
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.key)
            .and_then(|key| key.verify_strict(text, &Signature::from_bytes(signature)))
            .is_ok()
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let typed = STANDARD.encode([&[ED25519], self.key.as_slice()].concat());
        write!(f, "{}+{}+{typed}", self.name, crate::evidence::hex::encode(&self.id))
    }
}

/// The raw Ed25519 key in a PEM `PUBLIC KEY` (RFC 8410 `SubjectPublicKeyInfo`).
///
/// # Errors
///
/// [`BadKey`] when the text holds no such key.
pub fn key_from_pem(pem: &str) -> Result<[u8; 32], BadKey> {
    VerifyingKey::from_public_key_pem(pem).map(|key| key.to_bytes()).map_err(|_| BadKey)
}

/// A signed note: text, and signatures nobody has checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What is signed, its last LF included.
    pub text: String,
    /// The signature lines, in order.
    pub signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key that is said to have signed.
    pub name: String,
    /// Id of that key.
    pub key_id: [u8; 4],
    /// The signature; 64 bytes for Ed25519, of any length for key types not known here.
    pub signature: Vec<u8>,
}

/// What a note's signatures say about one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// The key signed.
    Valid,
    /// A line names the key, and is not its signature.
    Invalid,
    /// No line names the key.
    Absent,
}

impl Note {
    /// The note that `bytes` spell.
    ///
    /// # Errors
    ///
    /// [`NoteError::Limit`] for too many signature lines, [`NoteError::Form`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE {
            return Err(NoteError::Limit);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Form)?;
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(NoteError::Form);
        }
        let text_end = note.rfind("\n\n").ok_or(NoteError::Form)? + 1;
        let (text, block) = (&note[..text_end], &note[text_end + 1..]);
        let lines = block.strip_suffix('\n').ok_or(NoteError::Form)?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::Limit);
        }
        let signatures = lines.split('\n').map(signature_line).collect::<Option<Vec<_>>>();
        Ok(Self { text: text.to_owned(), signatures: signatures.ok_or(NoteError::Form)? })
    }

    /// What this note's signatures say about `key`. Every line that names it must verify.
    #[must_use]
    pub fn signed_by(&self, key: &VerifierKey) -> Signed {
        let mut said = Signed::Absent;
        for line in &self.signatures {
            if line.name != key.name || line.key_id != key.id {
                continue;
            }
            let valid = <&[u8; 64]>::try_from(line.signature.as_slice())
                .is_ok_and(|signature| key.verifies(self.text.as_bytes(), signature));
            if !valid {
                return Signed::Invalid;
            }
            said = Signed::Valid;
        }
        said
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let body = STANDARD.encode([line.key_id.as_slice(), &line.signature].concat());
            writeln!(f, "{DASH}{} {body}", line.name)?;
        }
        Ok(())
    }
}

fn signature_line(line: &str) -> Option<NoteSignature> {
    let (name, body) = line.strip_prefix(DASH)?.split_once(' ')?;
    let body = STANDARD.decode(body).ok()?;
    let (key_id, signature) = body.split_first_chunk::<4>()?;
    if !is_key_name(name) || signature.is_empty() {
        return None;
    }
    Some(NoteSignature { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn signing() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn key() -> VerifierKey {
        VerifierKey::new("log.example/1", signing().verifying_key().to_bytes()).unwrap()
    }

    fn note() -> Note {
        let text = "a statement\n".to_owned();
        let signature = signing().sign(text.as_bytes()).to_bytes().to_vec();
        let line = NoteSignature { name: key().name, key_id: key().id, signature };
        Note { text, signatures: vec![line] }
    }

    /// The example key and note of c2sp.org/signed-note and golang.org/x/mod/sumdb/note.
    /// G21: what a name does to a terminal.
    #[test]
    fn names_no_key_with_what_cannot_be_seen() {
        for bad in ["a\u{202e}b", "a\u{200b}", "\u{feff}a", "a\u{2066}", "a\u{1b}[1m", "a\u{9b}m"] {
            assert!(!is_key_name(bad), "{bad:?}");
        }
        assert!(is_key_name("log.example/größe"));
    }

    #[test]
    fn accepts_the_published_note() {
        let key = VerifierKey::parse(
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        )
        .unwrap();
        let text = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC\
                    2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let note = Note::parse(text.as_bytes()).unwrap();
        assert_eq!(note.signed_by(&key), Signed::Valid);
        assert_eq!(note.to_string(), text);
        assert_eq!(VerifierKey::parse(&key.to_string()), Ok(key));
    }

    #[test]
    fn reads_back_what_it_writes() {
        assert_eq!(Note::parse(note().to_string().as_bytes()), Ok(note()));
        assert_eq!(VerifierKey::parse(&key().to_string()), Ok(key()));
    }

    #[test]
    fn refuses_a_changed_text_and_a_bad_line_beside_a_good_one_b11() {
        let mut changed = note();
        changed.text.insert(0, 'x');
        assert_eq!(changed.signed_by(&key()), Signed::Invalid);
        let mut beside = note();
        beside.signatures.push(beside.signatures[0].clone());
        beside.signatures[1].signature[0] ^= 1;
        assert_eq!(beside.signed_by(&key()), Signed::Invalid);
    }

    #[test]
    fn ignores_signatures_of_unknown_keys_b12() {
        let mut more = note();
        more.signatures.push(NoteSignature {
            name: "witness.example".into(),
            key_id: [1; 4],
            signature: vec![0; 72],
        });
        assert_eq!(more.signed_by(&key()), Signed::Valid);
        more.signatures.remove(0);
        assert_eq!(more.signed_by(&key()), Signed::Absent);
    }

    #[test]
    fn takes_sixteen_signature_lines_and_refuses_a_thousand_b10() {
        let mut many = note();
        many.signatures = vec![many.signatures[0].clone(); 16];
        assert!(Note::parse(many.to_string().as_bytes()).is_ok());
        many.signatures = vec![many.signatures[0].clone(); 65];
        assert_eq!(Note::parse(many.to_string().as_bytes()), Err(NoteError::Limit));
        many.signatures = vec![many.signatures[0].clone(); 1000];
        assert_eq!(Note::parse(many.to_string().as_bytes()), Err(NoteError::Limit));
    }

    #[test]
    fn refuses_every_other_shape_b13() {
        let good = note().to_string();
        for bad in [
            good.replace('\u{2014}', "-"),
            good.replace('\n', "\r\n"),
            good.trim_end().to_owned(),
            good.replace("\n\n", "\n"),
            format!("{good}\n"),
            format!("{good}more\n"),
            good.replace("log.example/1 ", "log.example/1  "),
            good.replace("log.example/1", "log+example"),
            "text\n\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(Note::parse(bad.as_bytes()), Err(NoteError::Form), "{bad:?}");
        }
    }

    #[test]
    fn refuses_vkeys_whose_hash_type_or_length_is_wrong() {
        let good = key().to_string();
        let (head, body) = good.rsplit_once('+').unwrap();
        assert!(VerifierKey::parse(&format!("x{good}")).is_err());
        assert!(VerifierKey::parse(head).is_err());
        assert!(VerifierKey::parse(&format!("{head}+{}", body.replacen('A', "B", 1))).is_err());
        assert!(VerifierKey::parse(&format!("{good}AAAA")).is_err());
        assert!(VerifierKey::new("two words", [0; 32]).is_err());
    }

    #[test]
    fn refuses_a_small_order_key_b09() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let weak = VerifierKey::new("weak", identity).unwrap();
        assert!(!weak.verifies(b"anything", &signature));
    }

    #[test]
    fn refuses_a_signature_with_s_beyond_the_group_order_b09() {
        let mut signature = signing().sign(b"text").to_bytes();
        assert!(key().verifies(b"text", &signature));
        let order: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert!(!key().verifies(b"text", &signature));
    }

    #[test]
    fn reads_the_public_key_openssl_writes() {
        // openssl pkey -pubout of the RFC 8032 section 7.1 test 1 key.
        let pem = "-----BEGIN PUBLIC KEY-----\n\
                   MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                   -----END PUBLIC KEY-----\n";
        let expected = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(crate::evidence::hex::encode(&key_from_pem(pem).unwrap()), expected);
        assert_eq!(key_from_pem("nonsense"), Err(BadKey));
    }
}
