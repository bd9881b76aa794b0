//! `init` and `regen-ca`: make the keys once, and the CA again where the hosts changed.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use protocol::names::HostName;
use zeroize::Zeroizing;

use crate::authority::Authority;
use crate::heads::{self, Heads, HeadsError};
use crate::hosts::{self, HostsError};
use crate::keys::{self, Keys, KeysError};
use crate::mint::ISSUED_LOG;
use crate::seal::SIGNED_LOG;
use crate::vault::{KEY_MODE, LOG_MODE, NewFile, Vault, VaultError};

/// What `init` or `regen-ca` is asked for.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The signer's own folder.
    pub state: &'a Path,
    /// Where the public halves go.
    pub public: &'a Path,
    /// `permitted_hosts.yaml`.
    pub hosts_file: &'a Path,
    /// The log's name, or a random one.
    pub origin: Option<&'a str>,
    /// Days until the CA expires.
    pub days: u32,
}

/// Why there are no keys, or none to be relied on.
#[derive(Debug)]
pub enum InitError {
    /// The hosts file is at fault.
    Hosts(HostsError),
    /// Some files of a signer are there and others are not.
    Half {
        /// The folder.
        state: PathBuf,
        /// What is there.
        present: Vec<&'static str>,
        /// What is not.
        missing: Vec<&'static str>,
    },
    /// A key cannot be made or read.
    Keys(KeysError),
    /// The high-water mark cannot be read.
    Heads(HeadsError),
    /// A public file is there and does not belong to these keys.
    Foreign(PathBuf),
    /// The log has another name, and a log never changes its name.
    OtherOrigin {
        /// The name it has.
        held: String,
        /// The name asked for.
        asked: String,
    },
    /// A public file cannot be read or written.
    Public(PathBuf, io::Error),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(error) => error.fmt(f),
            Self::Half { state, present, missing } => write!(
                f,
                "{}: holds {} but not {}: bring the missing files back from a backup, or move the \
                 whole folder away to begin anew",
                state.display(),
                present.join(", "),
                missing.join(", ")
            ),
            Self::Keys(error) => error.fmt(f),
            Self::Heads(error) => error.fmt(f),
            Self::Foreign(path) => write!(
                f,
                "{}: is not of the keys in the state folder: move it away, and find out who put it \
                 there",
                path.display()
            ),
            Self::OtherOrigin { held, asked } => {
                write!(f, "the log is named {held} already and cannot become {asked}")
            }
            Self::Public(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for InitError {}

impl From<HostsError> for InitError {
    fn from(error: HostsError) -> Self {
        Self::Hosts(error)
    }
}

impl From<KeysError> for InitError {
    fn from(error: KeysError) -> Self {
        Self::Keys(error)
    }
}

impl From<HeadsError> for InitError {
    fn from(error: HeadsError) -> Self {
        Self::Heads(error)
    }
}

impl From<VaultError> for InitError {
    fn from(error: VaultError) -> Self {
        Self::Keys(KeysError::Vault(error))
    }
}

/// What was found and done.
#[derive(Debug)]
pub struct Outcome {
    /// Whether the keys were made just now.
    pub made: bool,
    /// The names the CA permits.
    pub permitted: BTreeSet<HostName>,
    /// The names the hosts file asks for.
    pub asked: BTreeSet<HostName>,
}

/// Makes everything that is not there yet. Existing keys are read and checked, never replaced.
///
/// `now` is in seconds since the Unix epoch.
///
/// # Errors
///
/// See [`InitError`]. After any of them, either all private files exist or none does.
pub fn init(plan: &Plan<'_>, now: u64) -> Result<Outcome, InitError> {
    let asked = hosts::read(plan.hosts_file)?;
    let vault = Vault::open_or_create(plan.state)?;
    let _lock = vault.lock()?;
    vault.settle()?;
    let (present, missing) = inventory(&vault)?;
    let made = present.is_empty();
    if made {
        vault.commit(&new_files(plan, &asked, now)?)?;
    } else if !missing.is_empty() {
        return Err(InitError::Half { state: plan.state.to_owned(), present, missing });
    }
    let keys = Keys::load(&vault)?;
    Heads::peek(&vault)?;
    let held = keys.log.verifier().name();
    if let Some(other) = plan.origin.filter(|asked| *asked != held) {
        return Err(InitError::OtherOrigin { held: held.to_owned(), asked: other.to_owned() });
    }
    publish(&vault, plan.public, &keys)?;
    Ok(Outcome { made, permitted: keys.authority.names().clone(), asked })
}

/// Replaces the CA, for the hosts the file lists now. The log keys and the high-water mark stay.
///
/// # Errors
///
/// See [`InitError`]. After any of them the CA is wholly the old one or wholly the new one; asking
/// again makes another.
pub fn regenerate_ca(plan: &Plan<'_>, now: u64) -> Result<Outcome, InitError> {
    let asked = hosts::read(plan.hosts_file)?;
    let vault = Vault::open(plan.state)?;
    let _lock = vault.lock()?;
    vault.settle()?;
    let (present, missing) = inventory(&vault)?;
    if !missing.is_empty() {
        return Err(InitError::Half { state: plan.state.to_owned(), present, missing });
    }
    vault.commit(&new_ca(plan, &asked, now)?)?;
    let keys = Keys::load(&vault)?;
    let certificate = vault.read(keys::CA_CERTIFICATE)?;
    publish_one(plan.public, PUBLIC_CA, certificate.as_bytes())
        .map_err(|error| InitError::Public(plan.public.join(PUBLIC_CA), error))?;
    publish(&vault, plan.public, &keys)?;
    Ok(Outcome { made: true, permitted: keys.authority.names().clone(), asked })
}

/// Which of a signer's files are there, and which are not.
fn inventory(vault: &Vault) -> Result<(Vec<&'static str>, Vec<&'static str>), VaultError> {
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for name in PRIVATE {
        if vault.has(name)? { present.push(name) } else { missing.push(name) }
    }
    Ok((present, missing))
}

fn new_files(
    plan: &Plan<'_>,
    hosts: &BTreeSet<HostName>,
    now: u64,
) -> Result<Vec<NewFile>, InitError> {
    let empty = |name| NewFile { name, mode: LOG_MODE, bytes: Zeroizing::default() };
    let mut files = new_ca(plan, hosts, now)?;
    files.extend([
        secret(keys::LOG_KEY, &keys::generate()?),
        secret(keys::EVIDENCE_KEY, &keys::generate()?),
        secret(keys::ORIGIN, &format!("{}\n", keys::origin(plan.origin)?)),
        empty(SIGNED_LOG),
        empty(ISSUED_LOG),
    ]);
    files.extend(heads::initial().map(|(name, content)| NewFile {
        name,
        mode: LOG_MODE,
        bytes: content.into_bytes().into(),
    }));
    Ok(files)
}

fn new_ca(
    plan: &Plan<'_>,
    hosts: &BTreeSet<HostName>,
    now: u64,
) -> Result<Vec<NewFile>, InitError> {
    let ca = Authority::create(hosts, now, plan.days).map_err(KeysError::from)?;
    Ok(vec![secret(keys::CA_KEY, &ca.key), secret(keys::CA_CERTIFICATE, &ca.certificate)])
}

fn secret(name: &'static str, text: &str) -> NewFile {
    NewFile { name, mode: KEY_MODE, bytes: Zeroizing::new(text.as_bytes().to_vec()) }
}

/// Writes the public halves where they are missing, and checks those that are there.
fn publish(vault: &Vault, public: &Path, keys: &Keys) -> Result<(), InitError> {
    let failed = |error| InitError::Public(public.to_owned(), error);
    DirBuilder::new().recursive(true).mode(0o755).create(public).map_err(failed)?;
    let pem = |key: &keys::NamedKey| {
        key.public_pem().map_err(|error| failed(io::Error::other(error.to_string())))
    };
    // The certificate comes last: where it is, everything is.
    for (name, content) in [
        ("signing.pub", pem(&keys.log)?),
        ("evidence.pub", pem(&keys.evidence)?),
        ("signing.vkey", format!("{}\n", keys.log.verifier())),
        ("evidence.vkey", format!("{}\n", keys.evidence.verifier())),
        (PUBLIC_CA, vault.read(keys::CA_CERTIFICATE)?.to_string()),
    ] {
        let path = public.join(name);
        match fs::read(&path) {
            Ok(found) if found == content.as_bytes() => {}
            Ok(_) => return Err(InitError::Foreign(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                publish_one(public, name, content.as_bytes())
                    .map_err(|error| InitError::Public(path, error))?;
            }
            Err(error) => return Err(InitError::Public(path, error)),
        }
    }
    Ok(())
}

fn publish_one(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let new = folder.join(format!(".{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PUBLIC_MODE).open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(PUBLIC_MODE))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// All that a signer's folder holds.
const PRIVATE: [&str; 9] = [
    keys::CA_KEY,
    keys::CA_CERTIFICATE,
    keys::LOG_KEY,
    keys::EVIDENCE_KEY,
    keys::ORIGIN,
    heads::SLOTS[0],
    heads::SLOTS[1],
    SIGNED_LOG,
    ISSUED_LOG,
];

/// The certificate that clients must trust.
const PUBLIC_CA: &str = "ca.pem";

/// Agents and auditors run as other users.
const PUBLIC_MODE: u32 = 0o644;
