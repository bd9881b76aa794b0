//! `show`: what the signer holds, without secrets.

use std::fmt;
use std::path::Path;

use aws_lc_rs::digest;
use protocol::evidence::hex;
use protocol::evidence::timestamp::Timestamp;
use serde_json::{Value, json};

use crate::authority::Facts;
use crate::heads::{Head, Heads, HeadsError};
use crate::keys::{self, Keys, KeysError};
use crate::vault::{Vault, VaultError};

/// Why it cannot be shown.
#[derive(Debug)]
pub enum ShowError {
    /// The keys cannot be read.
    Keys(KeysError),
    /// The high-water mark cannot be read.
    Heads(HeadsError),
}

impl fmt::Display for ShowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(error) => error.fmt(f),
            Self::Heads(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ShowError {}

impl From<KeysError> for ShowError {
    fn from(error: KeysError) -> Self {
        Self::Keys(error)
    }
}

impl From<VaultError> for ShowError {
    fn from(error: VaultError) -> Self {
        Self::Keys(KeysError::Vault(error))
    }
}

impl From<HeadsError> for ShowError {
    fn from(error: HeadsError) -> Self {
        Self::Heads(error)
    }
}

/// The public side of a state folder.
#[derive(Debug)]
pub struct Shown {
    origin: String,
    log_vkey: String,
    evidence_vkey: String,
    ca_sha256: String,
    ca_not_before: String,
    ca_not_after: String,
    names: Vec<String>,
    head: Head,
}

impl Shown {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// As `serve` would fail to start.
    pub fn read(state: &Path) -> Result<Self, ShowError> {
        let vault = Vault::open(state)?;
        let keys = Keys::load(&vault)?;
        let ca = Facts::read(&vault.read(keys::CA_CERTIFICATE)?).map_err(KeysError::from)?;
        let time = |second: u64| {
            second
                .checked_mul(1000)
                .and_then(Timestamp::from_ms)
                .map_or_else(|| second.to_string(), |time| time.to_string())
        };
        Ok(Self {
            origin: keys.log.verifier().name().to_owned(),
            log_vkey: keys.log.verifier().to_string(),
            evidence_vkey: keys.evidence.verifier().to_string(),
            ca_sha256: hex::encode(digest::digest(&digest::SHA256, &ca.der).as_ref()),
            ca_not_before: time(ca.validity.not_before),
            ca_not_after: time(ca.validity.not_after),
            names: ca.names.iter().map(ToString::to_string).collect(),
            head: Heads::peek(&vault)?,
        })
    }

    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "origin": self.origin,
            "log_vkey": self.log_vkey,
            "evidence_vkey": self.evidence_vkey,
            "ca": {
                "sha256": self.ca_sha256,
                "not_before": self.ca_not_before,
                "not_after": self.ca_not_after,
                "names": self.names,
            },
            "head": { "size": self.head.size, "root": hex::encode(&self.head.root) },
        })
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "origin         {}", self.origin)?;
        writeln!(f, "log key        {}", self.log_vkey)?;
        writeln!(f, "evidence key   {}", self.evidence_vkey)?;
        writeln!(f, "signed last    {} lines", self.head.size)?;
        writeln!(f, "          root {}", hex::encode(&self.head.root))?;
        writeln!(f, "CA     SHA-256 {}", self.ca_sha256)?;
        writeln!(f, "         valid {} to {}", self.ca_not_before, self.ca_not_after)?;
        let mut label = "        issues";
        for name in &self.names {
            writeln!(f, "{label} {name}")?;
            label = "              ";
        }
        Ok(())
    }
}
