//! The signer's keys: made once, read at every start.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    self, DecodePrivateKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{Signer, SigningKey};
use protocol::evidence::note::{VerifierKey, is_key_name};
use zeroize::Zeroizing;

use crate::authority::{Authority, AuthorityError};
use crate::vault::{Vault, VaultError};

/// Why there are no keys.
#[derive(Debug)]
pub enum KeysError {
    /// The CA is not usable.
    Authority(AuthorityError),
    /// The named file holds no Ed25519 key in PKCS#8.
    NotAKey(&'static str),
    /// `origin` holds no C2SP key name.
    Origin,
    /// The system gave no random bytes.
    Random,
    /// A file is missing, or not the signer's alone.
    Vault(VaultError),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(error) => error.fmt(f),
            Self::NotAKey(name) => write!(f, "{name}: no Ed25519 private key in PKCS#8 PEM"),
            Self::Origin => f.write_str("origin: not a key name (C2SP signed-note)"),
            Self::Random => f.write_str("the system gave no random bytes"),
            Self::Vault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeysError {}

impl From<AuthorityError> for KeysError {
    fn from(error: AuthorityError) -> Self {
        Self::Authority(error)
    }
}

impl From<VaultError> for KeysError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

/// All that the signer holds.
pub struct Keys {
    /// Signs leaves.
    pub authority: Authority,
    /// Signs checkpoints, under the log's origin.
    pub log: NamedKey,
    /// Signs evidence manifests, under `<origin>/evidence`, so that a signature for one purpose
    /// never verifies for the other.
    pub evidence: NamedKey,
}

impl Keys {
    /// Reads them from the state folder.
    ///
    /// # Errors
    ///
    /// When a file is missing, others than the owner could have read it, or it does not parse.
    pub fn load(vault: &Vault) -> Result<Self, KeysError> {
        let authority = Authority::load(&vault.read(CA_CERTIFICATE)?, &vault.read(CA_KEY)?)?;
        let origin = vault.read(ORIGIN)?;
        let origin = origin.strip_suffix('\n').ok_or(KeysError::Origin)?;
        let key = |file| {
            let pem = vault.read(file)?;
            SigningKey::from_pkcs8_pem(&pem).map_err(|_| KeysError::NotAKey(file))
        };
        Ok(Self {
            authority,
            log: NamedKey::new(origin, key(LOG_KEY)?)?,
            evidence: NamedKey::new(&format!("{origin}/evidence"), key(EVIDENCE_KEY)?)?,
        })
    }
}

/// An Ed25519 key and the name its signatures go under.
pub struct NamedKey {
    signing: SigningKey,
    verifier: VerifierKey,
}

impl NamedKey {
    pub(crate) fn new(name: &str, signing: SigningKey) -> Result<Self, KeysError> {
        let verifier = VerifierKey::new(name, signing.verifying_key().to_bytes())
            .map_err(|_| KeysError::Origin)?;
        Ok(Self { signing, verifier })
    }

    /// Its public half; prints as a C2SP vkey.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Its public half as a PEM `SubjectPublicKeyInfo` (RFC 8410).
    ///
    /// # Errors
    ///
    /// When the library fails to encode it.
    pub fn public_pem(&self) -> Result<String, pkcs8::spki::Error> {
        self.signing.verifying_key().to_public_key_pem(LineEnding::LF)
    }

    /// Signs `text`, which the caller has composed itself.
    pub(crate) fn sign(&self, text: &str) -> [u8; 64] {
        self.signing.sign(text.as_bytes()).to_bytes()
    }
}

/// A fresh Ed25519 private key in PKCS#8 PEM.
///
/// # Errors
///
/// When the system's random source or the library fails.
pub fn generate() -> Result<Zeroizing<String>, KeysError> {
    let mut secret = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(secret.as_mut()).map_err(|_| KeysError::Random)?;
    // Version 1, without the public half: OpenSSL 3.0 does not read version 2 (RFC 5958).
    let pair = KeypairBytes { secret_key: *secret, public_key: None };
    pair.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeysError::Random)
}

/// The log's name: `asked`, or `waterwall.local/` and 16 random bytes.
///
/// # Errors
///
/// [`KeysError::Origin`] when no key can have that name.
pub fn origin(asked: Option<&str>) -> Result<String, KeysError> {
    let Some(name) = asked else {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| KeysError::Random)?;
        return Ok(format!("waterwall.local/{}", protocol::evidence::hex::encode(&random)));
    };
    // The evidence key's name is longer, and must be one as well.
    if is_key_name(&format!("{name}/evidence")) {
        Ok(name.to_owned())
    } else {
        Err(KeysError::Origin)
    }
}

/// The CA's private key.
pub const CA_KEY: &str = "ca.key";

/// The CA's certificate, from which `serve` reads the permitted names.
pub const CA_CERTIFICATE: &str = "ca.pem";

/// The log key.
pub const LOG_KEY: &str = "signing.key";

/// The evidence key.
pub const EVIDENCE_KEY: &str = "evidence.key";

/// The log's name and a line feed.
pub const ORIGIN: &str = "origin";
